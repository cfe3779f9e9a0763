"""What stands in an environment of an encrypted directory: values, and the keys that are names.

A value, AES-256-GCM with a nonce drawn for every write::

    offset  size  field
         0     1  version     1
         1    12  nonce       random
        13     n  ciphertext  of what stands there in a plain directory
      13+n    16  tag         over the ciphertext and: key id + table + 0 + key

So a value that turns up under another key, in another table or at another user is damage.  Keys
that hold a user's words (`CATALOG_NAMES`, `USER_NAMES`) are encrypted by AES-256-SIV, which gives
equal names equal bytes, as a look-up needs: 16 bytes + n, for ``values`` followed by the birth.
Their order is not that of the names.  All other keys are numbers and stand as they are.

Both keys are derived from the data key of the user or the catalog (`memdb.store.keyring`).  Random
nonces keep AES-GCM safe for 2^32 values under one key.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from memdb.errors import DataLoss
from memdb.store.schema import Table

VERSION: Final = 1
NONCE_BYTES: Final = 12
OVERHEAD_BYTES: Final = 1 + NONCE_BYTES + 16
CATALOG_NAMES: Final = frozenset({Table.USERS, Table.SPACES})
"""Tables of the catalog whose keys are names."""
USER_NAMES: Final = frozenset({Table.VALUES, Table.FACT_KEYS, Table.SNAPSHOTS})
"""Tables of a user whose keys are names."""
_BIRTH_BYTES: Final = 8
_VERSION_BYTE: Final = bytes([VERSION])


class HiddenKey(bytes):
    """A key as it is stored, which nobody can show: it is damaged, or the name's place is."""

    __slots__ = ()


class Cipher:
    """Encrypts what goes into one environment and decrypts what comes out; thread-safe."""

    __slots__ = ("_id", "_names", "_siv", "_tables", "_values")

    def __init__(self, data_key: bytes, key_id: bytes, names: frozenset[Table]) -> None:
        """names: the tables whose keys are names."""
        self._id = key_id
        self._names = names
        self._tables = {table: key_id + table.value.encode() + b"\0" for table in Table}
        self._values = AESGCM(blake2b(b"values", key=data_key, digest_size=32).digest())
        self._siv = AESSIV(blake2b(b"names", key=data_key, digest_size=64).digest())

    def seal(self, table: Table, key: bytes, value: bytes | memoryview) -> bytes:
        """The bytes to store for ``value``."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._values.encrypt(nonce, value, self._tables[table] + key)
        return b"".join((_VERSION_BYTE, nonce, sealed))

    def open(self, table: Table, key: bytes, stored: bytes | memoryview) -> memoryview:
        """What was sealed; raises `DataLoss` (``CHECKSUM``, ``TRUNCATED``) naming table and key."""
        view = memoryview(stored)
        if len(view) < OVERHEAD_BYTES:
            raise _damage("value is shorter than its encryption", "TRUNCATED", table, key)
        if view[0] != VERSION:
            raise _damage("not an encrypted value of this format", "CHECKSUM", table, key)
        nonce, sealed = view[1 : 1 + NONCE_BYTES], view[1 + NONCE_BYTES :]
        try:
            plain = self._values.decrypt(nonce, sealed, self._tables[table] + key)
        except InvalidTag:
            raise _damage("value is not what was encrypted here", "CHECKSUM", table, key) from None
        return memoryview(plain)

    def hide(self, table: Table, key: bytes) -> bytes:
        """The key as it is stored."""
        if table not in self._names or isinstance(key, HiddenKey):
            return bytes(key)
        name, birth = _split(table, key)
        return self._siv.encrypt(name, [self._tables[table]]) + birth

    def show(self, table: Table, stored: bytes) -> bytes:
        """The key that was hidden; raises `DataLoss` (``CHECKSUM``) naming it as it is stored."""
        if table not in self._names:
            return stored
        hidden, birth = _split(table, stored)
        try:
            return self._siv.decrypt(hidden, [self._tables[table]]) + birth
        except (InvalidTag, ValueError):
            raise _damage("key is not what was encrypted here", "CHECKSUM", table, stored) from None

    def entry(
        self, table: Table, stored: bytes, value: bytes | memoryview
    ) -> tuple[bytes, memoryview]:
        """A key and its value as they were before; nothing where the value is damaged, and the `HiddenKey`
        with nothing where the key is: whoever unseals it reports it, and goes on to the others.
        """
        try:
            key = self.show(table, stored)
        except DataLoss:
            return HiddenKey(stored), memoryview(b"")
        try:
            return key, self.open(table, key, value)
        except DataLoss:
            return key, memoryview(b"")

    def hide_prefix(self, table: Table, prefix: bytes) -> bytes:
        """How stored keys begin whose key begins with ``prefix``: a whole name or nothing."""
        if table not in self._names or not prefix:
            return prefix
        return self._siv.encrypt(prefix, [self._tables[table]])


def _split(table: Table, key: bytes) -> tuple[bytes, bytes]:
    """(name, birth or nothing) of a key, hidden or not."""
    if table is Table.VALUES:
        return key[:-_BIRTH_BYTES], key[-_BIRTH_BYTES:]
    return key, b""


def _damage(message: str, reason: str, table: Table, key: bytes) -> DataLoss:
    return DataLoss(message, reason=reason, field=f"{table.value}/{key.hex()}")
