"""Which documents may answer, of those alive: made before any arm looks, so that a filter empties no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from memdb.index.calendar_rows import rows_within
from memdb.types.arrays import Array
from memdb.types.calendar import Calendar

FACT: Final = 1
"""Kind of a document that is a fact, as in `memdb.store.schema`."""
NO_END: Final = np.iinfo(np.int64).max
"""``end_ns`` of a fact that holds until further notice; behind every time that there is."""


@dataclass(frozen=True, slots=True, eq=False)
class TextFilter:
    """Of utterances and of facts; None does not restrict."""

    utterances: bool = True
    facts: bool = True
    stream_nos: tuple[int, ...] | None = None
    """Of utterances."""
    start_ns: int | None = None
    end_ns: int | None = None
    """Only utterances that overlap ``[start_ns, end_ns)``."""
    clip_nos: Array | None = None
    """(n,) u64: only utterances of these clips."""
    valid_at_ns: int | None = None
    """Only facts that hold then."""
    calendar: Calendar | None = None
    """Only utterances of these hours and weekdays, by their own time."""
    zones: Mapping[int, str] = field(default_factory=dict)
    """Of the streams, by number, by whose clocks those are."""
    about: Array | None = None
    """(n,) int64, ascending: only facts that are among these documents (`memdb.index.text.TextView.about`)."""

    def rows(self, columns: Mapping[str, Array], alive: Array) -> Array:
        """(n,) int64 of the documents, ascending, that may answer, of those ``alive``, (documents,) bool.

        columns: of `memdb.index.text`.  What each condition leaves is looked at by the next alone.
        """
        is_fact = columns["kind"][: len(alive)] == FACT
        said = self._said(columns, np.flatnonzero(alive & ~is_fact)) if self.utterances else _NONE
        known = self._known(columns, np.flatnonzero(alive & is_fact)) if self.facts else _NONE
        if not len(said) or not len(known):
            return said if len(said) else known
        return np.sort(np.concatenate([said, known]))

    def _said(self, columns: Mapping[str, Array], rows: Array) -> Array:
        if self.end_ns is not None:
            rows = rows[columns["start_ns"][rows] < self.end_ns]
        if self.start_ns is not None:
            # One of no length counts as a point, as a clip does.
            begin, end = columns["start_ns"][rows], columns["end_ns"][rows]
            rows = rows[(end > self.start_ns) | (begin >= self.start_ns)]
        if self.stream_nos is not None:
            wanted = np.array(self.stream_nos, np.uint32)
            rows = rows[np.isin(columns["stream_no"][rows], wanted)]
        if self.clip_nos is not None:
            rows = rows[np.isin(columns["no"][rows], self.clip_nos)]
        if self.calendar is not None:
            rows = rows_within(self.calendar, columns, rows, self.zones)
        return rows

    def _known(self, columns: Mapping[str, Array], rows: Array) -> Array:
        if self.about is not None:
            rows = np.intersect1d(rows, self.about, assume_unique=True)
        if self.valid_at_ns is None:
            return rows
        begin, end = columns["start_ns"][rows], columns["end_ns"][rows]
        return rows[(begin <= self.valid_at_ns) & (end > self.valid_at_ns)]


EVERYTHING: Final = TextFilter()
_NONE: Final = np.empty(0, np.int64)
