"""What children are to find loaded when they are born."""

from __future__ import annotations

import gc
import importlib
from typing import Final

from memdb.engine.native import arithmetic
from memdb.index.terms import terms

LATE: Final = (
    *("faiss", "numpy.ma", "numpy.random", "lmdb._envid"),
    *("encodings.ascii", "encodings.unicode_escape"),
)
"""What memdb, or a test, loads with the first call that needs it."""


def load(*modules: str) -> None:
    """Load what children need, and `LATE`, before they are born: each would load it anew, which was most of some lives.
    What memdb finds out once in each process is found out too, but for the native edge's commit: whether that is
    right it finds out with the LMDB of the child, which may be a mutant.

    What is there by now is no garbage of theirs: to look through it would also give each a copy of all of it.
    """
    for module in (*modules, *LATE):
        importlib.import_module(module)
    arithmetic()
    terms("Caf\u00e9")
    gc.collect()
    gc.freeze()
