"""``memdb verify``: check a database directory that no server has open."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from memdb.config import EngineConfig

EXAMPLE = """\
example:
  memdb verify ./data

Reads every stored value, compares every index with the store, and prints what it found as one JSON
object.  Exit status 1 when something is wrong.  The directory must not be open in a server.
"""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "verify",
        allow_abbrev=False,
        help="check every stored value and every index",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", metavar="DIR", help="directory of the database")
    parser.add_argument(
        "--master-key-file", metavar="FILE", default="", help="needed where it is encrypted"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Verify and report; returns the exit status."""
    from memdb.engine.database import EmbeddedDatabase

    engine = EngineConfig(master_key_file=options.master_key_file)
    # Made anew it would be empty, and healthy.
    with EmbeddedDatabase(options.data, config=engine, create=False) as database:
        found = database.verify()
    report = {
        "ok": found.ok,
        "users": found.users,
        "clips": found.clips,
        "values_checked": found.values_checked,
        "discrepancies": [
            {"user": item.user, "where": item.where, "what": item.what}
            for item in found.discrepancies
        ],
    }
    json.dump(report, sys.stdout)
    print()
    return 0 if found.ok else 1
