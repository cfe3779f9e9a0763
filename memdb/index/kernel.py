"""Where FAISS's own function for inner products lies in this process, for who calls it without Python."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

from memdb.index import faiss_later

_SYMBOL: Final = "_ZN5faiss22fvec_inner_products_nyEPfPKfS2_mm"
"""``faiss::fvec_inner_products_ny(float*, const float*, const float*, size_t, size_t)``, which
`memdb.index.flat.row_scores` calls."""


def inner_products_address() -> int | None:
    """Its address; None where the FAISS that is loaded does not tell it."""
    libraries = sorted(faiss_later.FOLDER.glob("libfaiss*.so*"))
    if (
        len(libraries) == 1
    ):  # then it is the one that Python loads: there is none for each kind of processor
        address = _address_in(libraries[0])
        if address is not None:
            return address
    faiss_later.load()
    for line in Path("/proc/self/maps").read_text().splitlines():
        file = Path(line.partition("/")[1] + line.partition("/")[2])
        if "faiss" in file.name and file.is_relative_to(faiss_later.FOLDER.parent):
            address = _address_in(file)
            if address is not None:
                return address
    return None


def _address_in(library: Path) -> int | None:
    try:
        function = getattr(ctypes.CDLL(str(library)), _SYMBOL)
    except (OSError, AttributeError):
        return None
    return ctypes.cast(function, ctypes.c_void_p).value
