"""``memdb retention``: show how long a stream keeps what it holds, or change it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from typing import Any, Final

from memdb.cli.source import USAGE, add_source, opened
from memdb.errors import InvalidArgument

EXAMPLE = """\
example:
  memdb retention --server localhost:7700 --user alice --stream porch
  memdb retention ./data --user alice --stream porch --short-memory-age-s 604800 --max-bytes 50000000000
  memdb retention ./data --user alice --stream porch --max-bytes none
  memdb retention ./data --user alice --stream porch --hold

What no option names stays as it is; `none` ends a limit, --clear all of them, and a hold only --no-hold.
What a sweep gave up is not undone by another policy.  Prints the policy then in force as one JSON object.
"""

NONE: Final = "none"
_LIMITS: Final = {
    "max_age_s": "whole clips, so many seconds after their end",
    "max_clips": "whole clips, but for the newest so many",
    "max_bytes": "short-term memory and keyframes above so many bytes",
    "short_memory_age_s": "short-term memory, so many seconds after the end of its clip",
    "keyframes_age_s": "keyframes, so many seconds after the end of their clip",
}
"""Limits of `memdb.types.retention.Retention`, and what each gives up."""


def add_to(verbs: Any) -> None:
    """Add the command to the parser."""
    parser = verbs.add_parser(
        "retention",
        allow_abbrev=False,
        help="show or change how long a stream keeps what it holds",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source(parser)
    parser.add_argument("--user", required=True, help="whose")
    parser.add_argument("--stream", required=True, help="which stream")
    for name, text in _LIMITS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", dest=name, metavar="N", help=f"give up {text}; or none"
        )
    # Not an option that either form sets: of both, the last would count, and a hold would be ended in passing.
    hold = parser.add_mutually_exclusive_group()
    hold.add_argument(
        "--hold",
        action="store_const",
        const=True,
        help="legal hold: nothing is given up or erased",
    )
    hold.add_argument(
        "--no-hold", dest="hold", action="store_const", const=False, help="the legal hold ends"
    )
    parser.add_argument("--clear", action="store_true", help="end every limit")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Change what is named, and show; returns the exit status."""
    from memdb.types.retention import Retention

    given = {
        name: _number(name, value)
        for name in _LIMITS
        if (value := getattr(options, name)) is not None
    }
    if options.clear and given:
        raise InvalidArgument("expected --clear or limits, not both", reason=USAGE, field="clear")
    changes: dict[str, Any] = dict.fromkeys(_LIMITS) if options.clear else dict(given)
    if options.hold is not None:
        changes["hold"] = options.hold
    # Refused here, before anything is opened.
    Retention(**changes)
    with opened(options) as database:
        stream = database.user(options.user).stream(options.stream)
        policy = stream.retention()
        if changes:
            policy = replace(policy, **changes)
            stream.set_retention(policy)
    json.dump(asdict(policy), sys.stdout)
    print()
    return 0


def _number(name: str, text: str) -> int | None:
    """The limit that an option names, None to end it."""
    if text == NONE:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 19:
        raise InvalidArgument(
            f"expected a whole number, or {NONE}",
            reason=USAGE,
            field=name.replace("_", "-"),
            value=text,
        )
    return int(text)
