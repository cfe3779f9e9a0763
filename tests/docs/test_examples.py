"""The examples of the README run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python_blocks(page: Path) -> list[str]:
    """Fenced blocks marked ``python``, in order."""
    blocks: list[str] = []
    current: list[str] | None = None
    for line in page.read_text().splitlines():
        if current is not None and line.startswith("```"):
            blocks.append("\n".join(current))
            current = None
        elif current is not None:
            current.append(line)
        elif line.strip() == "```python":
            current = []
    return blocks


@pytest.mark.parametrize("page", ["README.md"])
def test_examples_run(page: str, tmp_path: Path) -> None:
    blocks = python_blocks(ROOT / page)
    assert blocks
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_every_page_that_is_linked_exists() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for part in page.read_text().split("](")[1:]:
            target = part.partition(")")[0]
            if not target.startswith(("http", "#")):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
