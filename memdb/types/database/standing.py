"""A handle on a user's standing questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from memdb.types.arrays import VectorLike
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.grounding import AsOf
from memdb.types.label_filter import WantedLabels
from memdb.types.standing import Alert, Backtest, StandingQuestion
from memdb.types.times import Time


class Standing(Protocol):
    """The standing questions of a user: asked once, answered whenever a clip comes that answers them.

    Nobody need listen: what there is to tell follows from what is stored.  A watch tells it from its
    cursor on, after a crash or a year as well, as long as clip and question are there.
    """

    def create(
        self,
        question_feature: VectorLike,
        *,
        min_score: float | None = None,
        min_relevance: float | None = None,
        kind: str = "seen",
        then_feature: VectorLike | None = None,
        window_s: float | None = None,
        streams: Sequence[str] | None = None,
        space: str | None = None,
        sealed_only: bool = True,
        text: str = "",
        name: str | None = None,
        labels: WantedLabels | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
    ) -> StandingQuestion:
        """Ask a question of every clip of later commits.

        question_feature: (dim,) in the space of the streams; a clip matches from ``min_score`` on, a
        cosine in a cosine space (more than 1 is refused there), or from ``min_relevance`` on (above 0 and below 1): the
        `Hit.relevance` that `User.ground` gives it as of the commit that brings it.  kind: ``seen``: a
        match, with ``window_s`` unless another clip that matches began within so many seconds before;
        ``sequence``: a match of ``then_feature`` (dim,) that begins at most ``window_s`` after a match
        of the question; ``absent``: ``window_s`` without a match.  Seconds are of event time.
        streams: None for all of the space.  space is needed where the streams span several, or there
        is none yet.  sealed_only: without it the first version that matches of a growing clip is told.
        text: the question in words.  labels, hours, weekdays, zone: only clips that these options
        of `User.ground` admit; of a ``sequence`` both of its clips, and of ``absent`` a clip that they do not admit
        is no match.  The keys and values of labels together have 16,384 characters at most.  name: where the
        user has a question of that name, created with the same options, it is the answer and none is made; the
        name is free again once its question is removed.

        Raises `AlreadyExists` (``NAME_TAKEN``: by a question that differs), `InvalidArgument`
        (``BAR_REQUIRED``, ``TWO_BARS``, ``OUT_OF_RANGE``, ``BAD_KIND``, ``THEN_REQUIRED``,
        ``WINDOW_REQUIRED``, ``NOT_OF_KIND``, ``DIM_MISMATCH``, ``ZERO_VECTOR``, ``SPACE_REQUIRED``, ``BAD_HOURS``,
        ``BAD_WEEKDAY``, ``BAD_ZONE``, and ``EMPTY``, ``TOO_LARGE``, ``NOT_USED`` of labels, hours and zone),
        `NotFound` (user, stream, space), `FailedPrecondition` (``SPACE_MISMATCH``),
        `ResourceExhausted` (``QUOTA`` beyond 10,000 of a user).
        """
        ...

    def list(self) -> list[StandingQuestion]:
        """Every question that is asked, oldest first.  Raises `NotFound` (``USER_NOT_FOUND``)."""
        ...

    def get(self, question_id: str) -> StandingQuestion:
        """One question; raises `NotFound` (``STANDING_NOT_FOUND``)."""
        ...

    def remove(self, question_id: str) -> None:
        """Ask it no more; what it would still have to tell is told no more either.  Its text may stay in pages
        that the file freed until `User.compact`.

        Raises `NotFound` (``STANDING_NOT_FOUND``).
        """
        ...

    def backtest(
        self,
        question_feature: VectorLike,
        *,
        min_score: float | None = None,
        min_relevance: float | None = None,
        kind: str = "seen",
        then_feature: VectorLike | None = None,
        window_s: float | None = None,
        streams: Sequence[str] | None = None,
        space: str | None = None,
        sealed_only: bool = True,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        thresholds: Sequence[float] | None = None,
        limit: int = 100,
        labels: WantedLabels | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
    ) -> Backtest:
        """What a question would have told of the clips that are stored: how often, by threshold, and the
        newest ``limit`` alerts at ``min_score``, or at ``min_relevance``, which is of each clip as of
        the commit that brought it.

        The question is one of `create`, with its options; clips are those that overlap ``[start_ns, end_ns)``, as of
        ``as_of``.

        thresholds: scores, or relevances beside ``min_relevance``; None for 21 from 0 to 1 (of scores in
        a space of inner products, over those that there are).  ``absent`` counts from the start of the
        time (or of the first clip that the question looks at) to its end (or that of the user's newest clip, of
        whatever stream), also where there is no clip.  Raises as `create`.
        """
        ...

    def watch(self, *, cursor: str | None = None, follow: bool = True) -> Iterator[Alert]:
        """Alerts after ``cursor`` (None: all that there is to tell), oldest commit first; with
        ``follow`` waits for new ones.

        At least once: keep the `Alert.cursor` of the last one that was dealt with, and drop an
        `Alert.id` that was seen before.  Waits, and is ended, as `User.watch`.

        Raises `InvalidArgument` (``BAD_CURSOR``), `NotFound` (``USER_NOT_FOUND``; ``REVISION_NOT_FOUND`` of a cursor
        that is ahead of the user, or whose commit was undone, as by a restore: begin without one).
        """
        ...
