"""The examples of the README and of the tour run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import python_blocks

ROOT = Path(__file__).parents[2]


def test_examples_run_one_after_the_other(tmp_path: Path) -> None:
    """In one directory, as somebody does who reads the README first and goes on."""
    for page in ("README.md", "docs/tour.md"):
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
            assert done.returncode == 0, (page, done.stderr)


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_that_is_linked_exists() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for part in page.read_text().split("](")[1:]:
            target = part.partition(")")[0]
            if not target.startswith("http"):
                path, _, anchor = target.partition("#")
                linked = page.parent / path if path else page
                assert linked.exists(), f"{page.name} links to {target}"
                if anchor:
                    assert anchor in anchors(linked), f"{page.name} links to {target}"
