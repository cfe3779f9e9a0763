"""Pictures as they are to be looked at: a telephone writes them as its sensor lies, and how to turn them beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type

if TYPE_CHECKING:
    from perception.encoders.base import Frame


class Upright:
    """Turns the pictures of one stream."""

    def __init__(self) -> None:
        self._rotation: float | None = None
        self._matrix: tuple[int, int, int, int] | None = None

    def turned(self, pixels: Frame, frame: av.VideoFrame) -> Frame:
        """``pixels``, (height, width, 3), of ``frame``, turned and mirrored by quarters as its display matrix says."""
        # What lies beside a frame keeps the frame, and all its bytes, until the collector comes by: some hundred
        # pictures of 3 MB.  So it is looked at once for each rotation, which is told without.
        if frame.rotation != self._rotation:
            self._rotation, self._matrix = frame.rotation, _matrix(frame)
        if self._matrix is None:
            return pixels
        # x' = a·x + c·y, y' = b·x + d·y, downwards and to the right.
        a, b, c, d = self._matrix
        if abs(b) > abs(a):
            pixels, a, d = pixels.swapaxes(0, 1), c, b
        return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _matrix(frame: av.VideoFrame) -> tuple[int, int, int, int] | None:
    """What turns it; None where nothing does."""
    # PyAV's stubs know it as something else.
    beside = cast(SideDataContainer, frame.side_data)
    if Type.DISPLAYMATRIX not in beside:
        return None
    a, b, _, c, d = np.frombuffer(bytes(beside[Type.DISPLAYMATRIX]), np.int32)[:5].tolist()
    return a, b, c, d
