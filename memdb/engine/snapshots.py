"""Reading snapshots: the moment that a name stands for, and which leases have not ended."""

from __future__ import annotations

from memdb.errors import DataLoss, FailedPrecondition, NotFound
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
        raise NotFound(
            "no such snapshot; a time is given as an aware datetime",
            reason="SNAPSHOT_NOT_FOUND",
            field="as_of",
            value=name,
        )
    record = unpack(Table.SNAPSHOTS, key, stored, SnapshotRecord)
    if record.expires_ns <= now_ns:
        raise _expired(name)
    return record.revision


def check_snapshot(txn: Transaction, user: str, snapshot: Snapshot, now_ns: int) -> int:
    """The revision of a snapshot that somebody holds.

    It answers while its own lease lasts and its name is there.  Where the name has come to stand for another
    moment the snapshot still stands for its own, which nothing keeps any more.  Raises `NotFound`
    (``SNAPSHOT_NOT_FOUND``) also for another user's, `FailedPrecondition` (``SNAPSHOT_EXPIRED``), field ``as_of``.
    """
    if snapshot.user != user:
        raise NotFound(
            "it is a snapshot of another user",
            reason="SNAPSHOT_NOT_FOUND",
            field="as_of",
            value=snapshot.name,
        )
    if snapshot.expires_ns <= now_ns:
        raise _expired(snapshot.name)
    snapshot_revision(txn, snapshot.name, now_ns)
    return snapshot.revision


def ended_snapshots(txn: Transaction, now_ns: int) -> list[bytes]:
    """Keys of those whose leases have ended; damaged ones are passed over, `verify` names them."""
    ended: list[bytes] = []
    for key, stored in txn.scan(Table.SNAPSHOTS):
        try:
            if unpack(Table.SNAPSHOTS, key, stored, SnapshotRecord).expires_ns <= now_ns:
                ended.append(key)
        except DataLoss:
            continue  # it must not stop the others
    return ended


def is_kept(txn: Transaction, revision: int) -> bool:
    """Whether a snapshot keeps all that the revision needs.

    One whose lease has ended does until it is collected, which a commit does that takes what it kept.
    """
    for key, stored in txn.scan(Table.SNAPSHOTS):
        try:
            if unpack(Table.SNAPSHOTS, key, stored, SnapshotRecord).revision == revision:
                return True
        except DataLoss:
            continue  # a damaged one keeps nothing that anybody could rely on
    return False


def _expired(name: str) -> FailedPrecondition:
    return FailedPrecondition(
        "the snapshot's lease has ended", reason="SNAPSHOT_EXPIRED", field="as_of", value=name
    )


def leased_snapshots(txn: Transaction, user: str, now_ns: int) -> list[Snapshot]:
    """Snapshots of ``user`` whose leases have not ended, by name."""
    # The record first: a damaged name is none, and its record says so.
    records = [
        (unpack(Table.SNAPSHOTS, key, stored, SnapshotRecord), key.decode())
        for key, stored in txn.scan(Table.SNAPSHOTS)
    ]
    # Where names are encrypted they are not stored in their order.
    records.sort(key=lambda named: named[1])
    return [
        Snapshot(name, r.revision, r.created_ns, r.expires_ns, user)
        for r, name in records
        if r.expires_ns > now_ns
    ]
