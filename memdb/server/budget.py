"""Bytes of requests and answers that the server holds at once, for all its calls together.

Of ``bytes_max``, one half is for calls with one request: one that does not fit is refused
(``OVERLOADED``).  Streams stop reading when theirs reach the other half, and go on user by user, a
message each, so that none starves the others; what is not read is felt by the client as HTTP/2 flow
control.

How much a read will bring is known only when it has.  So each takes in advance what the one before it brought, the
first of a stream `READ_BYTES`; a read that brings nothing for `READ_IDLE_S` gives them back, since most streams are
silent most of the time.  Should very many silent streams speak at once, or more than they did before, what they bring
is let in up to ``bytes_max``, and a stream beyond it ends as UNAVAILABLE, to be resumed by its client.

Answers that wait to be read may have as many bytes again as one half.  One that does not fit is refused
(``OVERLOADED``), and a stream ends as UNAVAILABLE: to wait would be to wait for whoever does not read.

Of each of the three one user takes no more than `memdb.server.shares` lets it.

A stream whose answers are not read holds what it was asked, for ever perhaps: everybody who waits for those bytes
would wait as long.  So while somebody waits, for `LOOK_S` or longer, a stream that has not been able to send for
`UNREAD_S` is ended, the one that has tried longest first.  While nobody does, everybody may read as slowly as they
like.

Lives on one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final

from memdb.errors import ResourceExhausted, Unavailable
from memdb.eventlog import event_log
from memdb.server.shares import Shares

CALL_BYTES_FREE: Final = 64 * 1024
"""Requests and answers up to this size are not counted: questions do not wait for writes, and
``calls_max`` bounds them."""
READ_BYTES: Final = 2 * 1024 * 1024
"""What a read is expected to bring at most."""
READ_BYTES_LEAST: Final = 64 * 1024
READ_IDLE_S: Final = 0.1
UNREAD_S: Final = 5.0
"""So long an answer may wait for its reader although others wait for what its stream holds."""
LOOK_S: Final = 1.0
"""How often, while streams wait, one that is not read is looked for; who waits for less ends none."""

_FIELD: Final = "server.bytes_in_flight_max"

_FREE: Final = nullcontext()

log = event_log("memdb.server")


class _Turn:
    """One that waits for room for a read."""

    __slots__ = ("come", "size")

    def __init__(self, come: asyncio.Future[None], size: int) -> None:
        self.come = come
        self.size = size


class Budget:
    """The bytes of one server."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        half = bytes_max // 2
        self._calls = Shares(half)
        self._answers = Shares(half)
        self._reads = Shares(half)
        """Of streams: what they hold, and what they are expected to bring."""
        self._streams = 0
        """Of these, what they hold."""
        self._waiting: dict[str, deque[_Turn]] = {}  # the first owner is whose turn it is
        self._expecting: dict[StreamBytes, float] = {}  # since when, the oldest first
        self._idle: asyncio.TimerHandle | None = None
        """Of the oldest of them; one for all, since a message comes more often than it ends."""
        self._unsent: dict[StreamBytes, float] = {}  # since when, the oldest first
        self._look: asyncio.TimerHandle | None = None
        self._first: set[_Turn] = set()
        """Of each owner that waited at the last look, the turn that had waited longest."""

    @property
    def used(self) -> int:
        """Bytes of requests held now."""
        return self._calls.total + self._streams

    @property
    def answers(self) -> int:
        """Bytes of answers that wait to be read."""
        return self._answers.total

    def call(self, size: int, owner: str = "") -> AbstractContextManager[None]:
        """Hold a request for the length of a call; to enter it raises `ResourceExhausted` (``OVERLOADED``)."""
        return _FREE if size <= CALL_BYTES_FREE else self._counted_call(size, owner)

    @contextmanager
    def _counted_call(self, size: int, owner: str) -> Iterator[None]:
        if not self._calls.fits(owner, size):
            raise ResourceExhausted(
                "too many bytes of requests are in flight",
                reason="OVERLOADED",
                field=_FIELD,
                value=self._calls.total + size,
            )
        self._calls.take(owner, size)
        try:
            yield
        finally:
            self._calls.give(owner, size)

    def hold_answer(
        self,
        size: int,
        family: type[ResourceExhausted | Unavailable] = ResourceExhausted,
        owner: str = "",
    ) -> None:
        """Count an answer until `release_answer`; raises ``family`` (``OVERLOADED``)."""
        if size <= CALL_BYTES_FREE:
            return
        if not self._answers.fits(owner, size):
            raise family(
                "too many bytes of answers wait to be read",
                reason="OVERLOADED",
                field=_FIELD,
                value=self._answers.total + size,
            )
        self._answers.take(owner, size)

    def release_answer(self, size: int, owner: str = "") -> None:
        """An answer was sent, or its caller left."""
        if size > CALL_BYTES_FREE:
            self._answers.give(owner, size)

    @contextmanager
    def stream(self) -> Iterator[StreamBytes]:
        """What one stream holds; all of it is given back at the end."""
        held = StreamBytes(self)
        try:
            yield held
        finally:
            held.close()

    # -- for `StreamBytes`

    async def expect(self, owner: str = "", size: int = READ_BYTES) -> None:
        """Wait for room for a read of so many bytes, and take it."""
        if owner not in self._waiting and self._fits(owner, size):
            self._reads.take(owner, size)
            return
        turn = _Turn(asyncio.get_running_loop().create_future(), size)
        self._waiting.setdefault(owner, deque()).append(turn)
        self._look_soon()
        try:
            await turn.come
        except asyncio.CancelledError:
            if turn.come.done() and not turn.come.cancelled():
                self.expect_no_more(owner, size)
            else:
                self._leave(owner, turn)
            raise

    def expect_no_more(self, owner: str = "", size: int = READ_BYTES) -> None:
        """The read of an `expect` has brought something, or has not for long."""
        self._reads.give(owner, size)
        self._admit()

    def expects(self, stream: StreamBytes) -> None:
        """The stream begins to read."""
        loop = asyncio.get_running_loop()
        self._expecting[stream] = loop.time()
        if self._idle is None:
            self._idle = loop.call_later(READ_IDLE_S, self._look_for_idle)

    def has_read(self, stream: StreamBytes) -> None:
        """It has, or is not waited for any more."""
        self._expecting.pop(stream, None)

    def _look_for_idle(self) -> None:
        """Have streams that have expected something for long expect nothing."""
        self._idle = None
        loop = asyncio.get_running_loop()
        old_s = loop.time() - READ_IDLE_S
        while self._expecting:
            stream, since_s = next(iter(self._expecting.items()))
            if since_s > old_s:
                self._idle = loop.call_at(since_s + READ_IDLE_S, self._look_for_idle)
                return
            stream.expect_no_more()

    def hold(self, size: int, owner: str = "", expected: int = 0) -> None:
        """Count a message that came; raises `Unavailable` (``OVERLOADED``).

        expected: what an `expect` has taken for it, given back in any case.
        """
        if self.used + size > self._bytes_max:
            if expected:
                self.expect_no_more(owner, expected)
            raise Unavailable(
                "too many bytes of requests are in flight",
                reason="OVERLOADED",
                field=_FIELD,
                value=self.used + size,
            )
        self._streams += size
        # At once: in between, others might be let in on the strength of what is given back.  Of a stream nearly every
        # message is as large as the one before it: then nobody fits who did not.
        more = size - expected
        if more > 0:
            self._reads.take(owner, more)
        elif more < 0:
            self.expect_no_more(owner, -more)

    def release(self, size: int, owner: str = "") -> None:
        """Messages were done with."""
        self._streams -= size
        self._reads.give(owner, size)
        self._admit()

    def sends(self, stream: StreamBytes) -> None:
        """The stream begins to send."""
        self._unsent[stream] = asyncio.get_running_loop().time()

    def sent(self, stream: StreamBytes) -> None:
        """It has, or has given up."""
        self._unsent.pop(stream, None)

    def _fits(self, owner: str, size: int = READ_BYTES) -> bool:
        return self._reads.total == 0 or self._reads.fits(owner, size)

    def _admit(self) -> None:
        passed_over = 0
        while passed_over < len(self._waiting):
            owner, turns = next(iter(self._waiting.items()))
            if not self._fits("", turns[0].size):
                break
            del self._waiting[owner]
            fits = self._fits(owner, turns[0].size)
            if fits:
                turn = turns.popleft()
                if not turn.come.done():
                    self._reads.take(owner, turn.size)
                    turn.come.set_result(None)
            passed_over = 0 if fits else passed_over + 1
            if turns:
                self._waiting[owner] = turns  # behind all others

    def _leave(self, owner: str, turn: _Turn) -> None:
        turns = self._waiting.get(owner)
        if turns is not None and turn in turns:  # or `_admit` has passed over it already
            turns.remove(turn)
            if not turns:
                del self._waiting[owner]
            self._admit()  # it may have been the one that did not fit

    def _look_soon(self) -> None:
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(LOOK_S, self._look_for_unread)

    def _look_for_unread(self) -> None:
        """End the stream that has held bytes longest of those that are not read, while others wait for bytes."""
        self._look = None
        # Of many streams somebody waits at any time, and goes on in a moment.
        stuck = {owner for owner, turns in self._waiting.items() if turns[0] in self._first}
        self._first = {turns[0] for turns in self._waiting.values()}
        if not self._waiting:
            return
        old_s = asyncio.get_running_loop().time() - UNREAD_S
        # Where there is, who waits has its share, and waits for its own alone.
        has_room = all(self._fits("", self._waiting[owner][0].size) for owner in stuck)
        for stream, since_s in self._unsent.items():
            if since_s > old_s:
                break
            is_wanted = stream.owner in stuck or (stuck and not has_room)
            if is_wanted and stream.size and not stream.is_cut_off:
                log.warning(
                    "a stream that is not read was ended, since others wait",
                    extra={"fields": {"user": stream.owner, "bytes": stream.size}},
                )
                stream.cut_off()
                # Those that wait go on before another is ended, if it was enough for them.
                break
        self._look_soon()


class StreamBytes:
    """What one stream holds of a budget."""

    def __init__(self, budget: Budget) -> None:
        self.owner = ""
        """The user that it is of; known once it has begun, and not changed while it holds anything."""
        self._budget = budget
        self._held = 0
        self._usual = READ_BYTES
        """What a message of it is expected to have."""
        self._expected = 0
        """What it has taken for the message that it expects."""
        self._sending: asyncio.Task[Any] | None = None
        self.is_cut_off = False
        """Whether it was ended since its answers are not read."""

    @property
    def size(self) -> int:
        """Bytes of its messages."""
        return self._held

    async def expect(self) -> None:
        """Wait until this stream may read its next message."""
        await self._budget.expect(self.owner, self._usual)
        self._expected = self._usual
        self._budget.expects(self)

    def hold(self, size: int) -> None:
        """Count a message that was read; raises `Unavailable` (``OVERLOADED``)."""
        self._usual = min(max(size, READ_BYTES_LEAST), READ_BYTES)
        expected, self._expected = self._expected, 0
        if expected:
            self._budget.has_read(self)
        self._budget.hold(size, self.owner, expected)
        self._held += size

    def release(self, size: int) -> None:
        """Count messages no more."""
        self._held -= size
        self._budget.release(size, self.owner)

    def leave(self, size: int) -> Callable[[], None]:
        """Messages that stay when the stream has ended; what counts them no more."""
        self._held -= size
        return partial(self._budget.release, size, self.owner)

    def sender(
        self, send: Callable[[bytes], Awaitable[None]]
    ) -> Callable[[bytes], Awaitable[None]]:
        """``send``, which raises `Unavailable` (``OVERLOADED``) where it takes too long for those who wait."""

        async def sending(data: bytes) -> None:
            self._sending = asyncio.current_task()
            self._budget.sends(self)
            try:
                await send(data)
            except asyncio.CancelledError:
                # Unless the caller has left as well.
                if self.is_cut_off and self._sending and not self._sending.uncancel():
                    raise Unavailable(
                        "the answers are not read, and others wait for what the stream holds",
                        reason="OVERLOADED",
                        field=_FIELD,
                        value=self._held,
                    ) from None
                raise
            finally:
                self._budget.sent(self)

        return sending

    def cut_off(self) -> None:
        """End it, which is sending."""
        self.is_cut_off = True
        if self._sending is not None:
            self._sending.cancel()

    def close(self) -> None:
        """Give everything back."""
        self.expect_no_more()
        self.release(self._held)

    def expect_no_more(self) -> None:
        """The message that it expects has come, or will not for long."""
        if self._expected:
            self._budget.has_read(self)
            expected, self._expected = self._expected, 0
            self._budget.expect_no_more(self.owner, expected)
