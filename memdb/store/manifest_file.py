"""The file that makes a directory an archive; needs nothing that an extra brings, as exports ask for it too."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MANIFEST: Final = "manifest.json"
"""Written last."""


def is_archive(path: Path) -> bool:
    """Whether there is a manifest."""
    return (path / MANIFEST).is_file()
