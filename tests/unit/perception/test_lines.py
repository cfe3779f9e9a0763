"""Lines of log of many cameras at once."""

from __future__ import annotations

import subprocess
import sys

CAMERAS, LINES = 8, 1000

TOLD = f"""
import threading
from perception.lines import to_stderr

def tell(camera):
    for number in range({LINES}):
        to_stderr(f"camera{{camera}} {{'x' * 80}}")

threads = [threading.Thread(target=tell, args=(camera,)) for camera in range({CAMERAS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_lines_of_many_threads_are_whole() -> None:
    done = subprocess.run([sys.executable, "-c", TOLD], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == CAMERAS * LINES
    assert set(lines) == {f"camera{camera} {'x' * 80}" for camera in range(CAMERAS)}
