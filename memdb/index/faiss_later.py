"""FAISS, loaded with the first function that is asked of it: ``from memdb.index import faiss_later as faiss``.

Its Python part takes 30 ms of a processor, which a server spends once it listens (`load`); what calls FAISS without
Python needs none of it (`memdb.index.kernel`).
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

MODULE: Final = "faiss"

_spec = find_spec(MODULE)
if _spec is None or _spec.origin is None:
    # Now, and not with the first question.
    raise ModuleNotFoundError(f"No module named {MODULE!r}", name=MODULE)
FOLDER: Final = Path(_spec.origin).resolve().parent
"""Where it lies."""


def load() -> None:
    """Load it; raises `ImportError` where that cannot be done."""
    import_module(MODULE)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        # Python asks every module for some of these: an ``import`` from this one would load FAISS, and find its parts.
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    found = getattr(import_module(MODULE), name)
    globals()[name] = found  # the next time it is an attribute like any
    return found
