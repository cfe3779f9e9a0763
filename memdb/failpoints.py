"""Named places where a test may kill, stop or fail the process; free of cost and effect unless
switched on.

Switched on by the environment variable ``MEMDB_FAILPOINTS``, read once at import: a comma-separated
list of ``name=action[@n]`` with ``action`` one of ``exit`` (``os._exit(137)``, as kill -9 would),
``error`` (raise `FailpointError`) and ``stall`` (wait for ever; the test kills from outside);
``@n`` acts at the n-th hit (default the first).  Names say which side of a durability step they
stand on: ``commit.before``, ``commit.after``.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field


class FailpointError(Exception):
    """Raised at a failpoint whose action is ``error``."""


@dataclass(slots=True)
class _Armed:
    action: str
    at_hit: int
    hits: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def _parse(text: str) -> dict[str, _Armed]:
    armed: dict[str, _Armed] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, rest = part.partition("=")
        action, _, at_hit = rest.partition("@")
        if action not in ("exit", "error", "stall"):
            raise ValueError(f"failpoint {name}: unknown action {action!r}")
        armed[name] = _Armed(action, int(at_hit or 1))
    return armed


_armed = _parse(os.environ.get("MEMDB_FAILPOINTS", ""))


def hit(name: str) -> None:
    """Pass the failpoint ``name``; does nothing unless it is armed."""
    if not _armed:
        return
    point = _armed.get(name)
    if point is None:
        return
    with point.lock:
        point.hits += 1
        if point.hits != point.at_hit:
            return
    if point.action == "exit":
        os._exit(137)
    if point.action == "error":
        raise FailpointError(name)
    threading.Event().wait()


def arm(text: str) -> None:
    """Replace what is armed (tests in the same process); an empty string disarms everything."""
    global _armed  # noqa: PLW0603 - the switchboard is process-wide by purpose
    _armed = _parse(text)
