"""Checks of the arrays that cross the boundary; everything inside trusts what passed here.

Accepted dtypes are float32 and float16, little-endian; results are C-contiguous, read-only, and
nobody else's to write: the elements of an array that its owner can still change are copied.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from memdb.errors import InvalidArgument
from memdb.types.limits import DIM_MAX, SHORT_MEMORY_BYTES_MAX, TOKENS_MAX

Array = npt.NDArray[Any]

VectorLike = Array | Sequence[float]
"""What callers may pass as a vector, (dim,): an array, float32 or float16, or a list of numbers, taken as float32."""

RowsLike = Array | Sequence[VectorLike]
"""What callers may pass as several, (rows, dim): an array as above, or a list of such vectors, taken as float32."""

_F32, _F16 = np.dtype("<f4"), np.dtype("<f2")
_FLOATS = (_F32, _F16)
_I16, _U16 = np.dtype(np.int16), np.dtype(np.uint16)
_largest: Final = np.maximum.reduce
"""The ufunc itself: a clip is tested twice on its way, and `max` takes as long again before it comes to it."""
_ALL_ONES: Final = bytes(byte for byte in range(256) if byte & 0x7C == 0x7C)
"""High bytes of float16 whose exponent is all ones."""
_FEW: Final = 4096
"""Elements of a vector, of which a copy costs nothing; less than `DIM_MAX`."""


_look: Callable[[Array], bool] | None = None


def look_by(look: Callable[[Array], bool]) -> None:
    """Have ``look`` say from now on whether a float16 array, in one piece, of more than `_FEW` elements is finite.

    It is for one that keeps the interpreter's lock: numpy lets go of it, and beside other threads that write a clip is
    then looked through for 0.2 ms in the place of 0.02.
    """
    global _look  # noqa: PLW0603 - one for the process: what is checked has no owner yet
    _look = look


def is_finite(array: Array) -> bool:
    """Whether no element is NaN or infinite.

    float16 is tested on its bits, 20x quicker than `numpy.isfinite`: with exponent all ones a
    positive element is at least 0x7C00 as int16, a negative one at least 0xFC00 as uint16, and no
    finite element is.

    Of few elements by no call that lets go of the interpreter's lock, or by one in the place of two:
    beside other threads that costs ten times the look.
    """
    if array.size == 0:
        return True
    if array.dtype == _F16:
        if array.size <= _FEW:
            high = array.tobytes()[1::2]
            return len(high.translate(None, _ALL_ONES)) == len(high)
        bits = np.ascontiguousarray(array)
        if _look is not None:
            return _look(bits)
        return bool(
            _largest(bits.view(_I16), axis=None) < 0x7C00
            and _largest(bits.view(_U16), axis=None) < 0xFC00
        )
    if array.size <= _FEW and array.dtype == _F32 and _are_far(array.tobytes()):
        return True
    finite = np.isfinite(array)
    if finite.size <= _FEW:
        return b"\0" not in finite.tobytes()
    return bool(finite.all())


def _are_far(data: bytes) -> bool:
    """Whether no float32 is so near to infinity (from 2**127) that one of them may be infinite, or NaN: by the high
    byte, which has two values then.
    """
    high = data[3::4]
    return 0x7F not in high and 0xFF not in high


def _is_masked(value: object) -> bool:
    """Whether it is one of `numpy.ma`, which is not loaded to find that out: it takes 10 ms of a process's first
    question, and whoever has a masked array has loaded it.
    """
    masked = sys.modules.get("numpy.ma")
    return isinstance(value, getattr(masked, "MaskedArray", ()))


def _as_array(value: object, field: str) -> Array:
    """An array, or a list of numbers as float32."""
    if type(value) is np.ndarray:
        return value
    if _is_masked(value):
        raise InvalidArgument(
            "a masked array would lose its mask",
            reason="BAD_DTYPE",
            field=field,
            value=type(value).__name__,
        )
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, (list, tuple)):
        raise InvalidArgument(
            "expected a numpy array or a list of numbers; of a tensor .detach().cpu().numpy() makes one",
            reason="BAD_DTYPE",
            field=field,
            value=type(value).__name__,
        )
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        array = np.asarray(None)  # ragged, or no numbers: refused below
    if array.dtype.kind not in "iuf":
        raise InvalidArgument(
            "not an array of numbers", reason="BAD_DTYPE", field=field, value=type(value).__name__
        )
    with np.errstate(over="ignore"):
        # What float32 cannot hold becomes infinite, and is refused as that.
        return array.astype(np.float32)


def _may_change(array: Array) -> bool:
    """Whether somebody can write to the elements: through the array, or through what it views."""
    base: object = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return True
        base = base.base
    return not (base is None or isinstance(base, bytes))


def _checked(value: object, field: str, ndim: int) -> Array:
    array = _as_array(value, field)
    if array.dtype not in _FLOATS:
        raise InvalidArgument(
            "dtype must be float32 or float16; .astype(numpy.float32) makes it that",
            reason="BAD_DTYPE",
            field=field,
            value=str(array.dtype),
        )
    if array.ndim != ndim:
        wanted = "(dim,), one vector" if ndim == 1 else "(rows, dim), also of one row"
        raise InvalidArgument(
            f"expected the shape {wanted}", reason="BAD_SHAPE", field=field, value=array.shape
        )
    if array.size == 0:
        raise InvalidArgument("array is empty", reason="EMPTY", field=field, value=array.shape)
    if array.shape[-1] > DIM_MAX:
        raise InvalidArgument(
            f"dim exceeds {DIM_MAX}", reason="BAD_SHAPE", field=field, value=array.shape
        )
    if _may_change(array):
        # Copied before it is looked at: what was checked is what is stored.
        if ndim == 1:
            array = np.frombuffer(array.tobytes(), array.dtype)  # as above, of one vector
        else:
            array = np.array(array, order="C", copy=True, subok=False)
            array.flags.writeable = False
    elif not array.flags.c_contiguous or type(array) is not np.ndarray:
        array = np.ascontiguousarray(array)
        array.flags.writeable = False
    if not is_finite(array):
        raise InvalidArgument(
            "array has NaN or infinite elements", reason="NOT_FINITE", field=field
        )
    return array


def plain_elements(array: Array) -> bytes | None:
    """The elements of a (dim,) float32 array that is seen at once to be a vector, as nearly all questions are; None of
    any other, also of one that is a vector, which `as_vector` can tell.
    """
    if array.ndim == 1 and array.dtype == _F32 and 0 < array.size <= _FEW:
        data = array.tobytes()
        if _are_far(data):
            return data
    return None


def as_vector(value: object, field: str) -> Array:
    """A finite (dim,) float32 or float16 array; a (1, dim) array is flattened.

    Raises `InvalidArgument` with reason ``BAD_DTYPE``, ``BAD_SHAPE``, ``EMPTY`` or ``NOT_FINITE``.
    """
    if type(value) is np.ndarray:
        data = plain_elements(value)
        if data is not None:
            copied = _may_change(value) or not value.flags.c_contiguous
            return np.frombuffer(data, _F32) if copied else value
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[0] == 1:
        value = value[0]
    return _checked(value, field, 1)


def as_tokens(value: object, field: str) -> Array:
    """A finite (tokens, dim) float32 or float16 array within the stated maxima; raises as
    `as_vector`.
    """
    array = _checked(value, field, 2)
    if array.shape[0] > TOKENS_MAX:
        raise InvalidArgument(
            f"more than {TOKENS_MAX} tokens", reason="BAD_SHAPE", field=field, value=array.shape
        )
    if array.size * 2 > SHORT_MEMORY_BYTES_MAX:
        raise InvalidArgument(
            f"more than {SHORT_MEMORY_BYTES_MAX} bytes as float16",
            reason="TOO_LARGE",
            field=field,
            value=array.shape,
        )
    return array


def check_dim(array: Array, dim: int, field: str) -> None:
    """Raise `InvalidArgument` (``DIM_MISMATCH``) unless the last axis of ``array`` has ``dim``
    elements.
    """
    if array.shape[-1] != dim:
        raise InvalidArgument(
            f"expected dim {dim}", reason="DIM_MISMATCH", field=field, value=array.shape[-1]
        )
