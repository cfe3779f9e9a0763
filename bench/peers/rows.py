"""Records as every engine is given them, and questions as every engine is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

STEP_S = 5
"""A record spans five seconds, and the next begins where it ends."""
FIRST_S = 1_750_000_000
TENSOR_SHAPE = (22, 1536)
"""float16: 67,584 bytes."""
STREAMS = 4
KINDS = ("user", "user_time", "big")
"""Of questions: among one user's records; among those of one user in a range of time; among all."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some records; columns of one length."""

    ids: Array
    vectors: Array
    """(n, dim) float32 of unit length."""
    users: Array
    streams: Array
    tensors: Sequence[bytes] | None = None

    @property
    def starts(self) -> Array:
        """When each begins, UTC seconds."""
        return FIRST_S + STEP_S * self.ids

    def __len__(self) -> int:
        return len(self.ids)

    def taken(self, which: Array | slice) -> Rows:
        """Some of them."""
        assert self.tensors is None or isinstance(which, slice)
        return Rows(
            self.ids[which],
            self.vectors[which],
            self.users[which],
            self.streams[which],
            None if self.tensors is None else self.tensors[which],  # type: ignore[index]  # a slice, then
        )


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One vector to be compared, k = 10, with what `kind` says."""

    kind: str
    vector: Array
    """(1536,) float32; (32, 1536) where the kind is ``many``."""
    user: int
    begin: int
    """Of the range of time, UTC seconds; records that begin in ``[begin, end)`` are in it."""
    end: int
    number: int


LIMIT = 10
MANY = 32
"""Questions of one user that are asked at once where an engine takes several."""


def tensor_of(row_id: int) -> bytes:
    """The 67,584 bytes of a record: noise, another for each of 64 that follow each other."""
    numbers = np.random.default_rng((11, row_id % 64)).standard_normal(TENSOR_SHAPE, np.float32)
    return numbers.astype(np.float16).tobytes()
