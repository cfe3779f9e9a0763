"""``memdb export`` and ``memdb import``: one user as files that other programs read, and back."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from memdb.cli.source import add_source, engine_of, opened
from memdb.interrupts import loading

EXAMPLE = """\
example:
  memdb export --server localhost:7700 --user alice --to alice-2026
  memdb import alice-2026 ./data --user alice          ./data as `memdb serve` made it, and left it

Rows are Parquet, tensors safetensors; docs/export-format.md describes them.  Importing again writes
nothing.  Prints one JSON object.
"""


def add_to(verbs: Any) -> None:
    """Add both commands to the parser."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = verbs.add_parser(
        "export",
        allow_abbrev=False,
        help="write one user as Parquet and safetensors",
        epilog=EXAMPLE,
        formatter_class=shape,
    )
    add_source(parser)
    parser.add_argument("--user", required=True, help="whose memory")
    parser.add_argument("--to", metavar="PATH", required=True, help="directory; must not exist")
    parser.set_defaults(run=run_export)
    parser = verbs.add_parser(
        "import",
        allow_abbrev=False,
        help="write what `memdb export` wrote into a database",
        epilog=EXAMPLE,
        formatter_class=shape,
    )
    parser.add_argument("export", metavar="PATH", help="what `memdb export` wrote")
    add_source(parser)
    parser.add_argument("--user", help="into whose memory (default: the exported user's name)")
    parser.set_defaults(run=run_import)


def run_export(options: argparse.Namespace) -> int:
    """Export and report; returns the exit status."""
    with loading():
        from memdb.portable.exporter import export_user

    with opened(options) as database:
        report = export_user(database, options.user, options.to, config=engine_of(options))
    json.dump(asdict(report), sys.stdout)
    print()
    return 1 if report.damaged or report.standing is None else 0


def run_import(options: argparse.Namespace) -> int:
    """Import and report; returns the exit status."""
    with loading():
        from memdb.portable.importer import import_user

    with opened(options) as database:
        report = import_user(database, options.export, user=options.user)
    json.dump(asdict(report), sys.stdout)
    print()
    return 0
