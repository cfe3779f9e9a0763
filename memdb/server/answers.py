"""Answers on their way out: packed, bounded by what a message may be, and counted until gRPC has sent them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from memdb.errors import ResourceExhausted, Unavailable
from memdb.server.budget import CALL_BYTES_FREE, Budget
from memdb.server.edge import Context, LendsReads, Lent, SendsAhead, SendsFromThreads


class Answers:
    """The answers of a server."""

    def __init__(self, budget: Budget, message_bytes_max: int) -> None:
        self._budget = budget
        self._message_bytes_max = message_bytes_max

    def packed(self, message: Message | bytes) -> bytes:
        """The message as bytes, which it may be already; raises `ResourceExhausted` (``MESSAGE_TOO_LARGE``)."""
        if isinstance(message, bytes):
            data = message
        else:
            # Maps in one order, or an answer would not be the same bytes in another process.
            data = message.SerializeToString(deterministic=True)
        self.check_size(len(data))
        return data

    def hold(self, context: Context, size: int, owner: str) -> None:
        """Count the answer of a call until gRPC has sent it; raises `ResourceExhausted` (``OVERLOADED``)."""
        if size > CALL_BYTES_FREE:
            self._budget.hold_answer(size, owner=owner)
            self._release_at_end(context, size, owner)

    async def write(self, context: Context, data: bytes, owner: str) -> None:
        """Send one message of a stream, counted until gRPC has taken it; raises `Unavailable` (``OVERLOADED``)."""
        size = len(data)
        self._budget.hold_answer(size, Unavailable, owner)
        try:
            await context.write(data)
        except asyncio.CancelledError:
            # gRPC holds it until the call has ended, which it may not have yet: see `StreamBytes.cut_off`.
            self._release_at_end(context, size, owner)
            raise
        except BaseException:
            self._budget.release_answer(size, owner)
            raise
        self._budget.release_answer(size, owner)

    def sender(self, context: Context, owner: Callable[[], str]) -> Sender:
        """Sends the messages of a stream.

        owner: whose the stream is; of one both ways it is told by its first message.
        """
        return Sender(self, context, owner)

    def fits_ahead(self, size: int) -> bool:
        """Whether a message may be sent before it is looked at: what no budget counts, and no limit refuses."""
        return size <= min(CALL_BYTES_FREE, self._message_bytes_max)

    def check_size(self, size: int) -> None:
        """Raise `ResourceExhausted` (``MESSAGE_TOO_LARGE``) for an answer that may not be sent."""
        if size > self._message_bytes_max:
            raise ResourceExhausted(
                f"the answer has more than {self._message_bytes_max} bytes; ask for less at once: fewer, "
                "less of each, or pages",
                reason="MESSAGE_TOO_LARGE",
                field="message",
                value=size,
            )

    def _release_at_end(self, context: Context, size: int, owner: str) -> None:
        def sent(_context: Any) -> None:
            self._budget.release_answer(size, owner)

        context.add_done_callback(sent)


class Sender:
    """Sends the messages of one stream: `memdb.server.methods.Send`."""

    def __init__(self, answers: Answers, context: Context, owner: Callable[[], str]) -> None:
        self._answers = answers
        self._context = context
        self._owner = owner
        self._from_threads = context if isinstance(context, SendsFromThreads) else None
        self._lends = context if isinstance(context, LendsReads) else None

    async def __call__(self, data: bytes) -> None:
        """Send it; returns when gRPC took it."""
        self._answers.check_size(len(data))
        await self._answers.write(self._context, data, self._owner())

    def ahead(self) -> Ahead | None:
        """What sends a message at once from any thread, which is to be sent here next all the same; None where
        it cannot be.  A message that is not small is left to be sent here alone.
        """
        found = None if self._from_threads is None else self._from_threads.ahead()
        if found is None:
            return None
        return Ahead(self._answers, found)

    def lend(self) -> Lent | None:
        """`LendsReads.lend` of the same call; None where threads may not wait for its messages."""
        return None if self._lends is None else self._lends.lend()


class Ahead:
    """Sends a message that is small: `Sender.ahead`."""

    __slots__ = ("_answers", "_send")

    def __init__(self, answers: Answers, send: SendsAhead) -> None:
        self._answers = answers
        self._send = send

    def __call__(self, data: bytes) -> None:
        if self._answers.fits_ahead(len(data)):
            self._send(data)

    def together(self, messages: Sequence[tuple[Ahead, bytes]]) -> None:
        """Send a message by each of several, of one edge."""
        small = [
            (ahead._send, data) for ahead, data in messages if ahead._answers.fits_ahead(len(data))
        ]
        if small:
            small[0][0].together(small)
