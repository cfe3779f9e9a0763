"""How a method of a service is written, which decides how it runs.

::

    def get_clip(self, request) -> response                  in the read pool, its user open
    def ground_at_once(self, request) -> response | None     on the loop; None: `ground`, in its pool
    @read_by(f) def ground(self, request) -> response        given what ``f`` reads out of the bytes
    @commits def write_clips(self, request) -> response      in the write pool, its user open
    @whole def verify(self, request) -> response             in the pool of what goes through everything
    @closed_user ...                                         whether or not its user is open
    @early ...                                               as soon as its user answers questions
    def list_clips(self, request) -> Iterator[response]      in the read pool, message by message
    async def check(self, request) -> response               on the loop (must not block)
    async def watch_user(self, request, send) -> None        on the loop, a stream of answers
    async def ground_stream(self, receive, send) -> None     on the loop, streams both ways
    @reads_clips async def ingest_clips(...)                 the same, of messages that the edge may have read
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from memdb.server.executors import Pool, Pools
from memdb.server.requests import owner_tag, read_as

if TYPE_CHECKING:
    import memdb_edge

Receive = Callable[[], Awaitable[bytes | None]]
"""The next message of the client as bytes, None after the last."""
ReceiveClips: TypeAlias = "Callable[[], Awaitable[bytes | memdb_edge.PlainClips | None]]"
"""The same where the edge may have read it."""
Send = Callable[[bytes], Awaitable[None]]
"""Sends one message; returns when gRPC took it, which is where a slow reader is felt."""

_F = TypeVar("_F", bound=Callable[..., Any])


def commits(method: _F) -> _F:
    """Marks a service method that writes: it runs in the write pool."""
    method.__dict__["commits"] = True
    return method


def whole(method: _F) -> _F:
    """Marks a service method that goes through everything there is: it has a pool of its own."""
    method.__dict__["whole"] = True
    return method


def closed_user(method: _F) -> _F:
    """Marks a service method that need not find its user open: it is not opened beforehand."""
    method.__dict__["closed_user"] = True
    return method


def read_by(read: Callable[[bytes, str], Any]) -> Callable[[_F], _F]:
    """Marks a service method that takes something else than a message: see `Method.read`."""

    def mark(method: _F) -> _F:
        method.__dict__["read_by"] = read
        return method

    return mark


def reads_clips(method: _F) -> _F:
    """Marks a service method whose stream brings clips: it gets a `ReceiveClips`."""
    method.__dict__["reads_clips"] = True
    return method


def early(method: _F) -> _F:
    """Marks a service method that may ask a user early (`memdb.server.openings`)."""
    method.__dict__["early"] = True
    return method


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service, as it is called.  A response may be a message, or the bytes of one."""

    name: str
    """With its service: ``memdb.v1.ClipService/GetClip``."""
    kind: type[Message]
    """Of its requests."""
    read: Callable[[bytes, str], Any]
    """A request out of its bytes, with a ``user`` where the method has one; given whose call it is, as far as the first
    field tells.
    """
    function: Callable[..., Any]
    at_once: Callable[[Any], Message | bytes | None] | None
    """Its answer where that takes no waiting."""
    pool: Pool
    opens: bool
    """Whether its user is to be open."""
    early: bool
    """Whether it may be open early."""
    owner_tag: int | None
    """What begins the user's id in a request, None where there is none."""
    on_loop: bool
    """Whether it is a coroutine."""
    reads_clips: bool
    """Whether its stream brings clips."""

    @classmethod
    def of(cls, descriptor: MethodDescriptor, implementation: object, pools: Pools) -> Self:
        """That of an object that has it under its name: ``WriteClips`` as ``write_clips``."""
        name = _snake(descriptor.name)
        function = getattr(implementation, name)
        pool = pools.read
        if hasattr(function, "whole"):
            pool = pools.whole
        elif hasattr(function, "commits"):
            pool = pools.write
        kind = GetMessageClass(descriptor.input_type)
        return cls(
            f"{descriptor.containing_service.full_name}/{descriptor.name}",
            kind,
            getattr(function, "read_by", None) or read_as(kind),
            function,
            getattr(implementation, f"{name}_at_once", None),
            pool,
            "user" in descriptor.input_type.fields_by_name and not hasattr(function, "closed_user"),
            hasattr(function, "early"),
            owner_tag(descriptor),
            iscoroutinefunction(function),
            hasattr(function, "reads_clips"),
        )


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")
