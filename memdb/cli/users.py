"""``memdb users``: who has memory here, and whether it can be read."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from memdb.cli.source import add_source, opened
from memdb.errors import MemdbError, NotFound, Unavailable

if TYPE_CHECKING:
    from memdb.types.database import Database, User

EXAMPLE = """\
example:
  memdb users ./data
  memdb users --server 127.0.0.1:7700 --count --json

Prints a line for each user: id, newest revision, streams, and its state: serving, damaged where some of
its clips are, or the reason why it cannot be read.  --count reads every clip but its short-term memory,
which takes as long as that.  Exit status 1 when a user is damaged or cannot be read.
"""

PAGE = 1000
SERVING = "serving"
DAMAGED = "damaged"


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "users",
        allow_abbrev=False,
        help="list users and their state",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source(parser)
    parser.add_argument(
        "--count",
        action="store_true",
        help="count clips, and bytes of what they carry beside short-term memory",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List them; 1 when one is not whole."""
    whole = True
    with opened(options) as database:
        for name in database.users():
            try:
                told = _told(database, name, count=options.count)
            except NotFound:
                continue  # erased meanwhile
            whole = whole and told["state"] == SERVING
            print(json.dumps(told) if options.json else _line(told))
    return 0 if whole else 1


def _told(database: Database, name: str, *, count: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"user": name, "revision": None, "streams": None, "state": SERVING}
    user = database.user(name)
    try:
        told["revision"] = user.revision()
        streams = [info.name for info in user.streams()]
        told["streams"] = len(streams)
        if any(gap.reason == DAMAGED for one in streams for gap in user.stream(one).gaps()):
            told["state"] = DAMAGED
        if count:
            told["clips"], told["bytes"] = _counted(user)
    except NotFound:
        raise
    except MemdbError as error:
        if isinstance(error, Unavailable) and error.reason == Unavailable.default_reason:
            raise  # the server is gone, not one of its users
        told["state"] = error.reason
    return told


def _counted(user: User) -> tuple[int, int]:
    """Clips, and bytes of what a listing gives of them."""
    from memdb.types.clip import carried_bytes

    clips = size = 0
    after: str | None = None
    # Of one moment, or what is written meanwhile would be counted in part.
    revision = user.revision()
    while page := user.clips(as_of=revision, limit=PAGE, after=after):
        clips += len(page)
        size += sum(carried_bytes(clip, None) for clip in page)
        after = page[-1].cursor
    return clips, size


def _line(told: dict[str, Any]) -> str:
    """For people; what is not known is left out."""
    parts = [told["user"]]
    if told["revision"] is not None:
        parts.append(f"revision {told['revision']}")
    if told["streams"] is not None:
        parts.append(f"{told['streams']} streams")
    if "clips" in told:
        parts.append(f"{told['clips']} clips  {told['bytes']} bytes")
    return "  ".join([*parts, told["state"]])
