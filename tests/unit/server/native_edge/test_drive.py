"""What the sanitizers are given to run, which nobody else does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.both_edges import NEEDS_NATIVE

ROOT = Path(__file__).parents[4]


@NEEDS_NATIVE
def test_the_edge_is_driven_in_all_of_its_parts() -> None:
    done = subprocess.run(
        [sys.executable, "edge/drive.py", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    assert said.pop("left") == 0
    del said["stopped_s"]
    assert all(said.values()), said
