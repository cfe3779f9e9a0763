"""Snapshots as messages."""

from __future__ import annotations

from memdb.types.snapshot import Snapshot
from memdb.v1 import types_pb2 as pb


def snapshot_to_proto(snapshot: Snapshot) -> pb.Snapshot:
    """A snapshot as a message."""
    return pb.Snapshot(
        name=snapshot.name,
        revision=snapshot.revision,
        created_ns=snapshot.created_ns,
        expires_ns=snapshot.expires_ns,
        user=snapshot.user,
    )


def snapshot_from_proto(message: pb.Snapshot, user: str = "") -> Snapshot:
    """The snapshot of a message; ``user`` where an earlier release did not say whose it is."""
    return Snapshot(
        message.name,
        message.revision,
        message.created_ns,
        message.expires_ns,
        message.user or user,
    )
