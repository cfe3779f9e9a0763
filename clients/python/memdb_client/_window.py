"""The clips of an ingest that are sent and not acknowledged yet: which to send next, which an
answer settles.

No waiting and no locks: `_async_ingest` holds its condition around every call.  Invariant:
``pending`` is in the order of `add`; its first ``_sent`` clips were handed to the current call,
so an acknowledgement always settles ``pending[0]``.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from memdb.errors import Internal
from memdb.types.clip import Ack
from memdb.types.ingest import is_ingest_full
from memdb.types.limits import BATCH_OPERATIONS_MAX
from memdb.wire.ingest import Part

WINDOW_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of unacknowledged clips that a writer holds; one clip always fits."""
MESSAGE_BYTES: Final = 1_040_000
"""Bytes that one message of several clips may have: bounded, so that acknowledgements keep coming, and
below what the allocators on both ends map anew for each message."""
ACKS_KEPT_MAX: Final = 65_536
"""Acknowledgements kept for the next `flush`; a writer that never flushes forgets the oldest."""


class _Pending(NamedTuple):
    parts: tuple[Part, ...]
    """An `IngestClipsRequest` with the one clip; several put together are one with all of them."""
    size: int
    seq: int
    sealed: bool


class Window:
    """At most ``clips_max`` clips in flight, and what became of them."""

    def __init__(self, clips_max: int | None, bytes_max: int = WINDOW_BYTES_MAX) -> None:
        """clips_max: None: as many as `memdb.types.ingest.is_ingest_full` says, which is of their bytes too."""
        self._clips_max = clips_max
        self._bytes_max = bytes_max
        self._pending: deque[_Pending] = deque()
        self._bytes = 0
        self._sent = 0
        self._one_by_one = 0
        self._answers: deque[Ack] = deque(maxlen=ACKS_KEPT_MAX)
        self.next_seq = 0
        """One more than the highest sealed number that the ledger is known to hold."""
        self.acks = 0
        """Clips acknowledged so far."""

    @property
    def is_empty(self) -> bool:
        """Whether every clip added is acknowledged."""
        return not self._pending

    @property
    def has_unsent(self) -> bool:
        """Whether there is a clip that the current call has not been given."""
        return self._sent < len(self._pending)

    def has_room(self, size: int) -> bool:
        """Whether a clip of ``size`` bytes may be added now."""
        if not self._pending:
            return True
        if self._clips_max is None:
            is_full = is_ingest_full(len(self._pending), self._bytes)
        else:
            is_full = len(self._pending) >= self._clips_max
        return not is_full and self._bytes + size <= self._bytes_max

    def add(self, parts: tuple[Part, ...], size: int, seq: int, *, sealed: bool) -> None:
        """Queue a clip, a request of its own in pieces of so many bytes together, behind the others."""
        self._pending.append(_Pending(parts, size, seq, sealed))
        self._bytes += size

    def next_to_send(self) -> bytes:
        """A request with the first clips that the current call has not been given, marked as given;
        empty when there is none.

        As many as wait and fit `MESSAGE_BYTES`, but no more than a commit takes, which a server
        refuses: a lone clip goes at once, a crowd shares messages.
        """
        if self._one_by_one and self._sent:
            return b""
        parts: list[Part] = []
        size = 0
        last = min(len(self._pending), self._sent + BATCH_OPERATIONS_MAX)
        while self._sent < last:
            clip = self._pending[self._sent]
            if parts and (size + clip.size > MESSAGE_BYTES or self._one_by_one):
                break
            parts += clip.parts
            size += clip.size
            self._sent += 1
        return b"".join(parts)

    def restart(self, one_by_one: bool = False) -> None:
        """A new call begins: everything unacknowledged goes again, from the oldest.

        With ``one_by_one`` each of these clips waits for the acknowledgement of the one before.
        """
        self._sent = 0
        self._one_by_one = len(self._pending) if one_by_one else 0

    def started(self, next_seq: int) -> None:
        """The server told where its ledger stands."""
        self.next_seq = max(self.next_seq, next_seq)

    def settle(self, acks: list[Ack]) -> None:
        """The oldest clips are durable."""
        settled = acks[: self._sent]
        for _ in settled:
            done = self._pending.popleft()
            self._bytes -= done.size
            if done.sealed and done.seq >= self.next_seq:
                self.next_seq = done.seq + 1
        self._sent -= len(settled)
        self._one_by_one = max(0, self._one_by_one - len(settled))
        self._answers += settled
        self.acks += len(settled)
        if len(settled) < len(acks):
            raise Internal("the server acknowledged a clip that was not sent", reason="PROTOCOL")

    def take_answers(self) -> list[Ack]:
        """The acknowledgements since the last call, in the order sent."""
        answers = list(self._answers)
        self._answers.clear()
        return answers
