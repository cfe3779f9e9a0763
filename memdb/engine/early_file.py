"""The checkpoint by which a large user answers before its store was looked through (`memdb.engine.early_rows`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from memdb.index.checked_file import CheckedFile
from memdb.index.checkpoint import BadCheckpoint, KeptUser
from memdb.index.planes import Planes
from memdb.store.derived import DERIVED_FILE

if TYPE_CHECKING:
    from memdb.engine.warmed import Warmed

EARLY_BYTES_MIN: Final = 32 << 20
"""Of the file: of a smaller one all is looked through in a tenth of a second."""


class EarlyFile(Protocol):
    """Mapped at first (`memdb.index.checked_file`), or in memory already (`memdb.index.warm_file`)."""

    def read(self, owner: bytes, revision: int) -> KeptUser:
        """What it keeps; raises `BadCheckpoint` for one of another user or of a later revision, `OSError`."""

    def copied(self, planes: Planes) -> Planes:
        """Rows of it in memory; raises as `memdb.index.checkpoint_reader.read_checkpoint`."""

    def close(self) -> None:
        """Let go of it; its rows stay."""


def early_file(folder: Path, warmed: Warmed | None) -> EarlyFile | None:
    """The file of a user, where it is one by which it may answer early; what was not read ahead a thread begins to."""
    path = folder / DERIVED_FILE
    warm = None if warmed is None else warmed.take(path)
    if warm is not None:
        return warm
    try:
        return CheckedFile(path) if path.stat().st_size >= EARLY_BYTES_MIN else None
    except (BadCheckpoint, OSError):
        return None  # whoever loads it says so
    except RuntimeError:
        return None  # no thread to be had
