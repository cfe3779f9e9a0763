"""The arguments of `memdb-ask`, as values."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memdb.errors import InvalidArgument, MemdbError, NotFound
from memdb.types.arguments import checked_abouts, checked_as_of
from memdb.types.checks import check_int, check_number
from memdb.types.ids import check_id
from memdb.types.label_filter import Not, checked_labels
from memdb.types.limits import LIMIT_MAX
from memdb.types.times import as_ns, moment
from memdb.types.validity import ANY, NOW
from memdb.types.zone import checked_zone
from perception.arguments import labels, server_address, within
from perception.encoders import check_encoder
from reasoner.calendar_options import calendar
from reasoner.evidence import Scope

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from memdb.types.grounding import AsOf
    from memdb.types.validity import ValidAt
    from reasoner.answer import Answer
    from reasoner.reasoner import Reasoner


TIMEOUT_S_MAX: Final = 30 * 86_400.0
"""Of a call to memdb, or to the language model."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How every question of a command is asked: the options of `Reasoner.ask`."""

    scope: Scope
    limit: int
    as_of: AsOf | None
    min_score: float | None
    min_relevance: float | None
    zone: str | None
    valid_at: ValidAt | None
    about: tuple[str, ...] | None

    def ask(self, reasoner: Reasoner, question: str) -> Answer:
        """Raises as `Reasoner.ask`; of a moment that there is not in the words of the command."""
        try:
            return reasoner.ask(
                question,
                limit=self.limit,
                scope=self.scope,
                as_of=self.as_of,
                min_score=self.min_score,
                min_relevance=self.min_relevance,
                zone=self.zone,
                valid_at=self.valid_at,
                about=self.about,
            )
        except NotFound as error:
            if error.field != "as_of":
                raise
            raise _no_such_moment(error) from None


def asking(options: argparse.Namespace) -> Asking:
    """What the options say, checked, those about server and encoder too: nothing was loaded yet, and nobody asked.

    Raises `InvalidArgument` naming the option, and `NotFound` for a revision that nobody can have.
    """
    server_address(options.server)
    check_id(options.user, "user")
    for name in ("timeout", "llm_timeout"):
        field = name.replace("_", "-")
        check_number(getattr(options, name), field, 0.0, TIMEOUT_S_MAX, above=True)
    if options.space is not None:
        check_id(options.space, "space")
    if options.encoder is not None:
        check_encoder(options.encoder)
    zone = None if options.zone is None else checked_zone(options.zone)
    start_ns = None if options.start is None else as_ns(moment(options.start, "start"), "start")
    end_ns = None if options.end is None else as_ns(moment(options.end, "end"), "end")
    if start_ns is not None and end_ns is not None and end_ns <= start_ns:
        # In the words of the command: those of the library are nanoseconds.
        raise InvalidArgument(
            "it does not lie behind --start", reason="TIME_RANGE", field="end", value=options.end
        )
    scope = Scope(
        tuple(options.camera) if options.camera else None,
        start_ns,
        end_ns,
        calendar(options.hours, options.weekday, zone),
        labels=checked_labels(_labels(options.label, options.without_label) or None),
    )
    limit = check_int(options.limit, "limit", 1, LIMIT_MAX)
    as_of = _checked_as_of(options.as_of)
    valid_at = _valid_at(options.valid_at)
    if options.min_score is not None:
        within(options.min_score, -1.0, 1.0, "min-score")
    if options.min_relevance is not None:
        within(options.min_relevance, 0.0, 1.0, "min-relevance")
    return Asking(
        scope,
        limit,
        as_of,
        options.min_score,
        options.min_relevance,
        zone,
        valid_at,
        checked_abouts(options.about),
    )


def from_file(path: str | None) -> list[str]:
    """One question per line; empty lines and lines that begin with # are none."""
    if path is None:
        return []
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(
            f"cannot read the questions: {error}", reason="BAD_FILE", field="questions", value=path
        ) from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _as_of(text: str | None) -> AsOf | None:
    """A revision, a time, or the name of a snapshot."""
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    # No name of a snapshot has a colon; a date may be one.
    return moment(text, "as-of") if ":" in text else text


def _checked_as_of(text: str | None) -> AsOf | None:
    try:
        return checked_as_of(_as_of(text))
    except MemdbError as error:
        # In the words of the command: those of the library are `datetime`.
        told = error.again()
        told.field = "as-of"
        if isinstance(error, InvalidArgument) and error.reason == "BAD_ID":
            told.message = "expected a revision, a time (RFC 3339) or the name of a snapshot"
        raise told from None


def _no_such_moment(error: NotFound) -> NotFound:
    """In the words of the command, as `_checked_as_of`: `--as-of 2026-01-05` is the name of a snapshot, and who types
    it mostly means a time.
    """
    told = error.again()
    told.field = "as-of"
    what, also, _ = error.message.partition("; ")
    if also:
        told.message = f"{what}; a time is written with its offset from UTC: 2026-01-05T09:00:00Z"
    return told


def _labels(wanted: Sequence[str], others: Sequence[str]) -> dict[str, list[str] | Not]:
    """The labels that clips must have, and those that they must not."""
    found: dict[str, list[str] | Not] = dict(labels(wanted))
    for key, values in labels(others, "without-label").items():
        if key in found:
            raise InvalidArgument(
                "values that will do, or such that will not",
                reason="AMBIGUOUS",
                field="without-label",
                value=key,
            )
        found[key] = Not(*values)
    return found


def _valid_at(text: str | None) -> ValidAt | None:
    """A time, or a word of `memdb.types.validity`."""
    if text is None:
        return None
    words: dict[str, ValidAt] = {NOW: NOW, ANY: ANY}
    return words[text] if text in words else moment(text, "valid-at")
