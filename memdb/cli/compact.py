"""``memdb compact``: make a user's data file anew, without what freed pages keep."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from memdb.cli.source import add_source, opened

EXAMPLE = """\
example:
  memdb compact ./data --user alice
  memdb compact --server localhost:7700 --user alice

After it no byte stays in the user's files of facts that were forgotten, of values and standing questions that were
removed, and of what retention gave up; archives made before have it still.  It needs free room as large as the
user's file, and calls on the user wait.  Prints one JSON object: bytes_before and bytes_after.
"""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "compact",
        allow_abbrev=False,
        help="make a user's file anew, without what was forgotten or removed",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source(parser)
    parser.add_argument("--user", required=True, help="whose")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compact and report; returns the exit status."""
    from memdb.types.ids import check_id

    check_id(options.user, "user")
    with opened(options) as database:
        report = database.user(options.user).compact()
    json.dump(asdict(report), sys.stdout)
    print()
    return 0
