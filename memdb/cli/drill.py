"""``memdb drill``: restore an archive to a scratch directory and compare answers with the original."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from memdb.cli.source import add_archive_keys, add_source, archive_keys, engine_of, opened
from memdb.interrupts import loading

EXAMPLE = """\
example:
  memdb drill backups/monday ./data
  memdb drill backups/monday --server localhost:7700

Asks both as of the archive's revisions and compares the answers to the byte.  Prints one JSON object.
Exit status 1 on any difference; what was forgotten or erased since the backup is one.  2 when there is no
such archive.
"""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "drill",
        allow_abbrev=False,
        help="restore an archive aside and compare answers",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("archive", metavar="ARCHIVE", help="what `memdb backup` wrote")
    add_source(parser)
    parser.add_argument(
        "--questions",
        type=int,
        default=32,
        metavar="N",
        help="clips per user, at least 1 (default: 32)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which clips (default: 0)")
    parser.add_argument(
        "--scratch", metavar="DIR", help="restore below DIR (default: the system's)"
    )
    add_archive_keys(parser, master=False)
    parser.set_defaults(run=run, finds=True)


def run(options: argparse.Namespace) -> int:
    """Drill and report; returns the exit status."""
    with loading():
        from memdb.engine.drill import drill

    with opened(options, reads_archive=True) as database:
        found = drill(
            options.archive,
            database,
            questions=options.questions,
            seed=options.seed,
            scratch=options.scratch,
            keys=archive_keys(options),
            config=engine_of(options),
        )
    json.dump(asdict(found) | {"ok": found.ok}, sys.stdout)
    print()
    return 0 if found.ok else 1
