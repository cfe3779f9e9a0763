"""Bytes of requests and answers that the server holds at once, for all its calls together.

Of ``bytes_max``, one half is for calls with one request: one that does not fit is refused
(``OVERLOADED``).  Streams stop reading when theirs reach the other half, and go on in the order in
which they stopped, a message each, so that none starves the others; what is not read is felt by the
client as HTTP/2 flow control.

How much a read will bring is known only when it has.  So each takes `READ_BYTES` in advance; a read
that brings nothing for `READ_IDLE_S` gives them back, since most streams are silent most of the
time.  Should very many silent streams speak at once, what they bring is let in up to ``bytes_max``,
and a stream beyond it ends as UNAVAILABLE, to be resumed by its client.

Answers that wait to be read may have as many bytes again as one half.  One that does not fit is refused
(``OVERLOADED``), and a stream ends as UNAVAILABLE: to wait would be to wait for whoever does not read.

Lives on one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from memdb.errors import ResourceExhausted, Unavailable

CALL_BYTES_FREE: Final = 64 * 1024
"""Requests and answers up to this size are not counted: questions do not wait for writes, and
``calls_max`` bounds them."""
READ_BYTES: Final = 2 * 1024 * 1024
"""What a stream is expected to bring at most; our own client sends messages of this size."""
READ_IDLE_S: Final = 0.1

_FIELD: Final = "server.bytes_in_flight_max"


class Budget:
    """The bytes of one server."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._half = bytes_max // 2
        self._calls = 0
        self._streams = 0
        self._answers = 0
        self._expected = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def used(self) -> int:
        """Bytes of requests held now."""
        return self._calls + self._streams

    @contextmanager
    def call(self, size: int) -> Iterator[None]:
        """Hold a request for the length of a call; raises `ResourceExhausted` (``OVERLOADED``)."""
        if size <= CALL_BYTES_FREE:
            yield
            return
        if self._calls + size > self._half:
            raise ResourceExhausted(
                "too many bytes of requests are in flight",
                reason="OVERLOADED",
                field=_FIELD,
                value=self._calls + size,
            )
        self._calls += size
        try:
            yield
        finally:
            self._calls -= size

    def hold_answer(
        self, size: int, family: type[ResourceExhausted | Unavailable] = ResourceExhausted
    ) -> None:
        """Count an answer until `release_answer`; raises ``family`` (``OVERLOADED``)."""
        if size <= CALL_BYTES_FREE:
            return
        if self._answers + size > self._half:
            raise family(
                "too many bytes of answers wait to be read",
                reason="OVERLOADED",
                field=_FIELD,
                value=self._answers + size,
            )
        self._answers += size

    def release_answer(self, size: int) -> None:
        """An answer was sent, or its caller left."""
        if size > CALL_BYTES_FREE:
            self._answers -= size

    @contextmanager
    def stream(self) -> Iterator[StreamBytes]:
        """What one stream holds; all of it is given back at the end."""
        held = StreamBytes(self)
        try:
            yield held
        finally:
            held.close()

    # -- for `StreamBytes`

    async def expect(self) -> None:
        """Wait for room for a read, and take it."""
        if not self._waiting and self._fits():
            self._expected += READ_BYTES
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.expect_no_more()
            else:
                with suppress(ValueError):  # `_admit` has passed over it already
                    self._waiting.remove(turn)
            raise

    def expect_no_more(self) -> None:
        """The read of an `expect` has brought something, or has not for long."""
        self._expected -= READ_BYTES
        self._admit()

    def hold(self, size: int) -> None:
        """Count a message that came; raises `Unavailable` (``OVERLOADED``)."""
        if self.used + size > self._bytes_max:
            raise Unavailable(
                "too many bytes of requests are in flight",
                reason="OVERLOADED",
                field=_FIELD,
                value=self.used + size,
            )
        self._streams += size

    def release(self, size: int) -> None:
        """Messages were done with."""
        self._streams -= size
        self._admit()

    def _fits(self) -> bool:
        taken = self._streams + self._expected
        return taken == 0 or taken + READ_BYTES <= self._half

    def _admit(self) -> None:
        while self._waiting and self._fits():
            turn = self._waiting.popleft()
            if not turn.done():
                self._expected += READ_BYTES
                turn.set_result(None)


class StreamBytes:
    """What one stream holds of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0
        self._idle: asyncio.TimerHandle | None = None

    async def expect(self) -> None:
        """Wait until this stream may read its next message."""
        await self._budget.expect()
        self._idle = asyncio.get_running_loop().call_later(READ_IDLE_S, self._expect_no_more)

    def hold(self, size: int) -> None:
        """Count a message that was read; raises `Unavailable` (``OVERLOADED``)."""
        # First the one, then the other: in between, others might be let in on the strength of it.
        try:
            self._budget.hold(size)
            self._held += size
        finally:
            self._expect_no_more()

    def release(self, size: int) -> None:
        """Count messages no more."""
        self._held -= size
        self._budget.release(size)

    def close(self) -> None:
        """Give everything back."""
        self._expect_no_more()
        self.release(self._held)

    def _expect_no_more(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
            self._budget.expect_no_more()
