"""`memdb.types.database.user_snapshots.UserSnapshots` of an embedded user."""

from __future__ import annotations

from memdb.engine.one_user import OneUser
from memdb.engine.snapshots import leased_snapshots
from memdb.store.schema import Table
from memdb.types.arguments import checked_ttl_s
from memdb.types.database.user_snapshots import UserSnapshots
from memdb.types.documented import documented_by
from memdb.types.ids import check_id
from memdb.types.operation import PutSnapshot, ReleaseSnapshot
from memdb.types.snapshot import Snapshot


@documented_by(UserSnapshots)
class EmbeddedUserSnapshots(OneUser):
    """The user's snapshots."""

    def snapshot(self, name: str, *, ttl_s: float = 600) -> Snapshot:
        name = check_id(name, "snapshot")
        ttl_s = checked_ttl_s(ttl_s)
        now_ns = self._clock.now_ns()
        return self.commit(PutSnapshot(name, now_ns, now_ns + int(ttl_s * 1e9)), Snapshot)

    def snapshots(self) -> list[Snapshot]:
        now_ns = self._clock.now_ns()
        with self._users.use(self._id) as memory, memory.environment.read() as txn:
            memory.view.quarantine.check(Table.SNAPSHOTS)
            return leased_snapshots(txn, self._id, now_ns)

    def release(self, name: str) -> None:
        self.commit(ReleaseSnapshot(check_id(name, "snapshot")), int)
