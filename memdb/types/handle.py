"""What leads to an open database: it stays in its process, as values need not."""

from __future__ import annotations

from typing import NoReturn, Self, SupportsIndex


class Handle:
    """Base of databases, users, streams, standing questions and writers.

    A copy of one is the handle itself.  Pickle would go through the connection beneath, and stop at whatever of it
    cannot be copied, in words that tell nobody what to do.
    """

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled: it leads to what this process has open. "
            "Another process connects by itself (memdb_client.connect, to `memdb serve`) and is given "
            "the address and names; values and errors can be pickled"
        )
