"""A snapshot: a named, leased revision of one user's memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The memory as it stood at ``revision``; costs O(1), copies nothing."""

    name: str
    revision: int
    """The commit that the name stands for."""
    created_ns: int
    """Wall clock."""
    expires_ns: int
    """When the lease ends; until then nothing that the revision needs is collected."""
    user: str
    """Whose memory it is; another user does not know it."""
