"""Where FAISS's own function for inner products lies in this process, for who calls it without Python."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

import faiss

_SYMBOL: Final = "_ZN5faiss22fvec_inner_products_nyEPfPKfS2_mm"
"""``faiss::fvec_inner_products_ny(float*, const float*, const float*, size_t, size_t)``, which
`memdb.index.flat.row_scores` calls."""


def inner_products_address() -> int | None:
    """Its address; None where the FAISS that is loaded does not tell it."""
    folder = Path(faiss.__file__).resolve().parent
    for line in Path("/proc/self/maps").read_text().splitlines():
        file = line.partition("/")[1] + line.partition("/")[2]
        if "faiss" not in Path(file).name or not _is_within(file, folder.parent):
            continue
        try:
            function = getattr(ctypes.CDLL(file), _SYMBOL)
        except (OSError, AttributeError):
            continue
        return ctypes.cast(function, ctypes.c_void_p).value
    return None


def _is_within(file: str, folder: Path) -> bool:
    return Path(file).is_relative_to(folder)
