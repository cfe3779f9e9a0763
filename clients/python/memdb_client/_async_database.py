"""A database behind an address."""

from __future__ import annotations

import os
from typing import Self

from memdb.types.backup import BackupReport
from memdb.types.change import Verification
from memdb.types.handle import Handle
from memdb.types.ids import check_id
from memdb.types.paths import checked_path
from memdb.types.retention import SweepReport
from memdb.types.space import Space
from memdb.v1 import database_service_pb2 as db_pb
from memdb.wire.backup import backup_from_proto
from memdb.wire.retention import sweep_from_proto
from memdb.wire.spaces import space_from_proto, space_to_proto, verification_from_proto
from memdb.wire.users import list_users_request
from memdb_client._async_rpc import AsyncRpc
from memdb_client._async_user import AsyncUser
from memdb_client._options import Repeat, Target, whole_timeout_s


class AsyncDatabase(Handle):
    """A memdb behind an address; as `memdb.types.database.Database`.

    Every method may also raise `Unavailable` (not reachable within the deadline; ``CLOSED`` after
    `close`), `DeadlineExceeded`, `Unauthenticated` and `PermissionDenied`.
    """

    def __init__(self, target: Target) -> None:
        self._rpc = AsyncRpc(target)
        self._address = target.address

    async def create_space(
        self, name: str, *, dim: int, metric: str = "cosine", model: str = ""
    ) -> Space:
        """Create a space; the same definition again is no error, another raises `AlreadyExists`
        (``SPACE_EXISTS``).
        """
        space = Space(name, dim, metric, model)
        answer = await self._rpc.call(
            self._rpc.databases.CreateSpace, db_pb.CreateSpaceRequest(space=space_to_proto(space))
        )
        return space_from_proto(answer.space)

    async def space(self, name: str) -> Space:
        """The space called ``name``; raises `NotFound` (``SPACE_NOT_FOUND``)."""
        answer = await self._rpc.call(
            self._rpc.databases.GetSpace, db_pb.GetSpaceRequest(name=check_id(name, "space"))
        )
        return space_from_proto(answer.space)

    async def spaces(self) -> list[Space]:
        """Every space, by name."""
        answer = await self._rpc.call(self._rpc.databases.ListSpaces, db_pb.ListSpacesRequest())
        return [space_from_proto(space) for space in answer.spaces]

    def user(self, user_id: str) -> AsyncUser:
        """A handle on a user; asks nobody."""
        return AsyncUser(self._rpc, user_id)

    async def users(self, *, limit: int | None = None, after: str | None = None) -> list[str]:
        """Ids of users, sorted: all, or at most ``limit`` of those behind the id ``after``, the last of the
        page before, which may have been erased since.
        """
        request = list_users_request(limit=limit, after=after)
        found: list[str] = []
        while True:
            answer = await self._rpc.call(self._rpc.users.ListUsers, request)
            found += answer.users
            if not answer.more:
                return found
            request.after = found[-1]
            request.limit = 0 if limit is None else limit - len(found)

    async def verify(self, *, timeout_s: float | None = None) -> Verification:
        """Check every stored value of every user and that the indexes equal the store.

        timeout_s: see `memdb_client.connect`.
        """
        answer = await self._rpc.call(
            self._rpc.databases.Verify,
            db_pb.VerifyRequest(),
            timeout_s=whole_timeout_s(timeout_s, self._rpc.timeout_s),
        )
        return verification_from_proto(answer)

    async def sweep(self, *, timeout_s: float | None = None) -> SweepReport:
        """Give up what the policies of all streams say, as the server does by itself.

        A user that cannot be swept keeps nobody else from it: see `SweepReport.unswept`.  Where less than 32 MiB are
        free beyond ``engine.disk_free_bytes_min``, files that hold many freed pages are made anew without them.

        timeout_s: see `memdb_client.connect`.
        """
        answer = await self._rpc.call(
            self._rpc.databases.Sweep,
            db_pb.SweepRequest(),
            timeout_s=whole_timeout_s(timeout_s, self._rpc.timeout_s),
        )
        return sweep_from_proto(answer)

    async def backup(
        self,
        path: str | os.PathLike[str],
        *,
        parent: str | os.PathLike[str] | None = None,
        timeout_s: float | None = None,
    ) -> BackupReport:
        """Write an archive on the server's machine: ``path`` and ``parent`` are below its
        ``backup_dir``.

        timeout_s: see `memdb_client.connect`.
        """
        request = db_pb.BackupRequest(
            path=checked_path(path, "path"),
            parent="" if parent is None else checked_path(parent, "parent"),
        )
        answer = await self._rpc.call(
            self._rpc.databases.Backup,
            request,
            repeat=Repeat.UNSENT,
            timeout_s=whole_timeout_s(timeout_s, self._rpc.timeout_s),
        )
        return backup_from_proto(answer)

    async def close(self) -> None:
        """End every call and the connection; afterwards calls raise `Unavailable` (``CLOSED``)."""
        await self._rpc.close()

    def __repr__(self) -> str:
        # Of the token nothing: it stands in logs and tracebacks.
        return f"<{type(self).__name__} {self._address}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
