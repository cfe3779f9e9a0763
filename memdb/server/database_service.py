"""DatabaseService: spaces, verification and backup."""

from __future__ import annotations

from memdb.engine.database import EmbeddedDatabase
from memdb.errors import InvalidArgument
from memdb.server.backup_dir import archive_path
from memdb.server.methods import commits, whole
from memdb.v1 import database_service_pb2 as pb
from memdb.wire.backup import backup_to_proto
from memdb.wire.retention import sweep_to_proto
from memdb.wire.spaces import space_from_proto, space_to_proto, verification_to_proto


class DatabaseService:
    """A database."""

    def __init__(self, database: EmbeddedDatabase, backup_dir: str) -> None:
        """backup_dir: below which archives may be written; empty: nowhere."""
        self._database = database
        self._backup_dir = backup_dir

    @commits
    def create_space(self, request: pb.CreateSpaceRequest) -> pb.CreateSpaceResponse:
        """Create a space."""
        if not request.HasField("space"):
            raise InvalidArgument("no space", reason="EMPTY", field="space")
        wanted = space_from_proto(request.space)
        space = self._database.create_space(
            wanted.name, dim=wanted.dim, metric=wanted.metric, model=wanted.model
        )
        return pb.CreateSpaceResponse(space=space_to_proto(space))

    def get_space(self, request: pb.GetSpaceRequest) -> pb.GetSpaceResponse:
        """One space."""
        return pb.GetSpaceResponse(space=space_to_proto(self._database.space(request.name)))

    def list_spaces(self, request: pb.ListSpacesRequest) -> pb.ListSpacesResponse:
        """Every space."""
        spaces = self._database.spaces()
        return pb.ListSpacesResponse(spaces=[space_to_proto(space) for space in spaces])

    @whole
    def verify(self, request: pb.VerifyRequest) -> pb.VerifyResponse:
        """Check every stored value and every index."""
        return verification_to_proto(self._database.verify())

    @whole
    def sweep(self, request: pb.SweepRequest) -> pb.SweepResponse:
        """Give up what the policies of streams say."""
        return sweep_to_proto(self._database.sweep())

    @whole
    def backup(self, request: pb.BackupRequest) -> pb.BackupResponse:
        """Write an archive."""
        path = archive_path(self._backup_dir, request.path, "path")
        parent = None
        if request.parent:
            parent = archive_path(self._backup_dir, request.parent, "parent")
        return backup_to_proto(self._database.backup(path, parent=parent))
