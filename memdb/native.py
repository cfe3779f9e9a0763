"""Whether the native edge is here: a module of C++ that memdb does without (``edge/``)."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Final

from memdb.eventlog import event_log

MODULE: Final = "memdb_edge"
INTERFACE: Final = 13
"""Of the module: another one is of another release."""

log = event_log("memdb.native")


def is_installed() -> bool:
    """Whether the edge of this release is there, and can be loaded."""
    return why_absent() is None


@cache
def why_absent() -> str | None:
    """Why there is none that can be used, for people; None where there is.  What is there and cannot be is logged."""
    if find_spec(MODULE) is None:
        return "it is not installed: pip install ./edge"
    try:
        import memdb_edge  # noqa: PLC0415 - it need not be there
    except ImportError as error:  # the system's gRPC that it was built with has gone
        fields: dict[str, object] = {"error": str(error)}
        log.warning("the native edge cannot be loaded: not used", extra={"fields": fields})
        return f"it cannot be loaded: {error}"

    found: object = getattr(memdb_edge, "interface", None)
    if found != INTERFACE:
        fields = {"interface": found, "wanted": INTERFACE}
        log.warning("the native edge is of another release: not used", extra={"fields": fields})
        return "it is of another release: pip install ./edge makes it anew"
    return None
