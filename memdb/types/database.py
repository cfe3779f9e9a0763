"""The one interface of memdb, kept by the embedded database and by the sync client; the async
client has the same methods, awaited.

Every option is keyword-only.  Times are UTC nanoseconds or aware datetimes.  Every method raises
the classes of `memdb.errors`; reads of a user that never wrote raise `NotFound`
(``USER_NOT_FOUND``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self, Unpack

from memdb.types.arrays import Array, RowsLike, VectorLike
from memdb.types.backup import BackupReport
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.change import Change, CompactionReport, ErasureReport, Verification
from memdb.types.clip import Ack, Clip, StoredClip
from memdb.types.fact import About, Fact, LongTermMemory, Recall, Statement
from memdb.types.ground_options import GroundOptions
from memdb.types.grounding import AsOf, Grounding
from memdb.types.ingest import INGEST_WINDOW
from memdb.types.label_count import LabelCount
from memdb.types.label_filter import WantedLabels
from memdb.types.retention import Retention, SweepReport
from memdb.types.snapshot import Snapshot
from memdb.types.space import Space
from memdb.types.standing import Alert, Backtest, StandingQuestion
from memdb.types.stream import Gap, Ledger, StreamInfo
from memdb.types.times import Time
from memdb.types.validity import ValidAt, ValidTo


class IngestWriter(Protocol):
    """Pipelined writing of one epoch of a stream: `send` returns before the acknowledgement,
    `flush` after the last.

    A clip is durable and searchable once it is acknowledged.  An open clip goes at once; sealed
    ones may wait for others to share a commit with (embedded: until 8 have come), at the longest
    until `flush` or `close`.

    After a clip was refused every later call raises its error: open another writer, whose
    ``next_seq`` says where to go on.
    """

    @property
    def next_seq(self) -> int:
        """The number of the next clip that the ledger wants: where to (re)start."""
        ...

    @property
    def acks(self) -> int:
        """Clips acknowledged so far through this writer."""
        ...

    def send(self, clip: Clip) -> None:
        """Queue a clip; blocks while the window is full.

        Raises the first error of an earlier clip, `InvalidArgument` for one that is wrong in itself
        (which leaves the writer as it was), `FailedPrecondition` (``CLOSED``) after `close`.
        """
        ...

    def flush(self) -> list[Ack]:
        """Commit what waits, and wait until every clip sent is acknowledged; the acknowledgements
        since the last flush, in order.
        """
        ...

    def close(self) -> None:
        """Flush and end.  Leaving the context by an exception ends without a flush: what is not
        acknowledged then may or may not be stored.
        """
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...


class Stream(Protocol):
    """A handle on one stream of a user."""

    @property
    def name(self) -> str:
        """Its name, unique among the user's streams."""
        ...

    def create(self, *, zone: str | None = None) -> StreamInfo:
        """Create the stream now (idempotent); writing creates it too.

        zone: IANA name of the time zone in which hours and weekdays of its clips are told, such as
        ``Europe/Berlin``; a stream keeps the one that it was created with, UTC where none was named.

        Raises `FailedPrecondition` (``SPACE_MISMATCH``, ``ZONE_MISMATCH``) when it exists in another
        space or zone, `InvalidArgument` (``SPACE_REQUIRED``) when it does not exist and the handle names
        no space, and for a zone that there is not (``BAD_ZONE``).
        """
        ...

    def write(self, clip: Clip) -> Ack:
        """Store one clip; returns when it is durable and searchable.  Creates user and stream where they
        are not there yet.

        Sent again with the same content it is a duplicate (`Ack.duplicate`), and nothing is written; an
        open clip (``sealed=False``) becomes what is sent under its number.

        Raises `AlreadyExists` (``SEQ_REUSED``: the number was sealed with other content),
        `InvalidArgument` (``DIM_MISMATCH``, ``ZERO_VECTOR``), `NotFound` (``SPACE_NOT_FOUND``;
        ``STREAM_NOT_FOUND``, ``USER_NOT_FOUND`` for one that is not there yet by a handle without space),
        `FailedPrecondition` (``SPACE_MISMATCH``; ``NO_TEXT_SPACE`` with ``transcript_features``;
        ``TOO_FAR_AHEAD``, ``TOO_LATE`` for a number far from the epoch's newest), `ResourceExhausted`
        (``DISK_FULL``, ``QUOTA``, ``OVERLOADED``), `Unavailable` (``READ_ONLY``).
        """
        ...

    def write_many(self, clips: Iterable[Clip]) -> list[Ack]:
        """Store clips in as few commits as the limits allow; an acknowledgement for each, in order.

        Raises as `write` the error of the first clip that is refused.  Any of the others may be stored then,
        later ones too; sending them again is harmless.
        """
        ...

    def ingest(self, *, epoch: int = 0, window: int = INGEST_WINDOW) -> IngestWriter:
        """A pipelined writer with at most ``window`` clips in flight (1 to 256), 64 where nothing is said.

        epoch: the run of the agent that numbers the clips; those sent are of it (``EPOCH_MISMATCH``).
        """
        ...

    def set_retention(self, retention: Retention | None) -> None:
        """Say how long the stream keeps what it holds; None: for ever.  What is given up may stay in pages that the
        file freed until they are written over: `User.compact` makes an end of them.

        Raises `NotFound` (``STREAM_NOT_FOUND``).
        """
        ...

    def retention(self) -> Retention:
        """The stream's policy; raises `NotFound` (``STREAM_NOT_FOUND``)."""
        ...

    def erase(self, *, start_ns: Time | None = None, end_ns: Time | None = None) -> ErasureReport:
        """Remove every clip that touches the time range ``[start_ns, end_ns)``, or without one the whole
        stream, with all that tells of it; no byte stays in our files.  Calls on the user wait meanwhile.

        Raises `NotFound` (``STREAM_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``).
        """
        ...

    def ledger(self, *, epoch: int = 0) -> Ledger:
        """What was received of ``epoch``; of a stream or user that does not exist yet, nothing
        (next_seq 0).  Raises `InvalidArgument` (``OUT_OF_RANGE``).
        """
        ...

    def gaps(
        self,
        *,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        limit: int | None = None,
        after: Gap | None = None,
    ) -> list[Gap]:
        """The missing numbers of every epoch, within the time range ``[start_ns, end_ns)``, by epoch and number: all,
        or at most ``limit`` of those behind ``after``, the last of the page before.

        With ``as_of`` all pages are of one moment; without it a gap that was filled in part meanwhile may
        be told again, as what is left of it.  Raises of ``as_of`` as `User.ground`.
        """
        ...


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
        time (or of the first clip) to its end.  Raises as `create`.
        """
        ...

    def watch(self, *, cursor: str | None = None, follow: bool = True) -> Iterator[Alert]:
        """Alerts after ``cursor`` (None: all that there is to tell), oldest commit first; with
        ``follow`` waits for new ones.

        At least once: keep the `Alert.cursor` of the last one that was dealt with, and drop an
        `Alert.id` that was seen before.  Waits, and is ended, as `User.watch`.

        Raises `InvalidArgument` (``BAD_CURSOR``), `NotFound` (``USER_NOT_FOUND``; ``REVISION_NOT_FOUND`` of a cursor
        that is ahead of the user).
        """
        ...


class User(Protocol):
    """A handle on one user; created by its first write."""

    @property
    def id(self) -> str:
        """The user's id."""
        ...

    def revision(self) -> int:
        """The user's newest commit number, from 1.  Raises `NotFound` (``USER_NOT_FOUND``)."""
        ...

    def configure(self, *, text_space: str) -> None:
        """Name the space in which the user's facts, utterances and questions are embedded; creates the
        user.  The same space again is no error.

        Raises `NotFound` (``SPACE_NOT_FOUND``), `FailedPrecondition` (``TEXT_SPACE_SET``: it is another).
        """
        ...

    def text_space(self) -> Space | None:
        """The user's text space, None when not configured.  Raises `NotFound` (``USER_NOT_FOUND``)."""
        ...

    def stream(self, name: str, *, space: str | None = None, codec: str | None = None) -> Stream:
        """A handle on a stream; ``space`` is needed when it does not exist yet.

        codec: how clips written through this handle have their short-term memory coded: ``plain``
        (None: float16 as it is), ``f16`` (without loss, packed), ``int8``, ``int4``, ``delta``
        or ``coarse``, see `memdb.codecs.tensors`.  Kept by the handle, recorded with each clip; a clip that was
        coded before is left as it is.  A clip that is sent again must be coded as it was.

        Raises `InvalidArgument` (``BAD_CODEC``).
        """
        ...

    @property
    def standing(self) -> Standing:
        """The user's standing questions."""
        ...

    def streams(self) -> list[StreamInfo]:
        """The user's streams, by name.  Raises `NotFound` (``USER_NOT_FOUND``)."""
        ...

    def ground(
        self,
        question_feature: VectorLike | None = None,
        *,
        limit: int = 4,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        min_score: float | None = None,
        policy: str = "top",
        question_tokens: RowsLike | None = None,
        rerank: int = 0,
        with_short_memory: bool = False,
        fallback: str = "none",
        space: str | None = None,
        min_revision: int | None = None,
        weighting: str = "idf",
        text: str | None = None,
        text_feature: VectorLike | None = None,
        weights: Mapping[str, float] | None = None,
        explain: bool = False,
        min_relevance: float | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
        labels: WantedLabels | None = None,
        with_coverage: bool = False,
        cursor: str | None = None,
        exact: bool = False,
        with_global_memory: bool = True,
        with_keyframes: bool = True,
    ) -> Grounding:
        """The clips that answer a question.

        question_feature: (dim,) float32 or float16 in the space of the searched streams.  limit: hits at
        most, 1 to 1,000.  streams: names of those to search, at most 1,000; None for all of the space.
        start_ns, end_ns: only clips that overlap ``[start_ns, end_ns)``.  as_of: the moment that the answer is
        of (`AsOf`); None for now.  min_revision: answer only once the user has come so far, as by what was
        written elsewhere.  space: needed only when the user's streams (or the named ones) span several
        spaces; one in which the user has no stream, or had none as of that moment, holds nothing that answers.
        policy: which of the scored clips answer, one of `POLICIES` or ``tokens``.  min_score: only hits
        of at least that `Hit.score`, where they are re-ranked that score before it.  fallback: one of `FALLBACKS`.
        with_short_memory: give each hit's too.

        question_tokens: (n, dim) float32 or float16, at most 65,536.  rerank: N to re-order the N best clips, 0
        to 1,000, by late interaction of the tokens with their short-term memory: the weighted mean, over
        tokens, of the best cosine among the clip's rows, and spans that tell which frames matched.  weighting:
        ``idf``, learned of each stream: what its clips always show weighs nothing, and the N candidates and
        their order are by what stands out of what their stream gives to anything, as whole clips and by late
        interaction; or ``uniform``, late interaction alone.

        ``policy="tokens"`` goes without a question feature: every clip that the filters admit is
        compared by its short-term memory, about 0.1 ms for 64 rows of 384-d, or with ``rerank`` = N the N
        whose global memory is nearest to the tokens' mean direction, which may miss some;
        ``min_score`` is one of late interaction.

        text: the question in words (at most 16,384 characters), with or without ``question_feature``.  Then
        further arms search, under the same filters and at the same revision: what was said, the names of
        sounds, the labels, and the utterances' features.  Scores are then weighted means in [0, 1] of the
        arms', relative to the best of this answer, and so is ``min_score``; only ``policy="top"``.
        text_feature: (dim,) of the words in the user's text space; made by the installed text encoder when
        None, and compared with the clips themselves where there is no ``question_feature`` and they are of the
        text space.  weights: of the arms, by name, instead of `memdb.types.arm.ARM_WEIGHTS`; 0 leaves an arm
        out.  explain: fill `Hit.arms`.

        min_relevance: only hits of at least that `Hit.relevance`, from 0 to 1; where there is none the
        answer abstains and says what it searched (`Grounding.abstained`, `Grounding.coverage`).
        with_coverage: say what was searched in any case.
        with_global_memory, with_keyframes: whether hits have them; who shows texts and times alone leaves both out
        and has a smaller answer sooner (a vector of 1536-d is 6 KB).

        exact: look at every clip.  Without it a question about now (no ``as_of``, ``text`` or
        ``min_relevance``, ``policy="top"``) to a large memory may miss one of the best and says so
        (`Grounding.approximate`); its scores are exact all the same.

        hours, weekdays: only clips with a moment in these hours of the day, (start, end) pairs of
        `datetime.time` or ``"22:00"``, and on these days of the week, 0 (Monday) to 6 or ``"mon"``.  An end
        at or before its start is of the next day, and a stretch belongs to the day on which it begins.
        They are told in the zone of each stream, or of ``zone`` where one is named.

        labels: only clips that have all of these labels, whole and letter by letter: ``{"zone": "porch"}``, or
        one of several values, ``{"zone": ["porch", "drive"]}``, or any other value or none of that key,
        ``{"zone": memdb.Not("porch")}``; at most 64 keys, of 64 values each.  A version of a clip has its own.

        cursor: hits in pages of ``limit``, over gRPC of fewer where those are more than a message, however many
        there are: ``""`` for the first, then the `Grounding.next_cursor` of the page before, until that is None.
        All pages are as of the revision of the first, whatever is written meanwhile, and before and after a
        restart; the question stays the same, but for ``limit``, ``explain`` and what begins with ``with_``.  Only
        ``policy="top"`` and ``"tokens"``.  Raises, of the field ``cursor``, `InvalidArgument` (``BAD_CURSOR``: not
        of this user; ``OTHER_QUESTION``, ``OTHER_MOMENT``), `NotFound` (``REVISION_NOT_FOUND``),
        `FailedPrecondition` (``HISTORY_COLLECTED``; ``CURSOR_GONE`` where words or late interaction ordered
        the hits and the one that ended the page was removed).

        Raises `InvalidArgument` (``QUESTION_REQUIRED`` with neither feature nor text, ``TEXT_REQUIRED``,
        ``BAD_POLICY``, ``BAD_ARM``, ...), `FailedPrecondition` (``NO_TEXT_SPACE``, ``ZONE_UNKNOWN``), `NotFound`
        (``USER_NOT_FOUND``, ``STREAM_NOT_FOUND``, ``SPACE_NOT_FOUND``), of ``as_of`` `NotFound`
        (``REVISION_NOT_FOUND``, ``SNAPSHOT_NOT_FOUND``) and `FailedPrecondition` (``SNAPSHOT_EXPIRED``,
        ``HISTORY_COLLECTED``, ``CLOCK_AHEAD``), of ``min_revision`` `Unavailable` (``BEHIND``), over gRPC
        `ResourceExhausted` (``TOO_MUCH_WORK``: so many tokens with so many clips would take minutes;
        ``MESSAGE_TOO_LARGE``: ask for less of each hit, for fewer, or for pages).
        """
        ...

    def ground_many(
        self,
        question_features: RowsLike,
        *,
        question_tokens: Sequence[RowsLike] | None = None,
        rerank: int = 0,
        **options: Unpack[GroundOptions],
    ) -> list[Grounding]:
        """The answers to several questions, in their order, all of one revision.

        question_features: (questions, dim) float32 or float16, at most 256.  question_tokens: None, or (n, dim)
        for each question.

        Every other option is that of `ground` and holds for all; questions together have no words (``text``,
        ``text_feature``, ``weights``, ``explain``: `TypeError`).  Each answer is what `ground` would give, to the
        last bit.

        Raises as `ground`, naming the question at fault (``question_features[3]``, ``question_tokens[3]``);
        `InvalidArgument` (``TOO_LARGE``, ``EMPTY``).  Over an address what is more than a message goes in parts, of
        one revision all the same.
        """
        ...

    def ground_stream(
        self, question_features: Iterable[VectorLike], **options: Unpack[GroundOptions]
    ) -> Iterator[Grounding]:
        """The answer to each question of an iterable that need not end, in the order of the questions.

        question_features: (dim,) each; of the asyncio client an async iterable serves as well.

        Every option is that of `ground_many` and holds for all; questions of a stream have no tokens.  Each
        answer is what `ground` would give at its revision, which never goes back; those that come close
        together are answered together.  Over an address questions are taken while answers are on their way, some
        hundreds at most, by the sync client in a thread of its own.

        After a question at fault (``question_features[3]``, counted from 0) the answers to those before it
        come, then its error.  A stream that the server or the network ended is not begun again: it raises
        `Unavailable`, and what was not answered is to be asked anew.  Raises otherwise as `ground`, and what the
        iterable raises.
        """
        ...

    def clips(
        self,
        *,
        stream: str | None = None,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        limit: int = 1000,
        after: str | None = None,
        min_revision: int | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
        labels: WantedLabels | None = None,
        with_global_memory: bool = True,
        with_keyframes: bool = True,
        newest_first: bool = False,
    ) -> list[StoredClip]:
        """Clips overlapping the range, by start time; of those in the range the first ``limit`` (1 to 1,000)
        behind ``after``, the `StoredClip.cursor` of the last clip of the page before.  Without their
        short-term memory.

        stream, streams: of one stream, or of several; None for all.  start_ns, end_ns, as_of, min_revision, hours,
        weekdays, zone, labels, with_global_memory, with_keyframes: as in `ground`.  newest_first: by start time
        backwards, so that the last clips come first, and ``after`` goes on to earlier ones.

        The id of that clip serves as ``after`` as well, as long as the clip is not erased: then `NotFound`
        (``CLIP_NOT_FOUND``).  Raises otherwise of stream, time, moment and hours as `ground`.
        """
        ...

    def labels(
        self,
        *,
        key: str | None = None,
        stream: str | None = None,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        limit: int = 1000,
        after: tuple[str, str] | None = None,
    ) -> list[LabelCount]:
        """The labels that clips have, and how many clips have each; sorted by key and value, by code points.

        key: only labels of this key.  stream, streams, start_ns, end_ns, as_of: as in `clips`.  limit: 1 to 1,000.
        after: only those behind this (key, value), the last of the page before, which no clip need have any more.

        Raises of stream, time and moment as `ground`.
        """
        ...

    def count_clips(
        self,
        *,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        min_revision: int | None = None,
        labels: WantedLabels | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
    ) -> int:
        """How many clips there are, open ones included, of every space; no clip is read for it.

        streams, start_ns, end_ns, as_of, min_revision, labels, hours, weekdays, zone: as in `ground`.

        Raises of streams, time, moment and hours as `ground`.
        """
        ...

    def clip(
        self, clip_id: str, *, as_of: AsOf | None = None, with_short_memory: bool = False
    ) -> StoredClip:
        """One clip, in its newest version or in that of ``as_of``.

        with_short_memory: with its (tokens, dim) float16 short-term memory, None where it has none.

        Raises `NotFound` (``CLIP_NOT_FOUND``), `DataLoss` where its bytes are damaged.
        """
        ...

    def get_clips(
        self,
        clip_ids: Sequence[str],
        *,
        as_of: AsOf | None = None,
        with_short_memory: bool = False,
        with_global_memory: bool = True,
        with_keyframes: bool = True,
    ) -> list[StoredClip]:
        """Several clips, each as `clip` gives it, all as of one moment; one for each id, in the order asked.

        clip_ids: at most 1,000.  with_global_memory, with_keyframes: as in `ground`.

        Raises `NotFound` (``CLIP_NOT_FOUND``) naming the id that nothing has (``clip_ids[3]``), `DataLoss` where one
        is damaged.
        """
        ...

    def short_memory(self, clip_ids: Sequence[str], *, as_of: AsOf | None = None) -> list[Array]:
        """The (tokens, dim) float16 short-term memory of each clip, in the order asked.

        clip_ids: at most 1,000.

        Raises `NotFound` (``CLIP_NOT_FOUND``; ``NO_SHORT_MEMORY`` when a clip was written without
        one, or retention gave it up), `DataLoss` where one is damaged.
        """
        ...

    def snapshot(self, name: str, *, ttl_s: float = 600) -> Snapshot:
        """Name and lease the newest revision.  A live snapshot of that name is moved.

        ttl_s: seconds until the lease ends, 0.001 to 30 days.

        Raises `NotFound` (``USER_NOT_FOUND``), `ResourceExhausted` (``QUOTA``: 1,000 are live).
        """
        ...

    def snapshots(self) -> list[Snapshot]:
        """The snapshots whose leases have not ended, by name."""
        ...

    def release(self, name: str) -> None:
        """End a snapshot's lease.  Raises `NotFound` (``SNAPSHOT_NOT_FOUND``)."""
        ...

    def long_term(
        self,
        *,
        stream: str | None = None,
        as_of: AsOf | None = None,
        max_tokens: int = 512,
        space: str | None = None,
    ) -> LongTermMemory:
        """What was seen, in few vectors: of each stream one for every hour (UTC) in which it has sealed clips, or for a
        whole day, oldest first.  Each has the direction of the sum of its clips' global memories, in a space of inner
        products their mean.  They are for a model to read, beside the clips that `ground` finds.

        max_tokens: vectors at most, 1 to 65,536: the newest days are told by hours as far as that leaves room for
        those before them, which are told as days; where days alone are too many, the oldest are left out.
        stream: of one stream; None for all of the space.  as_of: as in `ground`.  space: as in `ground`.

        Raises `NotFound` (``STREAM_NOT_FOUND``, also where the user has none and no space is named), of ``as_of`` and
        ``space`` as `ground`, over gRPC `ResourceExhausted` (``MESSAGE_TOO_LARGE``).
        """
        ...

    def remember(
        self,
        text: str,
        *,
        about: Iterable[str] = (),
        valid_from: Time | None = None,
        valid_to: Time | None = None,
        evidence: Iterable[str] = (),
        key: str | None = None,
        feature: VectorLike | None = None,
    ) -> Fact:
        """Store a fact.  Creates the user.

        text: at most 16,384 characters.  about: the things it speaks of, at most 64 names.  valid_from,
        valid_to: when it holds in the world; None: from now, and until further notice.  evidence: ids of
        at most 256 clips.  key: a name, at most 256 bytes of UTF-8, of which there is one fact: where there is one
        already, this is its next version, with the same id; what this call leaves out (evidence, an end) is not
        taken over from the one before.  feature: (dim,) float32 or float16 of the text in the user's text space;
        made by the installed text encoder when None.

        Raises `NotFound` (``CLIP_NOT_FOUND``), `InvalidArgument` (``TIME_RANGE``, ``DIM_MISMATCH``),
        `FailedPrecondition` (``NO_TEXT_SPACE``).
        """
        ...

    def remember_many(self, statements: Iterable[Statement | str]) -> list[Fact]:
        """Store several facts in one commit, which is much faster than one by one: all of them, or where one is
        refused none.  The facts in the order of the statements.  Creates the user.

        statements: at most 256, of 8 MiB and 8,192 things and clips in all, each as `remember` takes it; a text is one
        without options.  No two of them have one key.

        Raises as `remember`, naming the statement at fault (``statements[3].about``), `InvalidArgument` (``EMPTY``,
        ``TOO_LARGE``, ``AMBIGUOUS``).
        """
        ...

    def revise(
        self,
        fact_id: str,
        *,
        text: str | None = None,
        about: Iterable[str] | None = None,
        valid_from: Time | None = None,
        valid_to: ValidTo | None = None,
        evidence: Iterable[str] | None = None,
        feature: VectorLike | None = None,
    ) -> Fact:
        """Write a new version of a fact; what is None stays.  Options are those of `remember`, but that
        ``valid_to="open"`` takes away the end that the fact has: it holds until further notice again.

        Raises `NotFound` (``FACT_NOT_FOUND``), and as `remember`.
        """
        ...

    def forget(self, fact_id: str) -> None:
        """Remove every version of a fact, from the past too.  No call finds it any more; pages of the file that it
        freed may hold its text until they are written over: `compact` makes an end of them.

        Raises `NotFound` (``FACT_NOT_FOUND``).
        """
        ...

    def fact(
        self, fact_id: str | None = None, *, key: str | None = None, as_of: AsOf | None = None
    ) -> Fact:
        """One fact, in its current version or in the one that was current as of a moment, by its id or by its key,
        whether or not it holds in the world.

        Raises `NotFound` (``FACT_NOT_FOUND``), `InvalidArgument` (``EMPTY``: neither is given; ``AMBIGUOUS``: both
        are).
        """
        ...

    def history(
        self, fact_id: str, *, limit: int | None = None, after: int | None = None
    ) -> list[Fact]:
        """The versions of a fact, oldest first: all, or at most ``limit`` of those after the one of revision
        ``after``, the last of the page before.  Raises `NotFound` (``FACT_NOT_FOUND``).
        """
        ...

    def facts(
        self,
        *,
        about: About | None = None,
        as_of: AsOf | None = None,
        limit: int = 1000,
        after: str | None = None,
        valid_at: ValidAt | None = None,
    ) -> list[Fact]:
        """Current facts in the order they were first written; ``after`` is the id of the last fact of the page
        before, which may have been forgotten since.

        about: only those that are about this thing, or one of these (at most 64), by names as they were given.
        as_of: as in `ground`.  limit: 1 to 1,000.  valid_at: only those that hold in the world then, a time or
        ``"now"``; None, or ``"any"``, for all, those that have ended or are yet to begin too.

        Pages of the newest facts leave none out and tell none twice that is there all the while; with ``as_of`` they
        are of one moment, and with a time for ``valid_at`` about one.  Raises `NotFound` (``FACT_NOT_FOUND``) for an
        ``after`` that is no fact's id, `InvalidArgument` (``BAD_TIME``, ``TIME_RANGE``) of ``valid_at``.
        """
        ...

    def recall(
        self,
        question: str,
        *,
        limit: int = 5,
        as_of: AsOf | None = None,
        feature: VectorLike | None = None,
        min_revision: int | None = None,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        labels: WantedLabels | None = None,
        kinds: Iterable[str] | None = None,
        valid_at: ValidAt | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
        about: About | None = None,
    ) -> Recall:
        """Facts and utterances that answer a question, fused over the lexical and (with a feature)
        semantic arms.

        question: at most 16,384 characters.  limit: hits at most, 1 to 1,000.  feature: (dim,) float32 or
        float16 of the question in the user's text space; made by the installed text encoder when None, and
        without one (as of a client that has no encoder) words alone are compared.

        as_of, min_revision: as in `ground`.  kinds: ``fact``, ``utterance``; None for both.  Every filter acts before
        the search.

        streams, start_ns, end_ns, labels, hours, weekdays, zone: which utterances; only what was said in clips of
        these streams (at most 1,000) and with these labels, and itself overlaps ``[start_ns, end_ns)`` and has a
        moment in these hours and on these days, all as in `ground`.  Facts are not of a stream and stay; leave them
        out by ``kinds=["utterance"]``.

        valid_at: which facts; only those that hold in the world then (`Fact.valid_from_ns`,
        `Fact.valid_to_ns`).  None: at the moment that is asked about, which is now, or with ``as_of`` that time or
        the commit's.  A time asks about another moment, ``"now"`` about now whatever ``as_of``, ``"any"`` for facts
        whatever their validity.  A version of a fact that another has taken the place of is found by ``as_of`` alone.
        about: only those that are about this thing, or one of these, as in `facts`; utterances stay, leave them out by
        ``kinds=["fact"]``.

        Raises `InvalidArgument` (``DIM_MISMATCH``; ``BAD_KIND``; ``NOT_USED`` for a filter of a kind that is left
        out; ``BAD_TIME`` of ``valid_at``; of the other filters as `ground`), `NotFound` (``STREAM_NOT_FOUND``),
        `FailedPrecondition` (``NO_TEXT_SPACE``, ``ZONE_UNKNOWN``), of ``as_of`` and ``min_revision`` as `ground`.
        """
        ...

    def put(self, key: str, value: Any) -> int:
        """Store a JSON value under ``key``; returns the revision.  Creates the user.

        key: at most 256 bytes of UTF-8.  value: what `json` writes, at most 1 MiB of text.

        Raises `InvalidArgument` (``BAD_VALUE``, ``TOO_LARGE``).
        """
        ...

    def get(self, key: str, default: Any = None, *, as_of: AsOf | None = None) -> Any:
        """The value under ``key``, ``default`` where there is none.  Raises of ``as_of`` as `ground`."""
        ...

    def remove(self, key: str) -> int:
        """Remove the value under ``key`` with every version of it, from the past too; returns the revision.

        The key itself stays in the change feed (`Change.key`).  Of the value no call, export or later archive
        has anything any more; pages of the file that it freed may hold it until they are written over: `compact`
        makes an end of them.

        Raises `NotFound` (``VALUE_NOT_FOUND``, ``USER_NOT_FOUND``).
        """
        ...

    def keys(
        self,
        prefix: str = "",
        *,
        limit: int = 1000,
        after: str | None = None,
        as_of: AsOf | None = None,
    ) -> list[str]:
        """Keys that have a value, sorted by code points.  Each call looks at all keys, be there one version or a
        million of each, and checks the values of those that it tells.

        prefix: only those that begin with it.  limit: 1 to 1,000.  after: only those behind this one, the last of
        the page before, which need not be there any more.

        Raises of ``as_of`` as `ground`.
        """
        ...

    def watch(self, *, from_revision: int = 0, follow: bool = True) -> Iterator[Change]:
        """Changes after ``from_revision``, oldest first; with ``follow`` waits for new ones, without it ends
        at the newest.

        What waits for new ones takes a thread.  From another it is ended by the ``close`` of its database, and raises
        `Unavailable` (``CLOSED``); of the asyncio client by cancelling the task.

        Raises `NotFound` (``USER_NOT_FOUND``; ``REVISION_NOT_FOUND`` of one that is ahead of the user).
        """
        ...

    def erase(self) -> ErasureReport:
        """Remove the user and every byte of its memory.

        Raises `NotFound` (``USER_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``), `ResourceExhausted`
        (``DISK_FULL``).
        """
        ...

    def compact(self) -> CompactionReport:
        """Make the user's data file anew of what is left, so that no freed page keeps what was forgotten, removed,
        given up or superseded; and free the room that those pages take.

        Calls on the user wait meanwhile.  Needs free room as large as the file.  Like an erasure it ends one that is
        pending, removes what damage left without an owner, and is finished at the next opening or sweep where a crash
        cuts it short.  Archives and exports made before keep what they have.

        Raises `NotFound` (``USER_NOT_FOUND``), `ResourceExhausted` (``DISK_FULL``).
        """
        ...

    def erase_clips(
        self,
        clip_ids: Sequence[str] | None = None,
        *,
        stream: str | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
    ) -> ErasureReport:
        """Remove the named clips, or those that touch a time range, with all that tells of them.

        clip_ids: at most 1,000.  stream: only those of one stream.  start_ns, end_ns: only those that overlap
        ``[start_ns, end_ns)``; without a name or time nothing is erased.

        Raises `InvalidArgument` (``EMPTY`` when neither is given), `NotFound` (``CLIP_NOT_FOUND``,
        ``STREAM_NOT_FOUND``), `FailedPrecondition` (``LEGAL_HOLD``); nothing is removed then.
        """
        ...


class Database(Protocol):
    """A memdb, in this process or behind an address."""

    def create_space(
        self, name: str, *, dim: int, metric: str = "cosine", model: str = ""
    ) -> Space:
        """Create a space; the same definition again is no error, another raises `AlreadyExists`
        (``SPACE_EXISTS``).

        dim: elements of its vectors, 1 to 8,192.  metric: ``cosine``, or ``dot`` for the plain inner
        product.  model: what makes the vectors, with its hash; free text.
        """
        ...

    def space(self, name: str) -> Space:
        """One space.  Raises `NotFound` (``SPACE_NOT_FOUND``)."""
        ...

    def spaces(self) -> list[Space]:
        """Every space, by name."""
        ...

    def user(self, user_id: str) -> User:
        """A handle on a user, who need not be there yet: nothing is read or written.

        user_id: 1 to 63 of ``A-Z a-z 0-9 _ . -``, a letter or digit first, as of every name of a stream,
        space or snapshot.  Raises `InvalidArgument` (``BAD_ID``).
        """
        ...

    def users(self, *, limit: int | None = None, after: str | None = None) -> list[str]:
        """Ids of users, sorted: all, or at most ``limit`` of those behind the id ``after``, the last of the page
        before, which may have been erased since.  limit: 1 to 1,000.
        """
        ...

    def verify(self) -> Verification:
        """Check every stored value of every user and that the indexes equal the store."""
        ...

    def sweep(self) -> SweepReport:
        """Give up what the policies of all streams say, as the server does by itself.

        A user that cannot be swept keeps nobody else from it: see `SweepReport.unswept`.  Where less than 32 MiB are
        free beyond ``engine.disk_free_bytes_min``, files that hold many freed pages are made anew without them.
        """
        ...

    def backup(
        self, path: str | os.PathLike[str], *, parent: str | os.PathLike[str] | None = None
    ) -> BackupReport:
        """Write the archive ``path`` while writers go on; with ``parent``, an archive in the same
        folder, only what changed since.  Each user is consistent at one revision.

        Over an address ``path`` and ``parent`` are below the server's ``backup_dir``, on its
        machine.

        Raises `AlreadyExists` (``PATH_EXISTS``), `InvalidArgument` (``BAD_PATH``,
        ``PARENT_ELSEWHERE``), `NotFound` (``NOT_AN_ARCHIVE``), `FailedPrecondition`
        (``BACKUP_RUNNING``, ``BACKUP_DISABLED``, ``NO_DIRECTORY``, ``WRONG_DATABASE``,
        ``FORMAT_NEWER``), `ResourceExhausted` (``DISK_FULL``).
        """
        ...

    def close(self) -> None:
        """End; calls after it raise `Unavailable` (``CLOSED``).  Leaving the context does it too."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...
