"""From a question to the clips that answer it: the request's options and the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from memdb.types.arm import Arm
from memdb.types.clip import StoredClip
from memdb.types.coverage import StreamCoverage
from memdb.types.shown import shown
from memdb.types.snapshot import Snapshot
from memdb.types.stream import Gap

POLICIES: Final = ("top", "ixc-live", "ixc-gradio", "ixc-offline", "ixc-train")
"""Selection policies: ours, and the four published with IXC2.5-OmniLive (arXiv 2412.09596 and its
code).

``top``
    best score first, at most ``limit``.
``ixc-live``
    the earliest clip with cosine > 0.3, one hit.
``ixc-gradio``
    the earliest clip with cosine > 0.25, one hit.
``ixc-offline``
    every clip with softmax(cosine / 0.1) > 0.2, in time order.
``ixc-train``
    the min(4, clips) best by softmax(cosine / 0.1), in time order.
"""

TOKENS_POLICY: Final = "tokens"
"""A policy for questions that no single vector expresses: there is no question feature, clips are compared
by their short-term memory alone, best late interaction first.
"""

PAGED_POLICIES: Final = ("top", TOKENS_POLICY)
"""Policies whose answers come in pages; the published ones give a few hits."""

WEIGHTINGS: Final = ("idf", "uniform")
"""What the tokens of a question weigh in late interaction.

``idf``
    learned per stream: what its clips always show weighs nothing.
``uniform``
    all the same.
"""

FALLBACKS: Final = ("none", "recent")
"""``recent``: the newest clip, open or sealed, when nothing passes."""

AsOf = int | datetime | str | Snapshot
"""A past moment: a revision (0: before the first commit), an aware datetime (the newest commit until then), a
snapshot or a snapshot's name."""


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring frames of a clip that matched, in event time, and how well.

    A clip's frames are taken to be spread evenly over its time.
    """

    start_ns: int
    end_ns: int
    score: float
    """Late interaction of its best frame alone; at most that of the clip."""
    first_frame: int | None = None
    """Counted from 0 in the clip; None where the clip has no ``frames_per_token_row``."""
    last_frame: int | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One clip of an answer."""

    clip: StoredClip
    """Without its short-term memory, unless it was asked for."""
    score: float
    """Similarity in the stream's space (cosine or inner product); of a question with ``text`` the
    fused score in [0, 1], comparable within one answer only; re-ranked hits carry what they stand out of
    their stream by (``weighting="idf"``) or the late-interaction score, or with ``text`` the fused score
    with that in it.
    """
    relevance: float | None = None
    """Calibrated relevance in [0, 1]: how likely the best of as many unrelated things as the stream shows
    would score less.  It rises with the score of the question feature within a stream; re-ranking does
    not change it.
    """
    spans: tuple[Span, ...] = ()
    """Which parts of the clip matched, best first, at most 8; filled when the question came with tokens
    and ``rerank`` > 0, or under the policy ``tokens``.
    """
    token_weights: tuple[float, ...] = ()
    """What each of the question's tokens weighed in the clip's stream, of sum 1; filled as ``spans`` is."""
    arms: tuple[Arm, ...] = ()
    """What each arm gave to the score, the largest share first; filled with ``explain``, but for the policy
    ``tokens``, which has no arms.  Of a hit that was re-ranked they tell how it became a candidate; with ``text``
    the arm ``vector`` is its late interaction.
    """

    def __repr__(self) -> str:
        return shown(self)


@dataclass(frozen=True, slots=True)
class Grounding:
    """The answer to a question.  ``len(answer)``, ``answer[0]`` and ``for hit in answer`` are those of its hits."""

    hits: tuple[Hit, ...]
    """Best first, but for the policies that say otherwise."""
    revision: int
    """The user's commit the answer was taken at; asking again ``as_of`` it gives the same answer (the exact
    one, of an approximate one).
    """
    fallback: str = "none"
    """``recent`` when nothing passed and the newest clip was given instead."""
    gaps: tuple[Gap, ...] = field(default=())
    """Clip numbers missing within the searched streams and time: what the answer cannot know.  At most the newest
    1,000 gaps, told by stream, epoch and number.
    """
    coverage: tuple[StreamCoverage, ...] = field(default=())
    """What of each searched stream was searched, by name: given when the answer abstains, or when asked
    for by ``with_coverage``.
    """
    abstained: bool = False
    """No clip passed what the question demands: nothing like that was seen.  There are no hits then,
    or the one of the fallback.
    """
    next_cursor: str | None = None
    """Of a page: what ``cursor`` asks for the one behind it; None where there is no more."""
    approximate: bool = field(default=False, kw_only=True)
    """Whether clips were looked for among the likely ones alone, as in a large memory, instead of among all:
    one of the best may be missing, at a recall that is measured (docs/guarantees.md).  Scores are always
    exact.  ``exact=True`` asks for all of them.
    """
    gaps_left_out: int = field(default=0, kw_only=True)
    """Older gaps that are there besides ``gaps``; `Stream.gaps` lists all of them."""

    def __repr__(self) -> str:
        return shown(self)

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index: int) -> Hit:
        return self.hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)
