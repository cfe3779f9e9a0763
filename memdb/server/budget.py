"""Bytes of requests and answers that the server holds at once, for all its calls together.

Of ``bytes_max``, one half is for calls with one request: one that does not fit is refused
(``OVERLOADED``).  Streams stop reading when theirs reach the other half, and go on user by user, a
message each, so that none starves the others; what is not read is felt by the client as HTTP/2 flow
control.

How much a read will bring is known only when it has.  So each takes `READ_BYTES` in advance; a read
that brings nothing for `READ_IDLE_S` gives them back, since most streams are silent most of the
time.  Should very many silent streams speak at once, what they bring is let in up to ``bytes_max``,
and a stream beyond it ends as UNAVAILABLE, to be resumed by its client.

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
from typing import Any, Final

from memdb.errors import ResourceExhausted, Unavailable
from memdb.eventlog import event_log
from memdb.server.shares import Shares

CALL_BYTES_FREE: Final = 64 * 1024
"""Requests and answers up to this size are not counted: questions do not wait for writes, and
``calls_max`` bounds them."""
READ_BYTES: Final = 2 * 1024 * 1024
"""What a stream is expected to bring at most; our own client sends messages of this size."""
READ_IDLE_S: Final = 0.1
CLOCK_S: Final = 0.001
"""How much earlier than it was told a loop may call."""
UNREAD_S: Final = 5.0
"""So long an answer may wait for its reader although others wait for what its stream holds."""
LOOK_S: Final = 1.0
"""How often, while streams wait, one that is not read is looked for; who waits for less ends none."""

_FIELD: Final = "server.bytes_in_flight_max"

_FREE: Final = nullcontext()

log = event_log("memdb.server")


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
        self._waiting: dict[
            str, deque[asyncio.Future[None]]
        ] = {}  # the first owner is whose turn it is
        self._unsent: dict[StreamBytes, float] = {}  # since when, the oldest first
        self._look: asyncio.TimerHandle | None = None
        self._first: set[asyncio.Future[None]] = set()
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

    async def expect(self, owner: str = "") -> None:
        """Wait for room for a read, and take it."""
        if owner not in self._waiting and self._fits(owner):
            self._reads.take(owner, READ_BYTES)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        self._look_soon()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.expect_no_more(owner)
            else:
                self._leave(owner, turn)
            raise

    def expect_no_more(self, owner: str = "") -> None:
        """The read of an `expect` has brought something, or has not for long."""
        self._reads.give(owner, READ_BYTES)
        self._admit()

    def hold(self, size: int, owner: str = "") -> None:
        """Count a message that came; raises `Unavailable` (``OVERLOADED``)."""
        if self.used + size > self._bytes_max:
            raise Unavailable(
                "too many bytes of requests are in flight",
                reason="OVERLOADED",
                field=_FIELD,
                value=self.used + size,
            )
        self._streams += size
        self._reads.take(owner, size)

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

    def _fits(self, owner: str) -> bool:
        return self._reads.total == 0 or self._reads.fits(owner, READ_BYTES)

    def _admit(self) -> None:
        passed_over = 0
        while passed_over < len(self._waiting) and self._fits(""):
            owner, turns = next(iter(self._waiting.items()))
            del self._waiting[owner]
            fits = self._fits(owner)
            if fits:
                turn = turns.popleft()
                if not turn.done():
                    self._reads.take(owner, READ_BYTES)
                    turn.set_result(None)
            passed_over = 0 if fits else passed_over + 1
            if turns:
                self._waiting[owner] = turns  # behind all others

    def _leave(self, owner: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(owner)
        if turns is not None and turn in turns:  # or `_admit` has passed over it already
            turns.remove(turn)
            if not turns:
                del self._waiting[owner]

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
        has_room = self._fits("")  # so that who waits has its share, and waits for its own alone
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
        self._expected_s: float | None = None
        """When what was expected is given back, should nothing have come."""
        self._idle: asyncio.TimerHandle | None = None
        """Looks at that, now and then: one for each message would cost more than all else here."""
        self._sending: asyncio.Task[Any] | None = None
        self.is_cut_off = False
        """Whether it was ended since its answers are not read."""

    @property
    def size(self) -> int:
        """Bytes of its messages."""
        return self._held

    async def expect(self) -> None:
        """Wait until this stream may read its next message."""
        await self._budget.expect(self.owner)
        loop = asyncio.get_running_loop()
        self._expected_s = loop.time() + READ_IDLE_S
        if self._idle is None:
            self._idle = loop.call_at(self._expected_s, self._look_for_idle, loop)

    def hold(self, size: int) -> None:
        """Count a message that was read; raises `Unavailable` (``OVERLOADED``)."""
        # First the one, then the other: in between, others might be let in on the strength of it.
        try:
            self._budget.hold(size, self.owner)
            self._held += size
        finally:
            self._expect_no_more()

    def release(self, size: int) -> None:
        """Count messages no more."""
        self._held -= size
        self._budget.release(size, self.owner)

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
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._expect_no_more()
        self.release(self._held)

    def _look_for_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        until_s, self._idle = self._expected_s, None
        if until_s is None:
            return
        if loop.time() < until_s - CLOCK_S:
            self._idle = loop.call_at(until_s, self._look_for_idle, loop)
        else:
            self._expect_no_more()

    def _expect_no_more(self) -> None:
        if self._expected_s is not None:
            self._expected_s = None
            self._budget.expect_no_more(self.owner)
