"""A look at a B-tree in one call of the native edge, where it is installed.

It says what `memdb.store.ordinary_tree` says, of trees of any size, and lets go of the interpreter's lock meanwhile:
who opens a user of 100,000 clips waits 0.1 s less, and others do not wait for that look.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from memdb.native import is_installed

if TYPE_CHECKING:
    from memdb.types.arrays import Array

OrdinaryPages = Callable[[int, int, int, bool, int, int, int, int, int, int], "Array | None"]
"""See ``edge/memdb_edge.pyi``."""


@cache
def native_look() -> OrdinaryPages | None:
    """That of the edge; None where there is none."""
    if not is_installed():
        return None
    import memdb_edge  # noqa: PLC0415 - it need not be there

    return memdb_edge.ordinary_pages
