"""Lines of log on stderr, from the threads of many cameras."""

from __future__ import annotations

import sys


def to_stderr(line: str) -> None:
    """One line, whole.  No lock: a signal's handler tells its own while another is being written."""
    # In one piece: `print` writes the end of a line by itself, and another thread's line comes between.
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
