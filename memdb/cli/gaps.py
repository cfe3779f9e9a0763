"""``memdb gaps``: which clips of a user never came."""

from __future__ import annotations

import argparse
import json
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from memdb.cli.source import engine_of
from memdb.types.database import Database

EXAMPLE = """\
example:
  memdb gaps --server 127.0.0.1:7700 --user alice
  memdb gaps --data ./data --user alice --stream porch --json

Prints a line for each run of missing numbers: stream, epoch, first and last number, and the time
between the clips around it.  Exit status 1 when there is any.
"""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "gaps",
        allow_abbrev=False,
        help="list the clips that never came",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--server", metavar="ADDRESS", help="a server that runs")
    where.add_argument("--data", metavar="DIR", help="a directory that no server has open")
    parser.add_argument("--master-key-file", metavar="FILE", help="needed where DIR is encrypted")
    parser.add_argument("--user", required=True, help="whose")
    parser.add_argument("--stream", help="only this stream")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List them; 1 when there is any."""
    found = 0
    with _opened(options) as db:
        user = db.user(options.user)
        names = [options.stream] if options.stream else [info.name for info in user.streams()]
        for name in names:
            for gap in user.stream(name).gaps():
                found += 1
                if options.json:
                    print(json.dumps(asdict(gap)))
                else:
                    print(
                        f"{gap.stream}  epoch {gap.epoch}  {gap.first_seq}..{gap.last_seq}  "
                        f"[{gap.start_ns}, {gap.end_ns})"
                    )
    return 1 if found else 0


def _opened(options: argparse.Namespace) -> AbstractContextManager[Database]:
    if options.server:
        from memdb_client import connect

        return connect(options.server)
    from memdb.engine.database import EmbeddedDatabase

    return EmbeddedDatabase(
        options.data, config=engine_of(options), create=False, embed_texts=False
    )
