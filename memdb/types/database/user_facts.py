"""What a handle on a user does with facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from memdb.types.arrays import VectorLike
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.fact import About, Fact, Recall, Statement
from memdb.types.grounding import AsOf
from memdb.types.label_filter import WantedLabels
from memdb.types.times import Time
from memdb.types.validity import ValidAt, ValidTo


class UserFacts(Protocol):
    """A user's facts: written, read, and found with what was said."""

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
        already, this is its next version, with the same id; what this call leaves out (evidence, an end) is not taken
        over from the one before.  That one is found by ``as_of`` and in `history` from then on, and by no ``valid_at``:
        what is to be found by the time in which it was so is a fact of its own, without the key, whose end `revise`
        says when there is a next one.  Names and keys are compared code point by code point, so that one with its
        accents beside its letters is another one (``unicodedata.normalize("NFC", name)`` makes them alike).
        feature: (dim,) float32 or float16 of the text in the user's text space; made by the installed text encoder
        when None.

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
        ``"now"``; None, or ``"any"``, for all, those that have ended or are yet to begin too.  It is of current
        versions: one that another has taken the place of is found by ``as_of`` alone.

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
