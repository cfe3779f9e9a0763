"""What is logged, told so that whoever prints the message alone is told whom it is about.

A server writes each record as JSON, with the fields of the event by their names.  A program that embeds memdb and has
set up no logging gets the bare message from Python, on stderr: so the fields stand in that as well.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from memdb.errors import quote


class EventLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose messages end with ``extra={"fields": {...}}``; ``record.event`` is the message without."""

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[str, MutableMapping[str, Any]]:
        """The message, and what goes to the logger with it."""
        extra = dict(kwargs.get("extra") or {})
        fields = extra.get("fields") or {}
        extra["event"] = str(msg)
        return f"{msg}: {_told(fields)}" if fields else str(msg), {**kwargs, "extra": extra}


def event_log(name: str) -> EventLog:
    """The log of a part of memdb."""
    return EventLog(logging.getLogger(name))


def _told(fields: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {quote(value)}" for name, value in fields.items())
