"""What a handle on a user does with snapshots."""

from __future__ import annotations

from typing import Protocol

from memdb.types.snapshot import Snapshot


class UserSnapshots(Protocol):
    """Revisions of a user that have a name and are kept for a while."""

    def snapshot(self, name: str, *, ttl_s: float = 600) -> Snapshot:
        """Name and lease the newest revision.  A live snapshot of that name is moved.

        ttl_s: seconds until the lease ends, 0.001 to 30 days.

        Raises `NotFound` (``USER_NOT_FOUND``), `ResourceExhausted` (``QUOTA``: 1,000 are live).
        """
        ...

    def snapshots(self) -> list[Snapshot]:
        """The snapshots whose leases have not ended, by name."""
        ...

    def release(self, name: str) -> None:
        """End a snapshot's lease.  Raises `NotFound` (``SNAPSHOT_NOT_FOUND``)."""
        ...
