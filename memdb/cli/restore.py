"""``memdb restore``: make a data directory of an archive."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from memdb.cli.source import add_archive_keys, archive_keys, engine_of
from memdb.interrupts import loading

EXAMPLE = """\
example:
  memdb restore backups/tuesday --to ./restored
  memdb restore backups/tuesday --to ./alice --user alice

The archives that it builds upon are looked for beside it.  Every checksum is compared before anything
is made; what lies at the target is never overwritten.  Prints one JSON object.

An archive of an encrypted directory holds no key: copies of the data keys lie beside it, in data-keys/,
wrapped by the master key of the newest backup.  Users that were erased since are left out, and named.
"""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "restore",
        allow_abbrev=False,
        help="make a data directory of an archive",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("archive", metavar="ARCHIVE", help="what `memdb backup` wrote")
    parser.add_argument("--to", metavar="DIR", required=True, help="must not exist, or be empty")
    parser.add_argument("--user", help="restore this user alone (default: all)")
    add_archive_keys(parser)
    parser.add_argument(
        "--leave-out-lost",
        action="store_true",
        help="go on without users whose data keys are lost; they are named, and the exit status is 1",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Restore and report; returns the exit status."""
    with loading():
        from memdb.engine.restore import restore

    report = restore(
        options.archive,
        options.to,
        user=options.user,
        keys=archive_keys(options),
        leave_out_lost=options.leave_out_lost,
        config=engine_of(options),
    )
    json.dump(asdict(report), sys.stdout)
    print()
    return 1 if report.lost else 0
