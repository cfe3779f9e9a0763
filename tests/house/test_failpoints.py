"""Every place where a test may kill the process is one where a test does."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAILPOINTS_MIN = 25


def test_every_failpoint_is_killed_somewhere() -> None:
    names = {
        name
        for path in (ROOT / "memdb").rglob("*.py")
        for name in re.findall(r'failpoints\.hit\("([a-z_.]+)"\)', path.read_text("utf-8"))
    }
    assert len(names) >= FAILPOINTS_MIN
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    # Some tests name a point by its family and its step apart.
    missing = [
        name
        for name in sorted(names)
        if name not in tests
        and f'"{name.partition(".")[2]}"' not in tests
        and f'"{name.partition(".")[0]}.{{' not in tests
    ]
    assert missing == []
