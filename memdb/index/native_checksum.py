"""A checksum of a piece of a file in one call of the native edge, where it is installed: threads that compare a large
file piece by piece wait for the interpreter's lock after each, while others load modules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from memdb.native import is_installed


@cache
def native_checksum() -> Callable[[int, int, int], int | None] | None:
    """xxh3_64 of a descriptor's bytes from an offset on, so many; None where the file is shorter.  None where there is
    no edge.
    """
    if not is_installed():
        return None
    import memdb_edge  # noqa: PLC0415 - it need not be there

    return memdb_edge.checksum_of
