"""``memdb verify``: check a database, in a directory or of a server, or a backup archive."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from memdb.cli.source import add_archive_keys, add_source, archive_keys, opened
from memdb.interrupts import loading

EXAMPLE = """\
example:
  memdb verify ./data
  memdb verify --server 127.0.0.1:7700
  memdb verify ./backups/monday

Of a database: reads every stored value, and compares every index with the store; a directory must not be
open in a server, which is asked by --server instead.  Of an archive: compares every byte of it, and of
those it builds upon, with the manifests, and opens its data keys.  Prints what it found as one JSON
object.  Exit status 1 when something is wrong.
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
    add_source(parser, directory="directory of the database, or archive")
    add_archive_keys(parser, master=False)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Verify and report; returns the exit status."""
    if options.server is None and options.data is not None and _names_archive(options.data):
        return _verify_archive(options)
    with opened(options) as database:
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


def _names_archive(path: str) -> bool:
    # Imported here: to ask a server, the client alone is enough.
    with loading():
        from memdb.store.manifest_file import is_archive
        from memdb.store.system import unusable

    try:
        return is_archive(Path(path))
    except OSError as error:
        # Somebody else's directory, most likely, or a name that is too long.
        raise unusable(error, path) from error


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
