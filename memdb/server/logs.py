"""One JSON object a line on stderr: time, level, logger, event, and the fields of the event.

Nothing that is logged waits for whoever reads it: see `memdb.server.log_lines`.

Every character beyond printable ASCII is escaped, so no value can forge a line or move a terminal's
cursor.  Fields are ids, counts and reasons; tensors and credentials are never logged.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, TextIO

from memdb.server.log_lines import LineHandler


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; ``extra={"fields": {...}}`` adds the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "event", None) or record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line |= fields
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        text = json.dumps(line, default=repr)
        # json leaves DEL as it is; it is the one control character above the space.
        return text.replace("\x7f", "\\u007f")


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Send every record of ``level`` and above to ``stream`` (stderr when None) as JSON."""
    handler = _handler(sys.stderr) if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # asyncio reports every slow callback and connection at debug; nobody asked for that.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    # FAISS reports each kind of processor that it has no library for.
    logging.getLogger("faiss").setLevel(logging.WARNING)
    # gRPC reports the loop that it runs on at each of several steps of a call; likewise.
    logging.getLogger("grpc._cython.cygrpc").setLevel(logging.INFO)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_of_ours)


def _is_of_ours(record: logging.LogRecord) -> bool:
    """Whether a record of gRPC tells of something here: not that an answer could not be sent since its caller had left.

    That is an error of every call whose deadline passes while its answer goes out, with the traceback of gRPC's own
    lines: a page of the log for each, which says nothing, and as many as a peer likes.
    """
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ != "ExecuteBatchError"


def _handler(stream: TextIO) -> logging.Handler:
    try:
        return LineHandler(stream.fileno(), _dropped)
    except OSError:  # nothing of the system's: another object stands in for it
        return logging.StreamHandler(stream)


def _dropped(lines: int) -> logging.LogRecord:
    """What is told of lines that nobody took."""
    return logging.makeLogRecord(
        {
            "name": "memdb.server",
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "msg": "lines of the log were dropped, since nobody read them",
            "fields": {"lines": lines},
        }
    )
