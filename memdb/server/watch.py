"""One WatchUser stream: the change feed of a user, from a revision on.

Pages of the stored log until its end; then, when following, sleep until the user's next commit.
Nothing is buffered for a watcher: one that reads slowly is sent to slowly, and reads the log.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from memdb.engine.user import EmbeddedUser
from memdb.engine.watched_changes import WatchedChanges
from memdb.server.methods import Send
from memdb.server.resources import Resources
from memdb.v1 import user_service_pb2 as pb
from memdb.wire.users import change_to_proto

PAGE_CHANGES: Final = 64
PAGE_BYTES: Final = 4 * 1024 * 1024
"""A page ends with the commit that reaches either.  So much a watcher who reads no further makes the
server hold."""
CHUNK_BYTES_MAX: Final = 3 * 1024 * 1024
"""Changes of one message, below the 4 MiB that a client accepts by default."""
RECHECK_S: Final = 5.0
"""An idle watcher looks again this often: a user that was erased wakes nobody."""


async def watch(resources: Resources, request: pb.WatchUserRequest, send: Send) -> None:
    """Send the changes after ``from_revision``; with ``follow``, until the client goes.

    Raises `NotFound` (also when the user is erased meanwhile, made anew or not), `Unavailable` (``SHUTTING_DOWN``).
    """
    pools, drain = resources.pools, resources.drain
    user = resources.database.user(request.user)
    time_ns = request.revision_time_ns if request.HasField("revision_time_ns") else None
    watched = user.watched_changes(request.from_revision, time_ns)
    wake = asyncio.Event()
    subscription = Subscription()
    try:
        if request.follow:
            await pools.read.of(user.id).run_in_turn(subscription.begin, user, waker(wake))
        with drain.waking(wake):
            while True:
                drain.check()
                wake.clear()
                # It is open already, unless nobody follows it or it broke.
                await resources.openings.wait(request.user)
                messages = await pools.read.of(user.id).run_in_turn(_page, watched)
                for message in messages:
                    await send(message)
                if messages:
                    continue
                if not request.follow:
                    return
                drain.check()
                await _wait(wake)
    finally:
        # On a thread: the last one to leave a user may have to close it.
        asyncio.get_running_loop().run_in_executor(None, subscription.end)


class Subscription:
    """A subscription that ends although its watcher may leave while it is being made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = False
        self._unsubscribe: Callable[[], None] | None = None

    def begin(self, user: EmbeddedUser, callback: Callable[[int], None]) -> None:
        """Subscribe, unless it has ended; may block."""
        with self._lock:
            if not self._ended:
                self._unsubscribe = user.subscribe(callback)

    def end(self) -> None:
        """Unsubscribe; may block."""
        with self._lock:
            self._ended = True
            if self._unsubscribe is not None:
                self._unsubscribe()


def waker(wake: asyncio.Event) -> Callable[[int], None]:
    """A callback for a thread of the engine that sets an event of this loop."""
    loop = asyncio.get_running_loop()

    def callback(_revision: int) -> None:
        # A closed loop has nobody waiting, and the commit is done all the same.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(wake.set)

    return callback


async def _wait(wake: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(RECHECK_S):
            await wake.wait()
    except TimeoutError:
        pass  # look again


def _page(watched: WatchedChanges) -> list[bytes]:
    """The next changes as messages."""
    changes = watched.page(limit=PAGE_CHANGES, page_bytes=PAGE_BYTES)
    messages: list[bytes] = []
    chunk, size = pb.WatchUserResponse(), 0
    for change in changes:
        message = change_to_proto(change)
        bytes_of_change = message.ByteSize()
        if chunk.changes and size + bytes_of_change > CHUNK_BYTES_MAX:
            messages.append(chunk.SerializeToString(deterministic=True))
            chunk, size = pb.WatchUserResponse(), 0
        chunk.changes.append(message)
        size += bytes_of_change
    if chunk.changes:
        messages.append(chunk.SerializeToString(deterministic=True))
    return messages
