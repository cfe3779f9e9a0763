"""What the engine logs while a command runs in this process, as lines at a prompt.

A server writes its log; a command has none, and Python would print tracebacks in its place.  `memdb.cli.main` enters it
around every command but ``serve``.
"""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Final, Self

ENGINE: Final = "memdb"
"""The logger above all of ours."""
SERVER: Final = "memdb.server"


class Logged(logging.Handler):
    """While it is entered: warnings and errors of the engine, one line each on stderr."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors = 0
        """Errors so far: what the engine went on without."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; what a server in the same process says is in its log."""
        if record.name == SERVER:
            return
        self.errors += record.levelno >= logging.ERROR
        parts = [record.getMessage()]  # with its fields, see `memdb.eventlog`
        if record.exc_info and record.exc_info[1] is not None:
            parts.append(str(record.exc_info[1]))
        print(f"memdb: {': '.join(parts)}", file=sys.stderr)

    def __enter__(self) -> Self:
        logging.getLogger(ENGINE).addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        logging.getLogger(ENGINE).removeHandler(self)
