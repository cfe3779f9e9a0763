"""What a handle on a user finds: the clips that answer a question, and long-term memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, Unpack

from memdb.types.arrays import RowsLike, VectorLike
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.fact import LongTermMemory
from memdb.types.ground_options import GroundOptions
from memdb.types.grounding import AsOf, Grounding
from memdb.types.label_filter import WantedLabels
from memdb.types.times import Time


class UserGrounding(Protocol):
    """Questions to a user's clips, and what was seen in few vectors."""

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
        start_ns, end_ns: only clips that overlap ``[start_ns, end_ns)``, not an empty range.  as_of: the moment
        that the answer is of (`AsOf`); None for now.  min_revision: answer only once the user has come so far,
        as by what was written elsewhere.  space: needed only when the user's streams (or the named ones) span
        several spaces; one in which the user has no stream, or had none as of that moment, holds nothing that
        answers.  Of streams that are named one at least is in it.
        policy: which of the scored clips answer, one of `POLICIES` or ``tokens``.  min_score: only hits
        of at least that `Hit.score`, where they are re-ranked that score before it.  fallback: one of `FALLBACKS`.
        with_short_memory: give each hit's too.

        question_tokens: (n, dim) float32 or float16, at most 65,536.  rerank: N to re-order the N best clips, 0
        to 1,000, by late interaction of the tokens with their short-term memory: the weighted mean, over
        tokens, of the best cosine among the clip's rows, and spans that tell which frames matched.  weighting:
        ``idf``, learned of each stream: what its clips always show weighs nothing, and the N candidates and
        their order are by what stands out of what their stream gives to anything, as whole clips and by late
        interaction; or ``uniform``, late interaction alone.  Candidates that have no short-term memory, as when
        retention gave it up, come behind all others unless ``text`` is given.

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
        answer abstains and says what it searched (`Grounding.abstained`, `Grounding.coverage`).  It is of the
        question feature, so not for ``text`` or ``policy="tokens"`` (``NOT_USED``).
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
        ``BAD_POLICY``, ``BAD_ARM``, ...), `FailedPrecondition` (``NO_TEXT_SPACE``, ``ZONE_UNKNOWN``,
        ``SPACE_MISMATCH``), `NotFound` (``USER_NOT_FOUND``, ``STREAM_NOT_FOUND``, ``SPACE_NOT_FOUND``), of
        ``as_of`` `NotFound` (``REVISION_NOT_FOUND``, ``SNAPSHOT_NOT_FOUND``) and `FailedPrecondition`
        (``SNAPSHOT_EXPIRED``, ``HISTORY_COLLECTED``, ``CLOCK_AHEAD``), of ``min_revision`` `Unavailable`
        (``BEHIND``), over gRPC `ResourceExhausted` (``TOO_MUCH_WORK``: so many tokens with so many clips would take
        minutes; ``MESSAGE_TOO_LARGE``: ask for less of each hit, for fewer, or for pages).
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

        Every other option is that of `ground` and holds for all; questions together have no words and no pages
        (``text``, ``text_feature``, ``weights``, ``explain``, ``cursor``: `TypeError`), nor the policy ``tokens``
        (``TOKENS_REQUIRED``).  Each answer is what `ground` would give, to the
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
        `Unavailable`, and what was not answered is to be asked anew.  No deadline ends one, also over an address
        (``timeout_s`` is not for it): whoever waits no longer closes the iterator.  It is of one life of the user:
        where that is erased meanwhile, made anew or not, it ends with `NotFound` (``USER_NOT_FOUND``).  Raises
        otherwise as `ground`, and what the iterable raises.
        """
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
