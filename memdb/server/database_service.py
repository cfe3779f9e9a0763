"""DatabaseService: spaces, verification and backup."""

from __future__ import annotations

from pathlib import Path

from memdb.engine.database import EmbeddedDatabase
from memdb.errors import FailedPrecondition, InvalidArgument, PermissionDenied
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
        path = self._archive_path(request.path, "path")
        parent = self._archive_path(request.parent, "parent") if request.parent else None
        return backup_to_proto(self._database.backup(path, parent=parent))

    def _archive_path(self, text: str, field: str) -> Path:
        """Where a caller may write: below the backup directory, whatever links lead to."""
        if not self._backup_dir:
            raise FailedPrecondition(
                "the server has no server.backup_dir", reason="BACKUP_DISABLED", field=field
            )
        root = Path(self._backup_dir).resolve()
        if not text or "\0" in text:
            raise InvalidArgument(
                "expected the path of an archive", reason="BAD_PATH", field=field, value=text
            )
        path = root / text
        # The last part is the archive's own name, which must not be a link.
        inside = path.parent.resolve().is_relative_to(root)
        if not inside or path.name in ("", ".", "..") or path.resolve() == root:
            raise PermissionDenied(
                "archives lie below the server's backup_dir",
                reason="PATH_OUTSIDE",
                field=field,
                value=text,
            )
        return path.parent.resolve() / path.name
