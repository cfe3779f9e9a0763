"""Which clips a question that is kept looks at, beside its streams: labels, and hours of the day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self, TypedDict

from memdb.types.calendar import Calendar, checked_calendar, clock_texts
from memdb.types.label_filter import LabelFilter, Not, WantedLabels, checked_labels


class ClipOptions(TypedDict):
    """A filter as the options of a call, None where they restrict nothing."""

    labels: dict[str, tuple[str, ...] | Not] | None
    hours: tuple[tuple[str, str], ...] | None
    weekdays: tuple[int, ...] | None
    zone: str | None


@dataclass(frozen=True, slots=True)
class ClipFilter:
    """As the options of `User.ground` say it, checked; what compares equal admits the same clips."""

    labels: LabelFilter = ()
    calendar: Calendar | None = None

    @classmethod
    def taken(
        cls,
        labels: WantedLabels | None,
        hours: Sequence[tuple[str, str]] | None,
        weekdays: Sequence[int] | None,
        zone: str | None,
    ) -> Self:
        """Of options that were taken once; the zone may be one that this machine does not know."""
        calendar = checked_calendar(hours, weekdays, None)
        return cls(
            checked_labels(labels), None if calendar is None else replace(calendar, zone=zone)
        )

    @property
    def is_empty(self) -> bool:
        """Whether it admits every clip."""
        return not self.labels and self.calendar is None

    def options(self) -> ClipOptions:
        """The options that say it."""
        calendar = self.calendar or Calendar()
        return ClipOptions(
            labels=dict(self.labels) or None,
            hours=tuple(clock_texts(calendar) or ()) or None,
            weekdays=calendar.weekdays or None,
            zone=calendar.zone,
        )


EVERY_CLIP = ClipFilter()
