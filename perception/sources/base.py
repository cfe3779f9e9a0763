"""What a source is: sampled frames and sound, in the order of the medium.

Times are nanoseconds of media time: 0 is the first picture, or the first sound where there are no
pictures.  Frames lie on a grid: the first picture of each period ``[k·period, (k + 1)·period)``
stands for it and carries ``k·period``.  So the frames of a medium, and the clips cut from them, are
the same wherever reading began.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from perception.encoders.base import Frame

AUDIO_RATE_HZ: Final = 16_000
"""Samples a second of all sound, mono."""

NS_PER_S: Final = 1_000_000_000

HOLE_NS: Final = 10 * NS_PER_S
"""So long without pictures of a live source, or without sound alone: nobody knows what there was, and no clip lasts
over it."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One sampled picture."""

    time_ns: int
    """Its place on the grid, in media time."""
    pixels: Frame


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """A run of sound; chunks follow each other without holes, in which silence is put."""

    first_sample: int
    """Place of the first sample on the 16 kHz grid of media time; may be negative."""
    samples: Samples
    """(n,) in [−1, 1]."""
    is_hole: bool = False
    """Whether it is silence of which nobody knows what there was: `HOLE_NS` or more of it, in one chunk or several."""


MediaItem = VideoFrame | AudioChunk


class Source(Protocol):
    """One medium that can be read from its beginning, or on from some media time."""

    @property
    def is_live(self) -> bool:
        """Whether it plays only once: it cannot be resumed, and its clock is the wall's."""
        ...

    @property
    def keeps_time(self) -> bool:
        """Whether it goes on whether or not it is read: what is not read in time is lost, or its sender leaves."""
        ...

    @property
    def has_video(self) -> bool:
        """Whether there will be `VideoFrame` items."""
        ...

    @property
    def has_audio(self) -> bool:
        """Whether there will be `AudioChunk` items."""
        ...

    @property
    def damaged(self) -> int:
        """Packets so far that could not be decoded, and were passed over."""
        ...

    def items(self, *, frames_from_ns: int = 0) -> Iterator[MediaItem]:
        """Frames from ``frames_from_ns`` on, and all sound from the beginning.

        Sound is given in full, because what is heard depends on what was heard before; see
        `perception.audio.listener`.  Raises `SourceUnreadable` when the medium breaks off.
        """
        ...

    def close(self) -> None:
        """Let go of the medium; an iteration under way ends."""
        ...
