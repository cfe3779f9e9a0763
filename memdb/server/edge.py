"""What stands between the server and the wire: takes calls as bytes, hands them to handlers, sends what they answer.

There are two: `memdb.server.grpc_edge` is gRPC's own asyncio server, which is always there, and
`memdb.server.native_edge` the same protocol and the same options in C++, where its distribution is installed.  A
call looks alike from both: the part of `grpc.aio.ServicerContext` that is used here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn, Protocol, runtime_checkable

from memdb.wire.codes import StatusCode

Metadata = Iterable[tuple[str, str | bytes]]


class CallerLeft(Exception):
    """A message could not be sent: its caller is not there any more."""


class Context(Protocol):
    """One call, on the event loop."""

    def invocation_metadata(self) -> Metadata | None:
        """What the caller sent ahead."""

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """What is sent behind the last message."""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Called on the loop once gRPC has done with the call, which is not when it is answered."""

    def time_remaining(self) -> float | None:
        """Seconds until its deadline, None where it has none."""

    async def abort(
        self, code: StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """End the call; raises what no handler may catch."""

    async def read(self) -> object:
        """The next message, as bytes or what the edge made of them; None after the last."""

    async def write(self, message: bytes) -> None:
        """Send a message; returns when gRPC took it.  Raises `CallerLeft`."""


class SendsAhead(Protocol):
    """Sends a message of a call; that its caller has left is said by `Context.write`, and where there is no memory
    nothing is sent."""

    def __call__(self, message: bytes, /) -> None:
        """Send it."""

    def together(self, messages: Sequence[tuple[Any, bytes]], /) -> None:
        """Send a message by each of several such, of which this is one: with less ado than one by one."""


@runtime_checkable
class SendsFromThreads(Protocol):
    """A `Context` whose messages other threads may send; Python's edge has none."""

    def ahead(self) -> SendsAhead | None:
        """What sends the next message at once, for one call of any thread, or None where another is on its way.

        The message is to be `Context.write`n all the same, as the next one, which then only waits until gRPC took it.
        """


class Lent(Protocol):
    """The next message of a stream, for a thread."""

    def wait(self) -> Any:
        """Wait for it; on the thread.  `memdb_edge.PlainClips` with one clip, or None where no such comes to it."""

    def take_back(self) -> bool:
        """Nobody is to wait for it; False where the thread has a message, or had."""

    def over(self, given_back: Any) -> None:
        """What came to the thread is over, so that others come; given_back: a message that is to be read after all."""


@runtime_checkable
class LendsReads(Protocol):
    """A `Context` whose messages threads may wait for; Python's edge has none."""

    def lend(self) -> Lent | None:
        """What the reader is waiting for, for a thread: one small message with a plain clip.  Anything else comes to
        the reader.  None where it waits for nothing."""


class Kind(Enum):
    """What goes each way."""

    UNARY = "unary"
    """One request, one answer."""
    ANSWERS = "answers"
    """One request, a stream of answers."""
    BOTH_WAYS = "both ways"


@dataclass(frozen=True, slots=True)
class Handler:
    """What answers a method."""

    name: str
    """With its service: ``memdb.v1.ClipService/GetClip``."""
    kind: Kind
    behaviour: Callable[[Any, Any], Awaitable[bytes | None]]
    """Of the request (None where there is a stream of them) and the call; gives the one answer, or nothing."""
    clips: bool = False
    """Whether messages of its stream may come read, as `memdb_edge.PlainClips`, in the place of bytes."""


Option = tuple[str, int]
"""A channel argument of gRPC."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What TLS is served with, as PEM."""

    key: bytes
    chain: bytes


class Edge(Protocol):
    """Serves handlers at one address; lives on one event loop."""

    name: str
    """``native`` or ``python``."""

    def bind(self, address: str, certificate: Certificate | None) -> int:
        """Bind; returns the port that was taken.  Raises `RuntimeError` where gRPC could not, and does not say why."""

    async def start(self) -> None:
        """Take calls."""

    async def stop(self, grace_s: float) -> None:
        """Take no new calls, let those that run end within the time, cancel the others."""
