"""``memdb erase``: remove clips, a stream or a user for good."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from memdb.cli.source import USAGE, add_source, opened
from memdb.errors import InvalidArgument

if TYPE_CHECKING:
    from memdb.types.change import ErasureReport
    from memdb.types.database import User

EXAMPLE = """\
example:
  memdb erase --server localhost:7700 --user alice --clip 4f0c... --clip 91aa... --yes
  memdb erase ./data --user alice --stream porch --start 2026-01-05T09:00:00Z --end 2026-01-05T10:00:00Z --yes
  memdb erase ./data --user alice --stream porch --yes        the stream, its ledger and its name
  memdb erase ./data --user alice --everything --yes          the user

With a time range every clip goes that touches it; without --stream, of any stream.  No byte stays in the
database's files; archives made before have it still.  Nothing is undone, so that nothing is done without
--yes.  Prints one JSON object: what was removed, with ids, and the facts that lost evidence (fact_ids),
whose text stays until it is forgotten.

Stop the agents of the user first (memdb-ingest): whoever goes on writing makes the user, or the stream, anew.
"""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "erase",
        allow_abbrev=False,
        help="remove clips, a stream or a user for good",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source(parser)
    parser.add_argument("--user", required=True, help="whose")
    parser.add_argument("--stream", help="of this stream, or alone: the whole stream")
    parser.add_argument("--start", metavar="TIME", help="RFC 3339, or UTC nanoseconds")
    parser.add_argument("--end", metavar="TIME", help="the same, exclusive")
    parser.add_argument(
        "--clip", metavar="ID", action="append", default=[], help="this clip; may be repeated"
    )
    parser.add_argument("--everything", action="store_true", help="the user, with all it has")
    parser.add_argument("--yes", action="store_true", help="do it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Erase and report; returns the exit status."""
    from memdb.types.ids import check_id

    check_id(options.user, "user")
    if options.stream is not None:
        # An empty one, as from a variable that is not set, is not taken for any stream.
        check_id(options.stream, "stream")
    start, end = _moment(options.start, "start"), _moment(options.end, "end")
    if start is not None and end is not None and end <= start:
        # In the words of the command: those of the library are nanoseconds.
        raise InvalidArgument(
            "it does not lie behind --start", reason="TIME_RANGE", field="end", value=options.end
        )
    what = _what(options)
    if not options.yes:
        raise InvalidArgument(
            f"this erases {what} for good: give --yes to do it", reason=USAGE, field="yes"
        )
    with opened(options) as database:
        report = _erase(database.user(options.user), options, start, end)
    json.dump(asdict(report), sys.stdout)
    print()
    return 0


def _what(options: argparse.Namespace) -> str:
    """What is to go, in words; refuses options that name nothing, or two things."""
    is_range = options.start is not None or options.end is not None
    if options.everything:
        if options.stream is not None or options.clip or is_range:
            raise InvalidArgument(
                "expected --everything alone, or the parts that are meant",
                reason=USAGE,
                field="everything",
            )
        return f"user {options.user}, with all streams and facts,"
    of = f"of {options.user}" + (f", stream {options.stream}" if options.stream else "")
    if options.clip:
        return f"{len(options.clip)} clips {of}"
    if is_range:
        return f"every clip {of} that touches [{options.start or ''}, {options.end or ''})"
    if options.stream:
        return f"stream {options.stream} of {options.user}, with its ledger,"
    raise InvalidArgument(
        "expected --clip, --start or --end, --stream, or --everything", reason=USAGE, field="clip"
    )


def _erase(
    user: User, options: argparse.Namespace, start: int | None, end: int | None
) -> ErasureReport:
    if options.everything:
        return user.erase()
    if not options.clip and start is None and end is None:
        return user.stream(options.stream).erase()
    return user.erase_clips(options.clip or None, stream=options.stream, start_ns=start, end_ns=end)


def _moment(text: str | None, field: str) -> int | None:
    """A time in UTC nanoseconds, given as such or as RFC 3339 text."""
    from memdb.types.times import as_ns, moment

    if text is None:
        return None
    if text.removeprefix("-").isdecimal() and text.isascii():
        return as_ns(int(text[:40]), field)
    return as_ns(moment(text, field), field)
