"""`memdb.types.database.user_grounding.UserGrounding` behind an address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Unpack

from memdb.errors import ResourceExhausted
from memdb.types.arrays import RowsLike, VectorLike
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.checks import check_int
from memdb.types.fact import LongTermMemory
from memdb.types.ground_options import GroundOptions
from memdb.types.grounding import AsOf, Grounding
from memdb.types.ids import check_id
from memdb.types.label_filter import WantedLabels
from memdb.types.limits import TOKENS_MAX
from memdb.types.times import Time
from memdb.types.word_question import wants_text_feature
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb.v1 import memory_service_pb2 as memory_pb
from memdb.wire.facts import long_term_from_proto
from memdb.wire.grounding import grounding_from_proto, is_light
from memdb.wire.groundings import ground_many_request, groundings_from_proto, halves, stream_start
from memdb.wire.moments import as_of_to_proto
from memdb.wire.question import ground_bytes
from memdb_client import _acompat as compat
from memdb_client._answers import one_each
from memdb_client._async_questions import AsyncQuestions
from memdb_client._async_user_text import AsyncUserText


class AsyncUserGrounding(AsyncUserText):
    """Questions to the user's clips, and long-term memory."""

    async def ground(
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
        """The clips that answer a question: `memdb.types.database.User.ground` tells every
        option.
        """
        if wants_text_feature(text, question_feature, weights):
            text_feature = await self._feature(text, "text", text_feature)
        request = ground_bytes(
            self._id,
            question_feature,
            limit=limit,
            streams=streams,
            start_ns=start_ns,
            end_ns=end_ns,
            as_of=as_of,
            min_score=min_score,
            policy=policy,
            question_tokens=question_tokens,
            rerank=rerank,
            with_short_memory=with_short_memory,
            fallback=fallback,
            space=space,
            min_revision=min_revision,
            weighting=weighting,
            text=text,
            text_feature=text_feature,
            weights=weights,
            explain=explain,
            min_relevance=min_relevance,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
            labels=labels,
            with_coverage=with_coverage,
            cursor=cursor,
            exact=exact,
            with_global_memory=with_global_memory,
            with_keyframes=with_keyframes,
        )
        answer = await self._rpc.call(self._rpc.ground, request)
        return grounding_from_proto(
            answer,
            tells=explain or question_tokens is not None,
            light=not (with_global_memory or with_keyframes or with_short_memory),
        )

    async def ground_many(
        self,
        question_features: RowsLike,
        *,
        question_tokens: Sequence[RowsLike] | None = None,
        rerank: int = 0,
        **options: Unpack[GroundOptions],
    ) -> list[Grounding]:
        """The answers to several questions, in their order, all of one revision:
        `memdb.types.database.User.ground_many`.
        """
        request = ground_many_request(
            self._id,
            question_features,
            question_tokens=question_tokens,
            rerank=rerank,
            **options,
        )
        return await self._ground_many(request)

    async def _ground_many(self, request: grounding_pb.GroundManyRequest) -> list[Grounding]:
        """The answers, in parts of one revision where they, or the questions, are more than a message."""
        try:
            answer = await self._rpc.call(self._rpc.groundings.GroundMany, request)
        except ResourceExhausted as error:
            parts = halves(request) if error.reason == "MESSAGE_TOO_LARGE" else None
            if parts is None:
                raise
        else:
            found = groundings_from_proto(
                answer, tells=bool(request.question_tokens), light=is_light(request.options)
            )
            return list(one_each(found, request.question_features.rows))
        first, second = parts
        earlier = await self._ground_many(first)
        second.options.as_of.revision = earlier[0].revision
        return earlier + await self._ground_many(second)

    async def ground_stream(
        self, question_features: compat.Values[VectorLike], **options: Unpack[GroundOptions]
    ) -> compat.Answers[Grounding]:
        """The answer to each question of an iterable that need not end, in the order of the questions:
        `memdb.types.database.User.ground_stream`.

        No deadline ends it, nor does the client's ``timeout_s``: whoever waits no longer closes the iterator.
        """
        questions = AsyncQuestions(stream_start(self._id, **options), question_features)
        try:
            async with aclosing(
                self._rpc.converse(lambda on: on.groundings.GroundStream, questions.requests())
            ) as answers:
                async for answer in answers:
                    for grounding in await questions.answered(answer):
                        yield grounding
        finally:
            await questions.close()
        questions.ended()

    async def long_term(
        self,
        *,
        stream: str | None = None,
        as_of: AsOf | None = None,
        max_tokens: int = 512,
        space: str | None = None,
    ) -> LongTermMemory:
        """Hour and day vectors of the sealed clips, oldest first, at most ``max_tokens``."""
        answer = await self._rpc.call(
            self._rpc.memories.GetLongTermMemory,
            memory_pb.GetLongTermMemoryRequest(
                user=self._id,
                stream=None if stream is None else check_id(stream, "stream"),
                as_of=as_of_to_proto(as_of),
                max_tokens=check_int(max_tokens, "max_tokens", 1, TOKENS_MAX),
                space=None if space is None else check_id(space, "space"),
            ),
        )
        return long_term_from_proto(answer)
