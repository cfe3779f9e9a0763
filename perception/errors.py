"""What can go wrong before a clip reaches memdb; all of it under the one tree of `memdb.errors`.

::

    MemdbError
    ├── Unavailable
    │   └── WeightsUnavailable   a pinned file could not be fetched (no network, package gone)
    ├── DataLoss
    │   └── WeightsDamaged       fetched bytes are not the pinned ones; they are never used
    ├── NotFound
    │   └── SourceNotFound       no such file or device, or nothing answers at the address
    └── InvalidArgument
        └── SourceUnreadable     it opens, but is no media, has nothing to see or hear, or breaks off
"""

from __future__ import annotations

from typing import ClassVar

from memdb.errors import DataLoss, InvalidArgument, NotFound, Unavailable


class WeightsUnavailable(Unavailable):
    """A pinned artefact is not in the cache and its package could not be fetched."""

    default_reason: ClassVar[str] = "WEIGHTS_UNAVAILABLE"


class WeightsDamaged(DataLoss):
    """The bytes of an artefact differ from the pinned hash."""

    default_reason: ClassVar[str] = "WEIGHTS_DAMAGED"


class SourceNotFound(NotFound):
    """The source of a camera does not exist or does not answer."""

    default_reason: ClassVar[str] = "SOURCE_NOT_FOUND"


class SourceUnreadable(InvalidArgument):
    """The source of a camera is not something we can decode."""

    default_reason: ClassVar[str] = "SOURCE_UNREADABLE"


__all__ = ["SourceNotFound", "SourceUnreadable", "WeightsDamaged", "WeightsUnavailable"]
