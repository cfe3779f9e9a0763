"""``memdb backup``: write an archive of a database, running or not."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from memdb.cli.source import add_archive_keys, add_source, archive_keys, engine_of, opened
from memdb.errors import MemdbError
from memdb.interrupts import loading

EXAMPLE = """\
example:
  memdb backup ./data --to backups/monday --drill
  memdb backup ./data --to backups/tuesday --parent backups/monday
  memdb backup --server localhost:7700 --to monday       below the server's backup_dir, on its machine

With --parent only what changed since that archive is written; it is looked for beside the new one
whenever that is restored.  The archive of an encrypted directory holds no key: data-keys/ beside it
has copies of the data keys, and those of users that were erased are destroyed there.  Prints one JSON
object.  Exit status 1 when a user could not be read, or an answer of the drill differs.
"""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "backup",
        allow_abbrev=False,
        help="write an archive while the database runs",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source(parser)
    parser.add_argument(
        "--to", metavar="PATH", required=True, help="archive to write; must not exist"
    )
    parser.add_argument("--parent", metavar="ARCHIVE", help="write what changed since this archive")
    parser.add_argument(
        "--drill",
        action="store_true",
        help="restore it to a scratch directory and compare answers (archive on this machine)",
    )
    add_archive_keys(parser, master=False)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Back up and report; returns the exit status."""
    if options.drill:
        # What it needs may not be installed: known before anything is written, not after.
        with loading():
            from memdb.engine.drill import drill
    with opened(options, reads_archive=options.drill) as database:
        made = database.backup(options.to, parent=options.parent)
        report = asdict(made)
        ok = not made.damaged
        if options.drill:
            try:
                keys = archive_keys(options)
                found = drill(made.path, database, keys=keys, config=engine_of(options))
            except MemdbError:
                # The archive is there all the same, and its id is told nowhere else.
                _print(report)
                raise
            report["drill"] = asdict(found) | {"ok": found.ok}
            ok = ok and found.ok
    _print(report)
    return 0 if ok else 1


def _print(report: dict[str, Any]) -> None:
    json.dump(report, sys.stdout)
    print()
