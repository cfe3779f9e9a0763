"""``memdb gaps``: which clips of a user never came."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from memdb.cli.source import USAGE, add_source, opened
from memdb.errors import InvalidArgument
from memdb.types.stream import Gap
from memdb.types.times import as_text

EXAMPLE = """\
example:
  memdb gaps --server 127.0.0.1:7700 --user alice
  memdb gaps ./data --user alice --stream porch --json

Prints a line for each run of missing numbers: stream, epoch, first and last number, the time between
the clips around it (UTC; with --json nanoseconds), and why.  Exit status 1 when there is any, 2 when
there is no such user or stream.
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
    add_source(parser)
    parser.add_argument("--data", metavar="DIR", dest="directory", help="the same as DIR")
    parser.add_argument("--user", required=True, help="whose")
    parser.add_argument("--stream", help="only this stream")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run, finds=True)


def run(options: argparse.Namespace) -> int:
    """List them; 1 when there is any."""
    if options.directory is not None and options.data is not None:
        raise InvalidArgument("expected one of DIR and --data", reason=USAGE, field="data")
    options.data = options.directory if options.data is None else options.data
    found = 0
    with opened(options) as db:
        user = db.user(options.user)
        names = [options.stream] if options.stream else [info.name for info in user.streams()]
        for name in names:
            for gap in user.stream(name).gaps():
                found += 1
                print(json.dumps(asdict(gap)) if options.json else _line(gap))
    return 1 if found else 0


def _line(gap: Gap) -> str:
    """For people; an end that is not known is left open."""
    start, end = ("" if ns is None else as_text(ns) for ns in (gap.start_ns, gap.end_ns))
    numbers = f"{gap.first_seq}..{gap.last_seq}"
    return f"{gap.stream}  epoch {gap.epoch}  {numbers}  [{start}, {end})  {gap.reason}"
