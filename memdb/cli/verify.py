"""``memdb verify``: check a database directory that no server has open, or a backup archive."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from memdb.cli.source import add_archive_keys, archive_keys, engine_of
from memdb.interrupts import loading

EXAMPLE = """\
example:
  memdb verify ./data
  memdb verify ./backups/monday

Of a database: reads every stored value, and compares every index with the store; it must not be open
in a server.  Of an archive: compares every byte of it, and of those it builds upon, with the
manifests, and opens its data keys.  Prints what it found as one JSON object.  Exit status 1 when something is wrong.
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
    parser.add_argument("data", metavar="DIR", help="directory of the database, or archive")
    add_archive_keys(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Verify and report; returns the exit status."""
    with loading():
        from memdb.engine.database import EmbeddedDatabase
        from memdb.store.archive import is_archive

    if is_archive(Path(options.data)):
        return _verify_archive(options)
    # Made anew it would be empty, and healthy.
    with EmbeddedDatabase(options.data, config=engine_of(options), create=False) as database:
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


def _verify_archive(options: argparse.Namespace) -> int:
    with loading():
        from memdb.engine.restore import verify_archive

    found = verify_archive(options.data, keys=archive_keys(options))
    report = {
        "ok": found.ok,
        "archive": found.id,
        "kind": found.kind,
        "archives": found.archives,
        "users": found.users,
        "erased": found.erased,
        "files": found.files,
        "bytes_checked": found.bytes_checked,
        "damaged_files": [
            {"file": file, "reason": reason, "what": what}
            for file, reason, what in found.damaged_files
        ],
    }
    json.dump(report, sys.stdout)
    print()
    return 0 if found.ok else 1
