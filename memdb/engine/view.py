"""A user's memory as of one commit: what every read works on.

Immutable, replaced as a whole after each commit, so a read sees the state of exactly one revision
without a lock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memdb.engine.coverage import Coverage
from memdb.engine.state import UserState
from memdb.errors import InvalidArgument, NotFound
from memdb.index.partition import PartitionView
from memdb.index.text import TextView


@dataclass(frozen=True, slots=True)
class View:
    """State and indexes at one revision."""

    state: UserState
    partitions: dict[int, PartitionView]
    """By space number."""
    texts: TextView
    coverage: Coverage

    @property
    def revision(self) -> int:
        """The commit this view shows."""
        return self.state.revision

    def holds(self, clip_no: int, birth: int) -> bool:
        """Whether a version of a clip is there at some revision."""
        return any(
            bool(
                (
                    (partition.columns["clip_no"] == np.uint64(clip_no))
                    & (partition.columns["birth"] == np.uint64(birth))
                ).any()
            )
            for partition in self.partitions.values()
        )

    def stream_nos(
        self, names: tuple[str, ...] | None, as_of: int | None = None
    ) -> tuple[int, ...] | None:
        """Numbers of the named streams, None for all.

        Raises `NotFound` (``STREAM_NOT_FOUND``) for one that does not exist, or did not ``as_of``.
        """
        if names is None:
            return None
        numbers: list[int] = []
        for name in names:
            stream = self.state.streams.get(name)
            if stream is None or stream.revision > self._moment(as_of):
                raise NotFound(
                    "no such stream", reason="STREAM_NOT_FOUND", field="streams", value=name
                )
            numbers.append(stream.no)
        return tuple(numbers)

    def searched_space(
        self, stream_nos: tuple[int, ...] | None, space: str | None, as_of: int | None = None
    ) -> int | None:
        """Number of the one space to search; None when the user had no stream yet.

        Only streams that existed ``as_of`` count: one that is created later, in another space, must
        not change what an earlier revision answers.

        Raises `NotFound` (``SPACE_NOT_FOUND``) and `InvalidArgument` (``SPACE_REQUIRED``) when the
        streams span several.
        """
        there = [
            stream
            for stream in self.state.streams.values()
            if stream.revision <= self._moment(as_of)
        ]
        if space is not None:
            no = self.state.space_no(space)
            if no is None or all(stream.space_no != no for stream in there):
                raise NotFound(
                    "the user has no stream in this space",
                    reason="SPACE_NOT_FOUND",
                    field="space",
                    value=space,
                )
            return no
        wanted = {
            stream.space_no for stream in there if stream_nos is None or stream.no in stream_nos
        }
        if len(wanted) > 1:
            names = ", ".join(sorted(self.state.spaces[no].name for no in wanted))
            raise InvalidArgument(
                f"the streams span several spaces: {names}", reason="SPACE_REQUIRED", field="space"
            )
        return next(iter(wanted), None)

    def _moment(self, as_of: int | None) -> int:
        return self.revision if as_of is None else as_of
