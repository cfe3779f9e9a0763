"""What stands in an environment of an encrypted directory: values, and the keys that are names.

A value, AES-256-GCM::

    offset  size  field
         0     1  version     2
         1    16  salt        random, of the key it is encrypted under
        17    12  nonce       random, of this value
        29     n  ciphertext  of what stands there in a plain directory
      29+n    16  tag         over the ciphertext and: key id + table + 0 + key

So a value that turns up under another key, in another table or at another user is damage.  Keys
that hold a user's words (`CATALOG_NAMES`, `USER_NAMES`) are encrypted by AES-256-SIV, which gives
equal names equal bytes, as a look-up needs: 16 bytes + n, for ``values`` followed by the birth.
Their order is not that of the names.  All other keys are numbers and stand as they are.

All keys are derived from the data key of the user or the catalog (`memdb.store.keyring`): that of names
is one, those of values are many.  Random nonces keep AES-GCM safe for 2^32 values under one key (NIST
SP 800-38D, 8.3).  So a key is drawn, by its salt, whenever an environment is opened and written to, and
again after 2^28 values: there is nothing to count across crashes, restores and copies of a directory,
and no number of writes after which a user would have to be encrypted anew.
"""

from __future__ import annotations

import os
import threading
from hashlib import blake2b
from itertools import count
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from memdb.errors import DataLoss
from memdb.store.schema import Table

VERSION: Final = 2
NONCE_BYTES: Final = 12
SALT_BYTES: Final = 16
OVERHEAD_BYTES: Final = 1 + SALT_BYTES + NONCE_BYTES + 16
VALUES_MAX: Final = 1 << 28
"""Under one key."""
KEYS_KEPT: Final = 1024
"""Of those that values were encrypted under; others are derived again."""
CATALOG_NAMES: Final = frozenset({Table.USERS, Table.SPACES})
"""Tables of the catalog whose keys are names."""
USER_NAMES: Final = frozenset({Table.VALUES, Table.FACT_KEYS, Table.SNAPSHOTS})
"""Tables of a user whose keys are names."""
_BIRTH_BYTES: Final = 8
_VERSION_BYTE: Final = bytes([VERSION])
_NONCE_AT: Final = 1 + SALT_BYTES
_SEALED_AT: Final = _NONCE_AT + NONCE_BYTES


class _Writing(NamedTuple):
    """The key that values are encrypted under now."""

    head: bytes
    """Version and salt."""
    key: AESGCM
    taken: count[int]
    """Counts the values; taking the next is one step for all threads."""


class HiddenKey(bytes):
    """A key as it is stored, which nobody can show: it is damaged, or the name's place is."""

    __slots__ = ()


class Cipher:
    """Encrypts what goes into one environment and decrypts what comes out; thread-safe."""

    __slots__ = ("_data_key", "_known", "_names", "_renewing", "_siv", "_tables", "_writing")

    def __init__(self, data_key: bytes, key_id: bytes, names: frozenset[Table]) -> None:
        """names: the tables whose keys are names."""
        self._data_key = data_key
        self._names = names
        self._known: dict[bytes, AESGCM] = {}
        self._writing: _Writing | None = None
        self._renewing = threading.Lock()
        self._tables = {table: key_id + table.value.encode() + b"\0" for table in Table}
        self._siv = AESSIV(blake2b(b"names", key=data_key, digest_size=64).digest())

    def seal(self, table: Table, key: bytes, value: bytes | memoryview) -> bytes:
        """The bytes to store for ``value``."""
        writing = self._writing
        while writing is None or next(writing.taken) >= VALUES_MAX:
            writing = self._renewed(writing)
        nonce = os.urandom(NONCE_BYTES)
        sealed = writing.key.encrypt(nonce, value, self._tables[table] + key)
        return b"".join((writing.head, nonce, sealed))

    def open(self, table: Table, key: bytes, stored: bytes | memoryview) -> memoryview:
        """What was sealed; raises `DataLoss` (``CHECKSUM``, ``TRUNCATED``) naming table and key."""
        view = memoryview(stored)
        if len(view) < OVERHEAD_BYTES:
            raise _damage("value is shorter than its encryption", "TRUNCATED", table, key)
        if view[0] != VERSION:
            raise _damage("not an encrypted value of this format", "CHECKSUM", table, key)
        salt = view[1:_NONCE_AT].tobytes()  # of a view it is quicker than bytes()
        nonce, sealed = view[_NONCE_AT:_SEALED_AT], view[_SEALED_AT:]
        opening = self._known.get(salt) or self._derived(salt)
        try:
            plain = opening.decrypt(nonce, sealed, self._tables[table] + key)
        except InvalidTag:
            raise _damage("value is not what was encrypted here", "CHECKSUM", table, key) from None
        return memoryview(plain)

    def _renewed(self, used: _Writing | None) -> _Writing:
        """A key for values to come, in the place of one that is used up."""
        with self._renewing:
            if self._writing is None or self._writing is used:
                salt = os.urandom(SALT_BYTES)
                self._writing = _Writing(_VERSION_BYTE + salt, self._derived(salt), count())
            return self._writing

    def _derived(self, salt: bytes) -> AESGCM:
        """The key of a salt."""
        derived = blake2b(b"values", key=self._data_key, salt=salt, digest_size=32).digest()
        if len(self._known) >= KEYS_KEPT:
            self._known.clear()
        found = self._known[salt] = AESGCM(derived)
        return found

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
