"""A run of plain clips, as who has read them without Python has it (`memdb.server.plain_clips`)."""

from __future__ import annotations

from typing import Protocol

from memdb.types.clip import Clip

Entries = dict[bytes, bytes | memoryview]


class PlainRun(Protocol):
    """Clips of one epoch of a stream, sealed, with nothing but a global memory and perhaps a short-term one each, and
    each the next in number after the one before it; they were checked as a `Clip` is.
    """

    @property
    def epoch(self) -> int: ...
    @property
    def first_seq(self) -> int: ...
    @property
    def dim(self) -> int:
        """Of every vector and of every token."""

    @property
    def is_half(self) -> bool:
        """Whether all vectors are float16; else they are float32."""

    @property
    def may_be_zero(self) -> bool:
        """Whether one of the vectors might be of zeros alone: it is False where that is seen at once."""

    @property
    def payload_bytes(self) -> int:
        """Of vectors and short-term memories."""

    def __len__(self) -> int:
        """How many clips it has, at least one."""

    def clips(self) -> list[Clip]:
        """The clips themselves."""

    def stage(
        self,
        clips: Entries,
        vectors: Entries,
        short_memory: Entries,
        ledger: Entries,
        stream_no: int,
        space_no: int,
        first_no: int,
        birth: int,
    ) -> tuple[bytes, bytes, bytes]:
        """Add what `memdb.store.plain_clips.put_plain` stores of them under the numbers from ``first_no`` on to what is
        to be put into four tables; their rows (`memdb.store.rows.HEAD`), their vectors and the contents of these (u64),
        one behind the other.
        """
