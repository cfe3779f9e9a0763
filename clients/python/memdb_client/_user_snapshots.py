# Generated from _async_user_snapshots.py by clients/python/tools/unasync.py: do not edit.
# ruff: noqa: C416, RUF100, UP028 - written as asyncio needs it
"""`memdb.types.database.user_snapshots.UserSnapshots` behind an address."""

from __future__ import annotations

from memdb.types.ids import check_id
from memdb.types.snapshot import Snapshot
from memdb.v1 import user_service_pb2 as user_pb
from memdb.wire.snapshots import snapshot_from_proto
from memdb.wire.users import snapshot_request
from memdb_client._one_user import OneUser
from memdb_client._options import Repeat


class UserSnapshots(OneUser):
    """The user's snapshots."""

    def snapshot(self, name: str, *, ttl_s: float = 600) -> Snapshot:
        """Name and lease the newest revision.  A live snapshot of that name is moved."""
        answer = self._rpc.call(
            self._rpc.users.CreateSnapshot,
            snapshot_request(self._id, name, ttl_s=ttl_s),
            repeat=Repeat.UNSENT,
        )
        return snapshot_from_proto(answer.snapshot, self._id)

    def snapshots(self) -> list[Snapshot]:
        """Live snapshots, by name."""
        answer = self._rpc.call(
            self._rpc.users.ListSnapshots, user_pb.ListSnapshotsRequest(user=self._id)
        )
        return [snapshot_from_proto(snapshot, self._id) for snapshot in answer.snapshots]

    def release(self, name: str) -> None:
        """End a snapshot's lease."""
        self._rpc.call(
            self._rpc.users.ReleaseSnapshot,
            user_pb.ReleaseSnapshotRequest(user=self._id, name=check_id(name, "snapshot")),
            repeat=Repeat.UNSENT,
        )
