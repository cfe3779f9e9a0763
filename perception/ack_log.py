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

from memdb.errors import FailedPrecondition, InvalidArgument
from memdb.types.clip import Clip


class AckLog:
    """Appends to one file; shared by the cameras of an agent."""

    def __init__(self, path: Path) -> None:
        """Raises `InvalidArgument` when the file cannot be written."""
        try:
            # Without a buffer: what a full disk did not take is not tried again as the file is closed.
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise InvalidArgument(
                f"cannot write the log of acknowledgements: {error.strerror}",
                reason="BAD_FILE",
                field="ack-log",
                value=str(path),
            ) from error
        self._path = path
        self._lock = threading.Lock()

    def record(self, stream: str, clip: Clip) -> None:
        """An acknowledged clip; open ones are not recorded, a later revision replaces them.

        Raises `FailedPrecondition` (``OUTPUT_LOST``) where the disk does not take the line: the clip is stored.
        """
        if not clip.sealed:
            return
        line = {
            "stream": stream,
            "epoch": clip.epoch,
            "seq": clip.seq,
            "start_ns": clip.start_ns,
            "end_ns": clip.end_ns,
        }
        rest = json.dumps(line).encode() + b"\n"
        try:
            with self._lock:
                while rest:
                    rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise FailedPrecondition(
                f"cannot write the log of acknowledgements: {error.strerror}; what the server acknowledged is stored, "
                "and the same command goes on behind it",
                reason="OUTPUT_LOST",
                field="ack-log",
                value=str(self._path),
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
