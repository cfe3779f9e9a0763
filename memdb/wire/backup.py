"""The report of a backup."""

from __future__ import annotations

from memdb.types.backup import BackupReport
from memdb.v1 import database_service_pb2 as pb


def backup_to_proto(report: BackupReport) -> pb.BackupResponse:
    """A report as a message."""
    return pb.BackupResponse(
        path=report.path,
        id=report.id,
        parent=report.parent or "",
        users=report.users,
        full=report.full,
        incremental=report.incremental,
        unchanged=report.unchanged,
        bytes_written=report.bytes_written,
        damaged=report.damaged,
    )


def backup_from_proto(message: pb.BackupResponse) -> BackupReport:
    """The report of a message."""
    return BackupReport(
        path=message.path,
        id=message.id,
        parent=message.parent or None,
        users=message.users,
        full=message.full,
        incremental=message.incremental,
        unchanged=message.unchanged,
        bytes_written=message.bytes_written,
        damaged=tuple(message.damaged),
    )
