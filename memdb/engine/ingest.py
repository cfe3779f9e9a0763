"""Pipelined writing, embedded: clips are gathered into commits of several.

An open clip is committed at once, together with what is waiting: it must be visible within one
write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from memdb.errors import InvalidArgument
from memdb.types.clip import Ack, Clip

if TYPE_CHECKING:
    from memdb.engine.stream import EmbeddedStream

GROUP_CLIPS: Final = 8


class EmbeddedIngestWriter:
    """`memdb.types.database.IngestWriter`; for one thread."""

    def __init__(self, stream: EmbeddedStream, epoch: int, window: int) -> None:
        self._stream = stream
        self._epoch = epoch
        self._group = min(window, GROUP_CLIPS)
        self._waiting: list[Clip] = []
        self._new_acks: list[Ack] = []
        self._acks = 0

    @property
    def next_seq(self) -> int:
        return self._stream.ledger(epoch=self._epoch).next_seq

    @property
    def acks(self) -> int:
        return self._acks

    def send(self, clip: Clip) -> None:
        if clip.epoch != self._epoch:
            raise InvalidArgument(
                f"this writer is for epoch {self._epoch}",
                reason="EPOCH_MISMATCH",
                field="clip.epoch",
                value=clip.epoch,
            )
        self._waiting.append(clip)
        if len(self._waiting) >= self._group or not clip.sealed:
            self._commit()

    def flush(self) -> list[Ack]:
        self._commit()
        acks, self._new_acks = self._new_acks, []
        return acks

    def close(self) -> None:
        self._commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not any(exc_info):
            self.close()

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            acks = self._stream.write_many(waiting)
            self._acks += len(acks)
            self._new_acks.extend(acks)
