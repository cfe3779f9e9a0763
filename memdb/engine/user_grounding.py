"""`memdb.types.database.user_grounding.UserGrounding` of an embedded user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Unpack

from memdb.engine.at_once import check_brief
from memdb.engine.ground_page import ground_page
from memdb.engine.ground_stream import answers
from memdb.engine.grounding import ground
from memdb.engine.long_term import long_term, nothing_remembered
from memdb.engine.memory import UserMemory
from memdb.engine.one_life import OneLife
from memdb.engine.question import checked_question
from memdb.engine.reading import WouldWait
from memdb.engine.together import ground_together
from memdb.engine.user_text import EmbeddedUserText
from memdb.engine.view import View
from memdb.errors import NotFound
from memdb.types import limits
from memdb.types.arguments import checked_as_of, checked_cursor, checked_revision
from memdb.types.arrays import RowsLike, VectorLike
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.checks import check_int
from memdb.types.database.user_grounding import UserGrounding
from memdb.types.documented import documented_by
from memdb.types.fact import LongTermMemory
from memdb.types.ground_options import (
    GroundOptions,
    all_options,
    checked_features,
    checked_rerank,
    checked_tokens,
)
from memdb.types.grounding import AsOf, Grounding
from memdb.types.ids import check_id
from memdb.types.label_filter import WantedLabels
from memdb.types.times import Time

_LONG_TERM_TRIES: Final = 10
"""Views that are tried for one that the pyramid is not past."""


@documented_by(UserGrounding)
class EmbeddedUserGrounding(EmbeddedUserText):
    """Questions to the user's clips, and long-term memory."""

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
        raw_short_memory: bool = False,
        answer_bytes_max: int | None = None,
        rerank_work_max: int | None = None,
        at_once: bool = False,
    ) -> Grounding:
        question = checked_question(
            question_feature,
            limit=limit,
            streams=streams,
            start_ns=start_ns,
            end_ns=end_ns,
            min_score=min_score,
            policy=policy,
            question_tokens=question_tokens,
            weighting=weighting,
            rerank=rerank,
            with_short_memory=with_short_memory,
            raw_short_memory=raw_short_memory,
            answer_bytes_max=answer_bytes_max,
            rerank_work_max=rerank_work_max,
            fallback=fallback,
            space=space,
            text=text,
            text_feature=self._text_feature(text, text_feature, question_feature, weights),
            weights=weights,
            explain=explain,
            min_relevance=min_relevance,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
            labels=labels,
            with_coverage=with_coverage,
            exact=exact,
            with_global_memory=with_global_memory,
            with_keyframes=with_keyframes,
        )
        if question.space is not None:  # to replace costs as much as a twentieth of a question
            question = replace(question, named_space=self.find_space(question.space))
        as_of, min_revision = checked_as_of(as_of), checked_revision(min_revision)
        cursor = checked_cursor(cursor)
        if as_of is not None or cursor is not None:
            # Also as of the newest revision: asked again once there are more, it is the same; and pages are of
            # one order.
            question = replace(question, exact=True)
        if at_once:
            if as_of is not None or cursor is not None or min_revision is not None:
                raise WouldWait

            def grounded_at_once(memory: UserMemory) -> Grounding:
                answer = memory.read(lambda view: ground(None, view, question, None))
                check_brief(answer)
                return answer

            return self._users.call_at_once(self._id, grounded_at_once)

        def asked(memory: UserMemory) -> Grounding:
            def grounded(view: View) -> Grounding:
                revision: int | None = None
                if as_of is not None or min_revision is not None:
                    revision = memory.resolve(view, as_of, min_revision)
                if cursor is not None:
                    shown = view.revision if revision is None else revision  # 0 is a moment as well
                    named = None if as_of is None else shown
                    resolve = partial(memory.resolve, view)
                    return ground_page(memory.environment, view, question, cursor, named, resolve)
                return ground(memory.environment, view, question, revision)

            return memory.read(grounded)

        # A moment may be the name of a snapshot.
        whole = question.needs_whole or as_of is not None or cursor is not None
        return self._users.call(self._id, asked, whole=whole)

    def ground_many(
        self,
        question_features: RowsLike,
        *,
        question_tokens: Sequence[RowsLike] | None = None,
        rerank: int = 0,
        raw_short_memory: bool = False,
        answer_bytes_max: int | None = None,
        rerank_work_max: int | None = None,
        life: OneLife | None = None,
        **options: Unpack[GroundOptions],
    ) -> list[Grounding]:
        chosen = all_options(options)
        as_of = checked_as_of(chosen.pop("as_of"))
        min_revision = checked_revision(chosen.pop("min_revision"))
        features = checked_features(question_features)
        tokens = checked_tokens(question_tokens, len(features))
        first = checked_question(
            features[0],
            question_tokens=None,
            rerank=0,
            raw_short_memory=raw_short_memory,
            answer_bytes_max=answer_bytes_max,
            rerank_work_max=None if rerank_work_max is None else rerank_work_max // len(features),
            **chosen,
        )
        first = replace(
            first,
            rerank=checked_rerank(rerank, has_tokens=tokens is not None),
            exact=first.exact or as_of is not None,
            named_space=self.find_space(first.space),
        )
        questions = [
            replace(first, feature=feature, tokens=tokens[place] if tokens else None)
            for place, feature in enumerate(features)
        ]
        whole = first.needs_whole or as_of is not None
        with self._users.use(self._id, whole=whole) as memory:

            def grounded(view: View) -> list[Grounding]:
                if life is not None:
                    life.check(view.state.id_key)
                revision = memory.resolve(view, as_of, min_revision)
                return list(ground_together(memory.environment, view, questions, revision))

            return memory.read(grounded)

    def ground_stream(
        self, question_features: Iterable[VectorLike], **options: Unpack[GroundOptions]
    ) -> Iterator[Grounding]:
        chosen = all_options(options)
        ask = partial(self.ground_many, life=OneLife(self._id), **chosen)
        yield from answers(question_features, ask)

    def long_term(
        self,
        *,
        stream: str | None = None,
        as_of: AsOf | None = None,
        max_tokens: int = 512,
        space: str | None = None,
        answer_bytes_max: int | None = None,
    ) -> LongTermMemory:
        max_tokens = check_int(max_tokens, "max_tokens", 1, limits.TOKENS_MAX)
        streams = None if stream is None else (check_id(stream, "stream"),)
        space = None if space is None else check_id(space, "space")
        named = self.find_space(space)
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:
            tried: list[int] = []

            def remembered(view: View) -> LongTermMemory:
                may_sum = view.revision in tried or len(tried) >= _LONG_TERM_TRIES
                tried.append(view.revision)
                revision = memory.resolve(view, as_of)
                stream_nos = view.stream_nos(streams, revision, "stream")
                space_no = view.searched_space(stream_nos, space, revision, named)
                if space_no is None and named is not None:
                    return nothing_remembered(
                        named, view.revision if revision is None else revision
                    )
                if space_no is None:
                    raise NotFound(
                        "the user has no stream", reason="STREAM_NOT_FOUND", field="stream"
                    )
                return long_term(
                    view,
                    stream_nos,
                    space_no,
                    revision,
                    max_tokens,
                    answer_bytes_max,
                    may_sum=may_sum,
                )

            return memory.read(remembered)
