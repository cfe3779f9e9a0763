"""``memdb sweep``: give up now what the policies of streams say."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from memdb.cli.source import add_source, opened

EXAMPLE = """\
example:
  memdb sweep --server localhost:7700
  memdb sweep ./data

A server does it by itself, every server.sweep_interval_s.  Of a directory, superseded versions of open
clips are left (a server collects them after its engine.open_history_s).  Prints one JSON object.  Exit
status 1 when a user cannot be swept ("unswept", "unswept_reasons"); which one, stderr says of a directory, and the
log of a server.
"""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "sweep",
        allow_abbrev=False,
        help="give up now what retention says",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Sweep and report; returns the exit status."""
    with opened(options) as database:
        report = database.sweep()
    json.dump(asdict(report), sys.stdout)
    print()
    if options.server is not None and report.unswept:
        why = ", ".join(report.unswept_reasons)
        print(f"memdb: {report.unswept} users cannot be swept: {why}", file=sys.stderr)
    return 1 if options.logged.errors or report.unswept else 0
