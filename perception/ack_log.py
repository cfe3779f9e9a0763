"""What the server acknowledged, on the client's side: one line of JSON per sealed clip.

::

    {"stream": "porch", "epoch": 0, "seq": 3, "start_ns": ..., "end_ns": ...}

A line is written after the acknowledgement, never before, so whatever the file names must be found
again after any crash of the server.  The last acknowledgements before a crash of the agent itself
may be missing.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Self

from memdb.errors import InvalidArgument
from memdb.types.clip import Clip


class AckLog:
    """Appends to one file; shared by the cameras of an agent."""

    def __init__(self, path: Path) -> None:
        """Raises `InvalidArgument` when the file cannot be written."""
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise InvalidArgument(
                f"cannot write the log of acknowledgements: {error.strerror}",
                reason="BAD_FILE",
                field="ack-log",
                value=str(path),
            ) from error
        self._lock = threading.Lock()

    def record(self, stream: str, clip: Clip) -> None:
        """An acknowledged clip; open ones are not recorded, a later revision replaces them."""
        if not clip.sealed:
            return
        line = {
            "stream": stream,
            "epoch": clip.epoch,
            "seq": clip.seq,
            "start_ns": clip.start_ns,
            "end_ns": clip.end_ns,
        }
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
