"""Answers on their way out: packed, bounded by what a message may be, and counted until gRPC has sent them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from memdb.errors import ResourceExhausted, Unavailable
from memdb.server.budget import CALL_BYTES_FREE, Budget
from memdb.server.edge import Context
from memdb.server.methods import Send


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
        self._check_size(len(data))
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

    def sender(self, context: Context, owner: Callable[[], str]) -> Send:
        """Sends the messages of a stream.

        owner: whose the stream is; of one both ways it is told by its first message.
        """

        async def send(data: bytes) -> None:
            self._check_size(len(data))
            await self.write(context, data, owner())

        return send

    def _release_at_end(self, context: Context, size: int, owner: str) -> None:
        def sent(_context: Any) -> None:
            self._budget.release_answer(size, owner)

        context.add_done_callback(sent)

    def _check_size(self, size: int) -> None:
        if size > self._message_bytes_max:
            raise ResourceExhausted(
                f"the answer has more than {self._message_bytes_max} bytes; ask for less at once",
                reason="MESSAGE_TOO_LARGE",
                field="message",
                value=size,
            )
