"""What of a memory is to be recalled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from memdb.errors import InvalidArgument
from memdb.types.arguments import checked_abouts, checked_streams, checked_times
from memdb.types.calendar import Calendar, HourOfDay, Weekday, checked_calendar
from memdb.types.checks import check_choice, check_many
from memdb.types.fact import About
from memdb.types.label_filter import LabelFilter, WantedLabels, checked_labels
from memdb.types.times import Time
from memdb.types.validity import ValidAt, checked_valid_at

FACT: Final = "fact"
UTTERANCE: Final = "utterance"
KINDS: Final = (FACT, UTTERANCE)
"""What hits of a recall are."""
_KINDS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class RecallFilter:
    """Which facts and utterances may answer; None does not restrict."""

    kinds: tuple[str, ...] = KINDS
    """In the order of `KINDS`."""
    streams: tuple[str, ...] | None = None
    """Of utterances, as are times, labels and hours."""
    start_ns: int | None = None
    end_ns: int | None = None
    labels: LabelFilter = ()
    calendar: Calendar | None = None
    valid_at: int | str | None = None
    """Of facts: a time, or a word of `memdb.types.validity`; None: the moment that the question is of."""
    about: tuple[str, ...] | None = None
    """Of facts: those about one of these."""

    @property
    def facts(self) -> bool:
        """Whether facts may answer."""
        return FACT in self.kinds

    @property
    def utterances(self) -> bool:
        """Whether utterances may answer."""
        return UTTERANCE in self.kinds


def checked_recall_filter(
    streams: Sequence[str] | None,
    start_ns: Time | None,
    end_ns: Time | None,
    labels: WantedLabels | None,
    kinds: Iterable[str] | None,
    valid_at: ValidAt | None,
    hours: Iterable[Sequence[HourOfDay]] | None,
    weekdays: Iterable[Weekday] | None,
    zone: str | None,
    about: About | None,
) -> RecallFilter:
    """What the options of `User.recall` say.

    Raises `InvalidArgument` naming the option; ``BAD_KIND`` for a kind that there is not, and ``NOT_USED`` for
    one that is of no kind that is asked for.
    """
    start, end = checked_times(start_ns, end_ns)
    found = RecallFilter(
        _checked_kinds(kinds),
        checked_streams(streams),
        start,
        end,
        checked_labels(labels),
        checked_calendar(hours, weekdays, zone),
        checked_valid_at(valid_at),
        checked_abouts(about),
    )
    if not found.utterances:
        of_clips = {
            "streams": streams,
            "start_ns": start,
            "end_ns": end,
            "labels": labels,
            "hours": hours,
            "weekdays": weekdays,
        }
        _refuse_used(of_clips, "of utterances, which kinds leaves out")
    if not found.facts:
        of_facts = {"valid_at": found.valid_at, "about": found.about}
        _refuse_used(of_facts, "of facts, which kinds leaves out")
    return found


def _checked_kinds(kinds: Iterable[str] | None) -> tuple[str, ...]:
    if kinds is None:
        return KINDS
    named = check_many(kinds, object, "kinds", _KINDS_MAX)
    if not named:
        # None in Python would be all on the wire.
        raise InvalidArgument(
            "name at least one kind, or None for all", reason="EMPTY", field="kinds"
        )
    chosen = {check_choice(kind, KINDS, "kinds", "BAD_KIND") for kind in named}
    return tuple(kind for kind in KINDS if kind in chosen)


def _refuse_used(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise InvalidArgument(f"{name} is {why}", reason="NOT_USED", field=name)
