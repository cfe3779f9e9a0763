"""The file systems that a database is put on, each made as its own tool makes it, on a small disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class FileSystem:
    """How one is made and mounted."""

    kind: str
    arguments: tuple[str, ...]
    """Of its mkfs."""
    size: int
    """Bytes; the file is sparse."""
    options: str = ""
    """Of mount."""
    together: tuple[range, ...] = ()
    """See `tests.crash.block.device`."""
    may_be_lost: bool = False
    """Whether it is known not to be mounted again after some losses of power: on Linux 6.18 the replay of btrfs's own
    log gives a directory two names, and refuses what it made."""

    @property
    def tool(self) -> str | None:
        """Where its mkfs is, if it is installed."""
        return _tool(f"mkfs.{self.kind}")

    def damage(self, image: Path) -> str:
        """What its own tool finds wrong with an image that was mounted and unmounted; empty where nothing is, and where
        the tool is none that only looks.
        """
        if self.kind != "ext4":
            return ""
        found = subprocess.run(
            [_tool("e2fsck") or "e2fsck", "-f", "-n", str(image)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        return "" if found.returncode == 0 else found.stdout[-300:].strip()

    def make(self, image: Path) -> None:
        """Make an image that holds an empty one."""
        with image.open("wb") as file:
            file.truncate(self.size)
        assert self.tool is not None, f"mkfs.{self.kind} is not installed"
        subprocess.run(
            [self.tool, *self.arguments, str(image)], check=True, capture_output=True, timeout=60
        )

    def __str__(self) -> str:
        return " ".join((self.kind, *self.arguments[-2:], self.options)).strip()


def _tool(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


_SIZE: Final = 512 << 20
"""Twice what memdb keeps free."""
# A small journal, which is gone round often; all of it made at once, so that no thread does so while it is mounted.
_LAZY: Final = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
_EXT4: Final = ("-q", "-F", "-E", _LAZY, "-N", "1024", "-J", "size=4", "-b")
_EXT4_SUPERBLOCK: Final = (range(2, 4),)

FILE_SYSTEMS: Final = {
    "ext4": (
        FileSystem("ext4", (*_EXT4, "4096"), _SIZE, "", _EXT4_SUPERBLOCK),
        # Blocks smaller than a page of LMDB.
        FileSystem("ext4", (*_EXT4, "1024"), _SIZE, "", _EXT4_SUPERBLOCK),
        FileSystem("ext4", (*_EXT4, "4096"), _SIZE, "data=writeback", _EXT4_SUPERBLOCK),
        FileSystem("ext4", (*_EXT4, "4096"), _SIZE, "data=journal", _EXT4_SUPERBLOCK),
    ),
    "xfs": (FileSystem("xfs", ("-q", "-f", "-K"), _SIZE),),
    "btrfs": (
        FileSystem("btrfs", ("-q", "-f", "-K"), _SIZE, "", (range(128, 136),), may_be_lost=True),
    ),
}
"""Of each kind those that recordings take in turns."""
