"""What really differs between the sync client and the asyncio client; `_acompat` has the same
names for asyncio.

Written by hand, as a pair: a change here wants the same change there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from typing import ParamSpec, TypeAlias, TypeVar

import grpc

from memdb.news import News
from memdb.types.checks import check_iterable
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import grounding_service_pb2 as grounding_pb
from memdb_client._forks import check_fork
from memdb_client._options import CHANNEL_OPTIONS, Target

_P = ParamSpec("_P")
_T = TypeVar("_T")

Channel = grpc.Channel
Task = threading.Thread
Lock = threading.RLock
Answers: TypeAlias = Generator[_T, None, None]
Values: TypeAlias = Iterable[_T]
"""What a caller gives one by one."""

CANCELLED: tuple[type[BaseException], ...] = (ValueError,)
"""What a call raises that was made on a closed channel; one that was cancelled raises the
`grpc.RpcError` of its status.
"""

INTERRUPTED: tuple[type[BaseException], ...] = (BaseException,)
"""What a signal raises wherever the main thread is, within gRPC as well: Ctrl-C, a stop, and of an alarm whatever its
handler likes.
"""


class Home:
    """The process that a channel belongs to."""

    def __init__(self) -> None:
        check_fork()

    def check(self) -> None:
        """Raise `FailedPrecondition` (``FORKED``) where no call can be made."""
        check_fork()


def is_cancelling() -> bool:
    """Whether somebody asked this thread to end: never."""
    return False


def open_channel(target: Target) -> Channel:
    """A channel to ``target``; it connects with the first call."""
    if target.credentials is None:
        return grpc.insecure_channel(target.address, options=CHANNEL_OPTIONS)
    return grpc.secure_channel(target.address, target.credentials, options=CHANNEL_OPTIONS)


def ingest_call(
    channel: Channel, answered: Callable[[bytes], clip_pb.IngestClipsResponse | Exception]
) -> grpc.StreamStreamMultiCallable[bytes, clip_pb.IngestClipsResponse | Exception]:
    """`ClipService.IngestClips` for requests that are serialised already, of which ``answered`` takes the answers."""
    return channel.stream_stream(
        "/memdb.v1.ClipService/IngestClips", response_deserializer=answered
    )


def ground_call(
    channel: Channel,
) -> grpc.UnaryUnaryMultiCallable[bytes, grounding_pb.GroundResponse]:
    """`GroundingService.Ground`, likewise."""
    return channel.unary_unary(
        "/memdb.v1.GroundingService/Ground",
        response_deserializer=grounding_pb.GroundResponse.FromString,
    )


def close_channel(channel: Channel) -> None:
    """Close; calls in flight are cancelled."""
    channel.close()


def sleep(seconds: float) -> None:
    """Wait without stopping anything else."""
    time.sleep(seconds)


def each(values: Values[_T]) -> Answers[_T]:
    """What an iterable gives; raises `InvalidArgument` (``BAD_TYPE``) for what is none."""
    yield from check_iterable(values, "question_features")


def run_blocking(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run what computes for long; here there is nothing else to stop."""
    return function(*args, **kwargs)


def spawn(function: Callable[[], None], name: str) -> Task:
    """Run ``function`` in the background."""
    thread = threading.Thread(target=function, name=name, daemon=True)
    thread.start()
    return thread


def join(task: Task) -> None:
    """Wait until a background task has ended."""
    task.join()


class Condition(News):
    """A lock, which several may share, and the news that what it guards has changed."""

    def __init__(self, lock: Lock | None = None) -> None:
        super().__init__(Lock() if lock is None else lock)

    def at_once(self) -> AbstractContextManager[object]:
        """For who does not wait within."""
        return self
