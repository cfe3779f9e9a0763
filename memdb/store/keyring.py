"""Data keys: one for each user and one for the catalog, wrapped by the master key.

``KEY`` in the directory of an environment::

    offset  size  field
         0     4  magic    b"mdbk"
         4     1  version  1
         5    16  id       random, names the data key; part of what every value is bound to
        21    12  nonce
        33    48  wrapped  data key (32) + tag, AES-256-GCM under the master key; bound to bytes
                  0..20 and the name of the directory

It is written before the directory gets its name, replaced when the master key is, and overwritten
and removed before anything else of an erased user: without it nothing of the user can be read again.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from memdb.errors import DataLoss
from memdb.store.cipher import CATALOG_NAMES, NONCE_BYTES, USER_NAMES, Cipher
from memdb.store.files import sync_directory, write_file
from memdb.store.key_file import read_key_file
from memdb.store.masterkey import KEY_BYTES, check_value
from memdb.store.schema import CATALOG
from memdb.store.shredding import KEY_FILE

_HEAD: Final = b"mdbk\x01"
_ID_BYTES: Final = 16
_BOUND_BYTES: Final = len(_HEAD) + _ID_BYTES
_FILE_BYTES: Final = _BOUND_BYTES + NONCE_BYTES + KEY_BYTES + 16


class KeyRing:
    """Makes and opens the data keys of one directory."""

    def __init__(self, master_key: bytes) -> None:
        self.check = check_value(master_key)
        """Tells the master key from others."""
        self._wrapping = AESGCM(master_key)

    def create(self, folder: Path, name: str) -> Cipher:
        """A new data key, durably in ``folder``, which is going to be called ``name``."""
        key_id, data_key = secrets.token_bytes(_ID_BYTES), secrets.token_bytes(KEY_BYTES)
        write_file(folder / KEY_FILE, self._wrapped(key_id, data_key, name))
        return _cipher(data_key, key_id, name)

    def open(self, folder: Path) -> Cipher:
        """The cipher of the environment in ``folder``; raises `DataLoss` (``KEY_MISSING``,
        ``BAD_KEY_FILE``), and as `read`.
        """
        key_id, data_key = self.unwrap(folder)
        return _cipher(data_key, key_id, folder.name)

    def unwrap(self, folder: Path) -> tuple[bytes, bytes]:
        """(id, data key) of the environment in ``folder``; raises as `open`."""
        return self.parse(self.read(folder), folder.name)

    def read(self, folder: Path) -> bytes:
        """The file ``KEY`` in ``folder``; raises `DataLoss` (``KEY_MISSING``, ``KEY_UNREADABLE``), and `Unavailable`
        (``OPEN_FAILED``) where we may not read it.
        """
        field = f"{folder.name}/{KEY_FILE}"
        try:
            return read_key_file(folder / KEY_FILE, "the data key", field)
        except FileNotFoundError as error:
            raise DataLoss("the data key is missing", reason="KEY_MISSING", field=field) from error

    def parse(self, content: bytes, name: str) -> tuple[bytes, bytes]:
        """(id, data key) of a file ``KEY`` of the directory ``name``; raises `DataLoss`
        (``BAD_KEY_FILE``).
        """
        bound, rest = content[:_BOUND_BYTES], content[_BOUND_BYTES:]
        if len(content) == _FILE_BYTES and bound.startswith(_HEAD):
            nonce, wrapped = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
            try:
                data_key = self._wrapping.decrypt(nonce, wrapped, bound + name.encode())
            except InvalidTag:
                pass  # as below
            else:
                return bound[len(_HEAD) :], data_key
        raise DataLoss(
            "the data key is damaged, or another directory's",
            reason="BAD_KEY_FILE",
            field=f"{name}/{KEY_FILE}",
            value=len(content),
        )

    def rewrap(self, folder: Path, new: KeyRing) -> bool:
        """Wrap the data key of ``folder`` by ``new``, durably; whether it was not already.

        Raises `DataLoss` when neither opens it, and as `read`.
        """
        for left in folder.glob(f".new-{KEY_FILE}-*"):
            left.unlink()  # half-written when a rotation was cut short
        wrapped = self.rewraps(folder, new)
        if wrapped is None:
            # Whoever wrapped it may have been killed before its name was durable.
            sync_directory(folder)
            return False
        write_file(folder / KEY_FILE, wrapped)
        return True

    def rewraps(self, folder: Path, new: KeyRing) -> bytes | None:
        """What `rewrap` would write, None where ``new`` wraps the data key already; raises as it."""
        content = self.read(folder)
        try:
            new.parse(content, folder.name)
        except DataLoss:
            return self.rewrapped(content, folder.name, new)
        return None

    def rewrapped(self, content: bytes, name: str, new: KeyRing) -> bytes:
        """A file ``KEY`` of the directory ``name``, wrapped by ``new``; raises as `parse`."""
        key_id, data_key = self.parse(content, name)
        return new._wrapped(key_id, data_key, name)

    def _wrapped(self, key_id: bytes, data_key: bytes, name: str) -> bytes:
        bound, nonce = _HEAD + key_id, os.urandom(NONCE_BYTES)
        return bound + nonce + self._wrapping.encrypt(nonce, data_key, bound + name.encode())


def _cipher(data_key: bytes, key_id: bytes, name: str) -> Cipher:
    return Cipher(data_key, key_id, CATALOG_NAMES if name == CATALOG else USER_NAMES)
