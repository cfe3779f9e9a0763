"""Fenced blocks of a page."""

from __future__ import annotations

from pathlib import Path


def python_blocks(page: Path) -> list[str]:
    """Those marked ``python``, in order."""
    return blocks_of(page, "python")


def blocks_of(page: Path, language: str) -> list[str]:
    """Those marked with the language, in order."""
    blocks: list[str] = []
    current: list[str] | None = None
    for line in page.read_text().splitlines():
        if current is not None and line.startswith("```"):
            blocks.append("\n".join(current))
            current = None
        elif current is not None:
            current.append(line)
        elif line.strip() == f"```{language}":
            current = []
    return blocks
