"""One read of an environment, from its begin to its end."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import lmdb

from memdb.store.mapped import MappedFile
from memdb.store.transaction import Transaction

if TYPE_CHECKING:
    # It needs a library that is there only where something is encrypted.
    from memdb.store.cipher import Cipher


class Reading:
    """A context of a transaction, written out: every answer passes here, and generators cost it twice."""

    __slots__ = ("_cipher", "_mapped", "_txn")

    def __init__(self, mapped: MappedFile, cipher: Cipher | None) -> None:
        self._mapped = mapped
        self._cipher = cipher
        self._txn: Transaction | None = None

    def __enter__(self) -> Transaction:
        self._txn = self._mapped.begin_read(self._cipher)
        return self._txn

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._txn is not None, "entered before"
        self._mapped.end_read(self._txn)
        if isinstance(error, lmdb.Error):
            raise self._mapped.read_error(error) from error
