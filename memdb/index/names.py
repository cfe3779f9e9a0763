"""What clips are called: the names of their sounds and their labels, row by row of a partition.

Rows and texts are one to one, so a filter of rows is a filter of texts, and what is removed from the
rows is found by no words.  Like all words these are counted when they are first asked for
(`memdb.index.words`): a memory that is asked by vectors alone holds three references for each clip.
Labels are looked for in two ways: as words, and whole, by filters (`memdb.index.labels`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memdb.index.labels import LabelRows, joined
from memdb.index.words import Words
from memdb.types.arrays import Array


@dataclass(frozen=True, slots=True)
class ClipNames:
    """The names of one version of a clip."""

    events: str = ""
    """Of its sounds, one after the other."""
    labels: str = ""
    """Keys and values of its labels, `memdb.index.labels.joined`."""


NAMELESS = ClipNames()


def clip_names(events: Sequence[str], labels: Mapping[str, str]) -> ClipNames:
    """The names of a clip with these sounds and labels."""
    if not events and not labels:
        return NAMELESS
    # Most clips of a camera are called as those before them: one copy serves all.
    return ClipNames(
        sys.intern(" ".join(events)),
        sys.intern(joined(labels)),
    )


class Names:
    """The growing side; one writer adds, any readers ask `events`, `labels` and `labelled`."""

    def __init__(self) -> None:
        self.rows = 0
        self.events = Words()
        self.labels = Words()
        self.labelled = LabelRows()

    def add(self, names: Sequence[ClipNames]) -> None:
        """Names of the rows that come next."""
        self._add([one.events for one in names], [one.labels for one in names])

    def fill(self, rows: int) -> None:
        """No names for the rows up to ``rows`` that have got none."""
        if rows > self.rows:
            nothing = [""] * (rows - self.rows)
            self._add(nothing, nothing)

    def _add(self, events: list[str], labels: list[str]) -> None:
        self.events.add(events)
        self.labels.add(labels)
        self.labelled.add(labels)
        self.rows += len(labels)

    def without(self, there: Array, places: Array) -> Names:
        """The names of the rows that are ``there``, (n,) bool, numbered anew by ``places``."""
        kept = Names()
        kept.events = self.events.without(there, places)
        kept.labels = self.labels.without(there, places)
        kept.labelled = self.labelled.without(there, places)
        kept.rows = int(there.sum())
        return kept
