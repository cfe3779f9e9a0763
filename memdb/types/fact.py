"""Long-term memory of a user: facts with validity and evidence, and the vectors above single clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from memdb.types.arrays import Array, VectorLike
from memdb.types.clip import StoredClip, Utterance
from memdb.types.shown import shown
from memdb.types.times import Time

About = str | Iterable[str]
"""In a filter, what facts are about: one thing, or those of which one will do; by names as they were given."""


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """What `remember` takes, as one value, for `remember_many`, which checks it."""

    text: str
    about: Iterable[str] = ()
    valid_from: Time | None = None
    valid_to: Time | None = None
    evidence: Iterable[str] = ()
    key: str | None = None
    feature: VectorLike | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One version of a statement.  ``history`` lists all versions, oldest first."""

    id: str
    """32 hexadecimal digits, the same for every version."""
    user: str
    text: str
    """The statement."""
    about: tuple[str, ...]
    """The things it speaks of."""
    key: str | None
    """A name under which a later statement is the next version of this one; None when it stands alone."""
    valid_from_ns: int
    """Since when it holds in the world, UTC nanoseconds."""
    valid_to_ns: int | None
    """End of validity in the world, exclusive; None: until further notice."""
    evidence: tuple[str, ...]
    """Ids of the clips that support it."""
    revision: int
    """The commit that wrote this version."""
    written_ns: int
    """When this version was written, by the wall clock."""
    superseded_revision: int | None = None
    """The commit that replaced this version; None for the current one."""


@dataclass(frozen=True, slots=True)
class RecallHit:
    """One remembered thing: a fact, or an utterance with the clip it was said in."""

    kind: str
    """``fact`` or ``utterance``."""
    score: float
    """From 0 to 1, higher is better: what the words found, relative to the best that the filters admit, and with a
    feature 0.7 of that and 0.3 of the cosine; comparable within one answer only."""
    arms: dict[str, float]
    """The score of each arm that found it: ``semantic`` (cosine), ``lexical`` (BM25)."""
    fact: Fact | None = None
    """Of a hit of that kind, as it stood at the revision."""
    utterance: Utterance | None = None
    """Of a hit of that kind."""
    clip: StoredClip | None = None
    """The clip that an utterance was said in, without short-term memory."""

    @property
    def text(self) -> str:
        """What was remembered, as text."""
        if self.fact is not None:
            return self.fact.text
        return self.utterance.text if self.utterance is not None else ""


@dataclass(frozen=True, slots=True)
class Recall:
    """The answer to a recall: hits, best first, and which arms searched.  ``len(answer)``, ``answer[0]`` and
    ``for hit in answer`` are those of its hits.
    """

    hits: tuple[RecallHit, ...]
    """Best first."""
    revision: int
    """The user's commit the answer was taken at."""
    arms: tuple[str, ...]
    """``("lexical",)`` when the question carried no feature in the user's text space, else with
    ``semantic``.
    """
    valid_at_ns: int | None = None
    """When the facts hold that were looked for, UTC nanoseconds; None where that was not asked."""

    def __repr__(self) -> str:
        return shown(self)

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index: int) -> RecallHit:
        return self.hits[index]

    def __iter__(self) -> Iterator[RecallHit]:
        return iter(self.hits)


@dataclass(frozen=True, slots=True)
class MemorySpan:
    """What one token of long-term memory stands for."""

    stream: str
    level: str
    """``hour`` or ``day`` (UTC)."""
    start_ns: int
    """Of that hour or day, UTC nanoseconds."""
    end_ns: int
    """Exclusive."""
    clips: int
    """How many sealed clips it sums up."""


@dataclass(frozen=True, slots=True, eq=False)
class LongTermMemory:
    """The memory above single clips: hour and day vectors, oldest first, at most as many as were asked for."""

    tokens: Array
    """(k, dim) float32, each row of unit length in a cosine space; k is 0 when nothing is sealed
    yet.
    """
    spans: tuple[MemorySpan, ...]
    """What each token stands for, one for each."""
    space: str
    """Of the tokens."""
    revision: int
    """The user's commit it was taken at."""

    def __repr__(self) -> str:
        return shown(self)
