"""A question to ground: what was asked, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from memdb.engine.ground_window import Window
from memdb.engine.hydrate import Parts
from memdb.errors import InvalidArgument
from memdb.types.arguments import (
    checked_feature,
    checked_min_relevance,
    checked_min_score,
    checked_streams,
    checked_times,
)
from memdb.types.arrays import Array, RowsLike, VectorLike, as_tokens, as_vector
from memdb.types.calendar import Calendar, HourOfDay, Weekday, checked_calendar
from memdb.types.checks import check_choice, check_flag, check_int
from memdb.types.grounding import FALLBACKS, POLICIES, TOKENS_POLICY, WEIGHTINGS
from memdb.types.ids import check_id
from memdb.types.label_filter import LabelFilter, WantedLabels, checked_labels
from memdb.types.limits import LIMIT_MAX
from memdb.types.space import Space
from memdb.types.times import Time
from memdb.types.word_question import WordQuestion, checked_word_question

# Compared by identity: what is equal and something else goes the long way.
_TOP: Final = "top"
_IDF: Final = "idf"
_NO_FALLBACK: Final = "none"
_NONE: Final = 0


@dataclass(slots=True, eq=False)
class Question:
    """A checked request to ground; nobody changes it (frozen it would take three times as long to make)."""

    feature: Array | None
    """None under `TOKENS_POLICY`, and where there are words alone."""
    limit: int
    streams: tuple[str, ...] | None
    start_ns: int | None
    end_ns: int | None
    min_score: float | None
    policy: str
    tokens: Array | None
    weighting: str
    rerank: int
    parts: Parts
    """What clips of the answer come with."""
    fallback: str
    space: str | None
    answer_bytes_max: int | None
    rerank_work_max: int | None
    words: WordQuestion | None
    explain: bool
    min_relevance: float | None
    calendar: Calendar | None
    labels: LabelFilter
    with_coverage: bool
    exact: bool
    """Asked for, or as of a moment."""
    window: Window | None = None
    """Of a page; None: the first ``limit`` hits."""
    named_space: Space | None = None
    """The database's space of the name ``space``, None where there is none."""

    @property
    def reach(self) -> int:
        """How many of the best are to be found."""
        if self.window is None:
            return max(self.limit, self.rerank)
        # Candidates that cannot be read are in no page, so as many more may be behind them.
        return self.window.reach + self.rerank

    @property
    def needs_whole(self) -> bool:
        """Whether rows and coverage alone do not answer it: `memdb.engine.users.Users.use`."""
        return self.words is not None or bool(self.labels)

    @property
    def may_fall_back(self) -> bool:
        """Whether an answer without hits is given the newest clip: not where a page before had some."""
        return self.fallback == "recent" and (self.window is None or self.window.is_first)

    @property
    def by_standing_out(self) -> bool:
        """Whether candidates, and their order, are what stands out of their cameras, in a space of cosines."""
        return self.policy == "top" and self.rerank > 0 and self.weighting == "idf"

    @property
    def fits_one_go(self) -> bool:
        """Whether nothing but the best of some streams and times is asked for (`memdb.engine.one_go`)."""
        return (
            self.policy == "top"
            and self.words is None
            and self.tokens is None
            and self.calendar is None
            and self.window is None
            and self.min_score is None
            and self.min_relevance is None
            and not self.labels
            and not self.explain
            and not self.with_coverage
            and not self.parts.short_memory
        )

    @property
    def may_be_approximate(self) -> bool:
        """Whether rows that are not quite the best may answer it: nothing but their order by score is asked
        for.  What compares scores of several arms or streams wants all of them.
        """
        return (
            self.policy == "top"
            and not self.exact
            and self.words is None
            and self.min_relevance is None
        )


def checked_question(
    feature: VectorLike | None,
    *,
    limit: int,
    streams: Sequence[str] | None,
    start_ns: Time | None,
    end_ns: Time | None,
    min_score: float | None,
    policy: str,
    question_tokens: RowsLike | None,
    rerank: int,
    with_short_memory: bool,
    raw_short_memory: bool,
    fallback: str,
    space: str | None,
    answer_bytes_max: int | None = None,
    rerank_work_max: int | None = None,
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
    exact: bool = False,
    with_global_memory: bool = True,
    with_keyframes: bool = True,
) -> Question:
    """The request as a `Question`; raises `InvalidArgument` naming the field."""
    if (
        type(feature) is np.ndarray
        and policy is _TOP
        and weighting is _IDF
        and fallback is _NO_FALLBACK
        and rerank is _NONE
        and text is None
        and text_feature is None
        and weights is None
        and question_tokens is None
        and min_score is None
        and min_relevance is None
        and hours is None
        and weekdays is None
        and zone is None
        and labels is None
        and explain is False
        and with_coverage is False
    ):
        # As most are: what nobody gave needs no look.
        return _bare_question(
            as_vector(feature, "question_feature"),
            checked_times(start_ns, end_ns),
            check_int(limit, "limit", 1, LIMIT_MAX),
            None if streams is None else checked_streams(streams),
            Parts(
                check_flag(with_global_memory, "with_global_memory"),
                check_flag(with_keyframes, "with_keyframes"),
                check_flag(with_short_memory, "with_short_memory"),
                raw_short_memory,
            ),
            None if space is None else check_id(space, "space"),
            answer_bytes_max,
            rerank_work_max,
            check_flag(exact, "exact"),
        )
    check_choice(policy, (*POLICIES, TOKENS_POLICY), "policy", "BAD_POLICY")
    check_choice(weighting, WEIGHTINGS, "weighting", "BAD_WEIGHTING")
    check_choice(fallback, FALLBACKS, "fallback", "BAD_FALLBACK")
    words = checked_word_question(text, text_feature, weights, policy, feature)
    tokens = None if question_tokens is None else as_tokens(question_tokens, "question_tokens")
    rerank = check_int(rerank, "rerank", 0, LIMIT_MAX)
    if rerank and tokens is None:
        raise InvalidArgument(
            "rerank needs question_tokens", reason="TOKENS_REQUIRED", field="rerank", value=rerank
        )
    if tokens is not None and not rerank and policy != TOKENS_POLICY:
        raise InvalidArgument(
            "tokens re-order candidates: say how many with rerank, or ask by them alone with policy='tokens'",
            reason="NOT_USED",
            field="question_tokens",
            value=tokens.shape,
        )
    if feature is not None or words is None:
        feature = checked_feature(feature, policy, tokens)
    start, end = checked_times(start_ns, end_ns)
    return Question(
        feature,
        check_int(limit, "limit", 1, LIMIT_MAX),
        checked_streams(streams),
        start,
        end,
        checked_min_score(min_score),
        policy,
        tokens,
        weighting,
        rerank,
        Parts(
            global_memory=check_flag(with_global_memory, "with_global_memory"),
            keyframes=check_flag(with_keyframes, "with_keyframes"),
            short_memory=check_flag(with_short_memory, "with_short_memory"),
            raw=raw_short_memory,
        ),
        fallback,
        None if space is None else check_id(space, "space"),
        answer_bytes_max,
        rerank_work_max,
        words,
        check_flag(explain, "explain"),
        checked_min_relevance(min_relevance, text, policy),
        checked_calendar(hours, weekdays, zone),
        checked_labels(labels),
        check_flag(with_coverage, "with_coverage"),
        check_flag(exact, "exact"),
    )


def _bare_question(
    feature: Array,
    times: tuple[int | None, int | None],
    limit: int,
    streams: tuple[str, ...] | None,
    parts: Parts,
    space: str | None,
    answer_bytes_max: int | None,
    rerank_work_max: int | None,
    exact: bool,
) -> Question:
    """A question that has nothing beside."""
    return Question(
        feature,
        limit,
        streams,
        times[0],
        times[1],
        None,
        _TOP,
        None,
        _IDF,
        _NONE,
        parts,
        _NO_FALLBACK,
        space,
        answer_bytes_max,
        rerank_work_max,
        None,
        False,
        None,
        None,
        (),
        False,
        exact,
    )
