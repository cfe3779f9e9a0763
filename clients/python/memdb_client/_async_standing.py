"""The standing questions of one user behind an address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing

from memdb.errors import Unavailable
from memdb.types.arguments import checked_reference
from memdb.types.arrays import VectorLike
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.checks import check_flag
from memdb.types.grounding import AsOf
from memdb.types.handle import Handle
from memdb.types.label_filter import WantedLabels
from memdb.types.standing import (
    Alert,
    Backtest,
    StandingQuestion,
    checked_cursor,
    checked_name,
    checked_standing,
)
from memdb.types.times import Time
from memdb.v1 import standing_service_pb2 as standing_pb
from memdb.wire.standing import (
    BACKTEST_LIMIT_DEFAULT,
    alert_from_proto,
    backtest_from_proto,
    backtest_request,
    question_from_proto,
    spec_to_proto,
)
from memdb_client import _acompat as compat
from memdb_client._async_rpc import AsyncRpc
from memdb_client._options import Repeat
from memdb_client._outage import Outage


class AsyncStanding(Handle):
    """Standing questions of a user; as `memdb.types.database.Standing`."""

    def __init__(self, rpc: AsyncRpc, user_id: str) -> None:
        self._rpc = rpc
        self._user = user_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._user}>"

    async def create(
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
        """Ask a question of every clip to come: `memdb.types.database.Standing.create` tells every
        option.
        """
        spec = checked_standing(
            question_feature,
            min_score=min_score,
            min_relevance=min_relevance,
            kind=kind,
            then_feature=then_feature,
            window_s=window_s,
            streams=streams,
            space=space,
            sealed_only=sealed_only,
            text=text,
            labels=labels,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
        )
        answer = await self._rpc.call(
            self._rpc.standing.CreateStanding,
            standing_pb.CreateStandingRequest(
                user=self._user, spec=spec_to_proto(spec), name=checked_name(name)
            ),
            repeat=Repeat.UNSENT if name is None else Repeat.ALWAYS,
        )
        return question_from_proto(answer.question)

    async def list(self) -> list[StandingQuestion]:
        """Every standing question of the user, oldest first."""
        answers = await self._rpc.collect(
            self._rpc.standing.ListStanding, standing_pb.ListStandingRequest(user=self._user)
        )
        return [question_from_proto(one) for answer in answers for one in answer.questions]

    async def get(self, question_id: str) -> StandingQuestion:
        """One question; raises `NotFound` (``STANDING_NOT_FOUND``)."""
        answer = await self._rpc.call(
            self._rpc.standing.GetStanding,
            standing_pb.GetStandingRequest(
                user=self._user, question_id=checked_reference(question_id, "question_id")
            ),
        )
        return question_from_proto(answer.question)

    async def remove(self, question_id: str) -> None:
        """Ask it no more; raises `NotFound` (``STANDING_NOT_FOUND``)."""
        await self._rpc.call(
            self._rpc.standing.RemoveStanding,
            standing_pb.RemoveStandingRequest(
                user=self._user, question_id=checked_reference(question_id, "question_id")
            ),
            repeat=Repeat.UNSENT,
        )

    async def backtest(
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
        limit: int = BACKTEST_LIMIT_DEFAULT,
        labels: WantedLabels | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
    ) -> Backtest:
        """What a question would have told of what is stored: `memdb.types.database.Standing.backtest`
        tells every option.
        """
        spec = checked_standing(
            question_feature,
            min_score=min_score,
            min_relevance=min_relevance,
            kind=kind,
            then_feature=then_feature,
            window_s=window_s,
            streams=streams,
            space=space,
            sealed_only=sealed_only,
            text="",
            labels=labels,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
        )
        request = backtest_request(
            self._user,
            spec,
            start_ns=start_ns,
            end_ns=end_ns,
            as_of=as_of,
            thresholds=thresholds,
            limit=limit,
        )
        return backtest_from_proto(
            await self._rpc.call(self._rpc.standing.BacktestStanding, request)
        )

    async def watch(
        self, *, cursor: str | None = None, follow: bool = True
    ) -> compat.Answers[Alert]:
        """Alerts after ``cursor``, oldest first; with ``follow`` waits for new ones.

        When the server goes away it goes on where it stopped, and raises `Unavailable` when nobody
        answered for the client's ``timeout_s``.  Ends (and lets its call go) when the iterator is
        closed.
        """
        request = standing_pb.WatchStandingRequest(
            user=self._user, cursor=checked_cursor(cursor), follow=check_flag(follow, "follow")
        )
        outage = Outage(self._rpc.timeout_s)
        while True:
            outage.calls()
            try:
                async with aclosing(
                    self._rpc.stream(lambda on: on.standing.WatchStanding, request)
                ) as answers:
                    async for answer in answers:
                        for message in answer.alerts:
                            # Of each, since the call may end while the caller works on it.
                            request.cursor = message.cursor
                            yield alert_from_proto(message)
                        if answer.cursor:
                            request.cursor = answer.cursor
                        outage.is_over()
                return
            except Unavailable as error:
                pause_s = outage.pause_s(error)
                if pause_s is None or not self._rpc.may_repeat(error, "", Repeat.ALWAYS):
                    raise
                await compat.sleep(pause_s)
