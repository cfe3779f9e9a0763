"""What really differs between the asyncio client and its sync twin; `_compat` has the same names
for threads.

Written by hand, as a pair: a change here wants the same change there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ParamSpec, Self, TypeAlias, TypeVar

import grpc
import grpc.aio

from memdb.errors import FailedPrecondition
from memdb.types.checks import check_iterable
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb_client._forks import check_fork
from memdb_client._options import CHANNEL_OPTIONS, Target

_P = ParamSpec("_P")
_T = TypeVar("_T")

Channel = grpc.aio.Channel
Task = asyncio.Task[None]
Lock = object
"""None: on an event loop nobody else runs between two awaits, and within the block of a `Condition` only `wait` is
awaited."""
Answers: TypeAlias = AsyncGenerator[_T, None]
Values: TypeAlias = Iterable[_T] | AsyncIterable[_T]
"""What a caller gives one by one."""

CANCELLED: tuple[type[BaseException], ...] = (asyncio.CancelledError, grpc.aio.UsageError)
"""What a call raises that was cancelled (the same as when the task that awaits it was), or that was
made on a closed channel.
"""

INTERRUPTED: tuple[type[BaseException], ...] = ()
"""Nothing: an event loop is interrupted between two steps of its tasks, or ends."""


class Home:
    """The event loop that a channel belongs to."""

    def __init__(self) -> None:
        check_fork()
        self._loop = asyncio.get_running_loop()

    def check(self) -> None:
        """Raise `FailedPrecondition` (``OTHER_LOOP``, ``FORKED``) where no call can be made."""
        check_fork()
        if asyncio.get_running_loop() is not self._loop:
            raise FailedPrecondition(
                "the database belongs to another event loop: connect in this one as well",
                reason="OTHER_LOOP",
            )


def is_cancelling() -> bool:
    """Whether somebody asked this very task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def open_channel(target: Target) -> Channel:
    """A channel to ``target``; it connects with the first call."""
    if target.credentials is None:
        return grpc.aio.insecure_channel(target.address, options=CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(target.address, target.credentials, options=CHANNEL_OPTIONS)


def ingest_call(
    channel: Channel, answered: Callable[[bytes], clip_pb.IngestClipsResponse | Exception]
) -> grpc.aio.StreamStreamMultiCallable[bytes, clip_pb.IngestClipsResponse | Exception]:
    """`ClipService.IngestClips` for requests that are serialised already, of which ``answered`` takes the answers."""
    return channel.stream_stream(
        "/memdb.v1.ClipService/IngestClips", response_deserializer=answered
    )


def ground_call(
    channel: Channel,
) -> grpc.aio.UnaryUnaryMultiCallable[bytes, grounding_pb.GroundResponse]:
    """`GroundingService.Ground`, likewise."""
    return channel.unary_unary(
        "/memdb.v1.GroundingService/Ground",
        response_deserializer=grounding_pb.GroundResponse.FromString,
    )


async def close_channel(channel: Channel) -> None:
    """Close; calls in flight are cancelled."""
    await channel.close()


async def sleep(seconds: float) -> None:
    """Wait without stopping anything else."""
    await asyncio.sleep(seconds)


async def each(values: Values[_T]) -> Answers[_T]:
    """What an iterable of either kind gives; raises `InvalidArgument` (``BAD_TYPE``) for what is none."""
    if isinstance(values, AsyncIterable):
        async for value in values:
            yield value
    else:
        for value in check_iterable(values, "question_features"):
            yield value


async def run_blocking(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run what computes for long where it stops nothing else."""
    return await asyncio.to_thread(function, *args, **kwargs)


def spawn(function: Callable[[], Coroutine[Any, Any, None]], name: str) -> Task:
    """Run ``function`` in the background."""
    return asyncio.create_task(function(), name=name)


async def join(task: Task) -> None:
    """Wait until a background task has ended."""
    await task


class Condition:
    """What threads need a lock for, which several may share, and the news that what it guards has changed."""

    def __init__(self, lock: Lock | None = None) -> None:
        self._waiting: list[asyncio.Future[bool]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def at_once(self) -> AbstractContextManager[object]:
        """For who does not wait within."""
        return nullcontext()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for `notify_all`; False when ``timeout_s`` passed first."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(woken)
        timer = None if timeout_s is None else loop.call_later(timeout_s, _give_up, woken)
        try:
            return await woken
        finally:
            if timer is not None:
                timer.cancel()
            if woken in self._waiting:
                self._waiting.remove(woken)

    def notify_all(self) -> None:
        """Wake everyone who waits."""
        waiting, self._waiting = self._waiting, []
        for woken in waiting:
            if not woken.done():
                woken.set_result(True)


def _give_up(woken: asyncio.Future[bool]) -> None:
    if not woken.done():
        woken.set_result(False)
