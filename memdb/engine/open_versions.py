"""What the versions of growing clips were written with, so that one more is not compared with each of them.

A late copy of an earlier version is a duplicate (`memdb.engine.apply_clip`), and to find it all versions of the clip
are read: a clip that stays open for a day has a version for each second, and each of them would be read with each
that comes.  So the hashes of a clip that grows are kept once they were read, some hundred bytes a version, whose
vector alone takes more.

They tell what there is not: a hash that is kept may be of a version that was never committed or that is gone, one
that is not is of none.  Groups are decided while others are being written, so more than one thread adds to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from memdb.errors import DataLoss
from memdb.store import schema
from memdb.store.records import ClipRecord, unpack
from memdb.store.schema import Table
from memdb.store.transaction import Transaction


def known_versions(txn: Transaction, clip_no: int, newest: int) -> Iterator[tuple[int, bytes]]:
    """(birth, hash) of the stored versions of a clip whose newest was born so, but of those that are damaged: they are
    as if they had been collected, or a clip that is whole as it is now could not go on.

    Raises `DataLoss` where the newest itself is damaged: nobody can tell what would be replaced.
    """
    for key, stored in txn.scan(Table.CLIPS, schema.revision_key(clip_no)):
        birth = schema.split_version_key(key)[1]
        try:
            content = unpack(Table.CLIPS, key, stored, ClipRecord).content
        except DataLoss:
            if birth == newest:
                raise
            continue  # told by whoever looks at the whole user
        yield birth, content


class OpenVersions:
    """The hashes of the versions of a user's growing clips, by the clip's number."""

    def __init__(self) -> None:
        self._contents: dict[int, set[bytes]] = {}

    def may_have(self, txn: Transaction, clip_no: int, newest: int, content: bytes) -> bool:
        """Whether one of the stored versions of an open clip may have this hash; as `known_versions`."""
        kept = self._contents.get(clip_no)
        if kept is None:
            stored = {one for _, one in known_versions(txn, clip_no, newest)}
            # Another thread may have read more, of a later commit, and have added to it.
            kept = self._contents.setdefault(clip_no, set())
            kept.update(stored)
        return content in kept

    def add(self, clip_no: int, content: bytes) -> None:
        """One more version of a clip that is open."""
        kept = self._contents.get(clip_no)
        if kept is not None:
            kept.add(content)

    def forget(self, clip_nos: Iterable[int]) -> None:
        """Clips that grow no more: they were sealed or removed."""
        if not self._contents:
            return
        for clip_no in clip_nos:
            self._contents.pop(clip_no, None)
