"""Reading snapshots: the moment that a name stands for, and which leases have not ended."""

from __future__ import annotations

from memdb.errors import FailedPrecondition, NotFound
from memdb.store.records import SnapshotRecord, unpack
from memdb.store.schema import Table
from memdb.store.transaction import Transaction
from memdb.types.snapshot import Snapshot


def snapshot_revision(txn: Transaction, name: str, now_ns: int) -> int:
    """The revision of a snapshot.

    Raises `NotFound` (``SNAPSHOT_NOT_FOUND``), `FailedPrecondition` (``SNAPSHOT_EXPIRED``), field
    ``as_of``.
    """
    key = name.encode()
    stored = txn.get(Table.SNAPSHOTS, key)
    if stored is None:
        raise NotFound("no such snapshot", reason="SNAPSHOT_NOT_FOUND", field="as_of", value=name)
    record = unpack(Table.SNAPSHOTS, key, stored, SnapshotRecord)
    if record.expires_ns <= now_ns:
        raise FailedPrecondition(
            "the snapshot's lease has ended", reason="SNAPSHOT_EXPIRED", field="as_of", value=name
        )
    return record.revision


def leased_snapshots(txn: Transaction, now_ns: int) -> list[Snapshot]:
    """Snapshots whose leases have not ended, by name."""
    # The record first: a damaged name is none, and its record says so.
    records = [
        (unpack(Table.SNAPSHOTS, key, stored, SnapshotRecord), key.decode())
        for key, stored in txn.scan(Table.SNAPSHOTS)
    ]
    # Where names are encrypted they are not stored in their order.
    records.sort(key=lambda named: named[1])
    return [
        Snapshot(name, r.revision, r.created_ns, r.expires_ns)
        for r, name in records
        if r.expires_ns > now_ns
    ]
