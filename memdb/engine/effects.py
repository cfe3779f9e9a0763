"""What a commit changed, for the indexes: collected while operations apply, used after the commit
returned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from memdb.index.names import NAMELESS, ClipNames
from memdb.index.text import Document
from memdb.store.plain_clips import StoredRows
from memdb.store.rows import Row, row_fields
from memdb.types.arrays import Array


class NewClip(NamedTuple):
    """A version of a clip that came into being; a tuple, which costs a third: there is one for each clip."""

    space_no: int
    clip_no: int
    row: Row
    vector: Array
    """(dim,) float16 or float32 as it was written."""
    first_version: bool
    documents: list[Document]
    names: ClipNames
    content: int
    """Of the vector as it is stored (`memdb.store.rows.vector_content`)."""


@dataclass(frozen=True, slots=True, eq=False)
class NewRows:
    """First versions of plain clips, numbered one after the other."""

    space_no: int
    first_no: int
    count: int
    dtype: np.dtype[Any]
    """Of the vectors, float16 or float32 as they were written."""
    stored: StoredRows

    def clips(self) -> list[NewClip]:
        """Each for itself."""
        vectors = np.frombuffer(self.stored.vectors, self.dtype).reshape(self.count, -1)
        contents = np.frombuffer(self.stored.contents, np.uint64).tolist()
        rows = [
            Row(stream_no, epoch, seq, start_ns, end_ns, bool(sealed), *sizes)
            for stream_no, epoch, seq, start_ns, end_ns, sealed, *sizes in row_fields(
                self.stored.rows
            )
        ]
        numbered = enumerate(rows, self.first_no)
        return [
            NewClip(self.space_no, no, row, vector, True, [], NAMELESS, content)
            for (no, row), vector, content in zip(numbered, vectors, contents, strict=True)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class NewFact:
    """A version of a fact that came into being."""

    fact_no: int
    document: Document


@dataclass(frozen=True, slots=True)
class ForgottenFact:
    """A fact that is gone with all its versions."""

    fact_no: int
    texts: dict[int, str]
    """Of each version, by its birth."""
    about: frozenset[str]
    """What any of its versions was about."""


@dataclass(frozen=True, slots=True)
class RemovedClip:
    """A clip that is gone with all its versions."""

    space_no: int
    clip_no: int
    number: tuple[int, int, int] | None
    """(stream number, epoch, seq); None where it is not known, and in an erasure, after which the user is opened anew.
    """
    times: tuple[int | None, int | None]
    """Start and end, as the ledger has them from now on."""


@dataclass(frozen=True, slots=True)
class ThinnedVersion:
    """A clip that lost heavy parts in all its versions."""

    space_no: int
    clip_no: int
    short_memory: bool
    keyframes: bool


@dataclass(slots=True)
class Effects:
    """All of one commit, in the order of its operations."""

    clips: list[NewClip] = field(default_factory=list)
    rows: list[NewRows] = field(default_factory=list)
    """Those of plain clips, which are not among `clips`."""
    facts: list[NewFact] = field(default_factory=list)
    forgotten: list[ForgottenFact] = field(default_factory=list)
    removed: list[RemovedClip] = field(default_factory=list)
    thinned: list[ThinnedVersion] = field(default_factory=list)
    collected: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(space number, clip number, birth, death) of superseded versions."""
    removed_streams: list[int] = field(default_factory=list)
    """Stream numbers."""
