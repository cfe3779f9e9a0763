"""The acknowledgements of the clips of a run, which differ by the numbers of their ids alone: made one by one where
somebody looks at each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, overload

from memdb.errors import MemdbError
from memdb.store.idents import IdKind, make_ids, numbered
from memdb.types.clip import Ack
from memdb.types.unchecked import maker

_ack: Final = maker(Ack)


@dataclass(frozen=True, slots=True, eq=False)
class RunAcks:
    """Of new clips that are numbered one after the other."""

    id_key: bytes = field(repr=False)
    first_no: int
    count: int
    revision: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Ack]:
        ids = make_ids(self.id_key, IdKind.CLIP, self.first_no, self.count)
        return iter([_ack(clip_id, self.revision, False) for clip_id in ids])

    @property
    def first(self) -> int:
        """What the id of the first begins with, as a number; those of the others follow."""
        return numbered(IdKind.CLIP, self.first_no)


Piece = Ack | MemdbError | RunAcks


class Outcomes(Sequence[Ack | MemdbError]):
    """An acknowledgement or error for each of some clips, in their order."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = pieces
        """Those of a run together."""

    def __len__(self) -> int:
        return sum(map(clips_of, self.pieces))

    def __iter__(self) -> Iterator[Ack | MemdbError]:
        for piece in self.pieces:
            if isinstance(piece, RunAcks):
                yield from piece
            else:
                yield piece

    @overload
    def __getitem__(self, place: int) -> Ack | MemdbError: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Ack | MemdbError]: ...
    def __getitem__(self, place: int | slice) -> Ack | MemdbError | Sequence[Ack | MemdbError]:
        return list(self)[place]


def clips_of(piece: Piece) -> int:
    """Of how many clips it tells."""
    return piece.count if isinstance(piece, RunAcks) else 1


def first_of(pieces: Iterator[Piece], clips: int) -> Outcomes:
    """Those of so many clips, which end where a piece does."""
    found: list[Piece] = []
    while clips > 0:
        piece = next(pieces)
        found.append(piece)
        clips -= clips_of(piece)
    return Outcomes(found)
