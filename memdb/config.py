"""Configuration as frozen values with defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How the engine uses memory and disk."""

    open_users_max: int = 512
    """Users whose environment and indexes are held open; the least recently used is closed above it."""
    map_bytes_initial: int = 1 << 30
    """Address space reserved for a user's LMDB map; sparse, grown by doubling."""
    map_bytes_max: int = 1 << 40
    """A user's quota of map; beyond it writes fail with ``QUOTA``."""
    disk_free_bytes_min: int = 256 << 20
    """Free space of the file system under which writes are refused with ``DISK_FULL``."""
