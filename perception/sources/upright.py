"""Pictures as they are to be looked at: a telephone writes them as its sensor lies, and how to turn them beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

if TYPE_CHECKING:
    from perception.encoders.base import Frame


def upright(pixels: Frame, frame: av.VideoFrame) -> Frame:
    """``pixels``, (height, width, 3), of ``frame``, turned and mirrored by quarters as its display matrix says."""
    # PyAV's stubs know it as something else.
    beside = cast(SideDataContainer, frame.side_data)
    if Type.DISPLAYMATRIX not in beside:
        return pixels
    matrix = beside[Type.DISPLAYMATRIX]
    # x' = a·x + c·y, y' = b·x + d·y, downwards and to the right.
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
