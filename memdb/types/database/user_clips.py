"""What a handle on a user tells of its clips without a question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from memdb.types.arrays import Array
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.clip import StoredClip
from memdb.types.grounding import AsOf
from memdb.types.label_count import LabelCount
from memdb.types.label_filter import WantedLabels
from memdb.types.times import Time


class UserClips(Protocol):
    """A user's clips, listed, counted and by their ids."""

    def clips(
        self,
        *,
        stream: str | None = None,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        limit: int = 1000,
        after: str | None = None,
        min_revision: int | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
        labels: WantedLabels | None = None,
        with_global_memory: bool = True,
        with_keyframes: bool = True,
        newest_first: bool = False,
    ) -> list[StoredClip]:
        """Clips overlapping the range, by start time; of those in the range the first ``limit`` (1 to 1,000)
        behind ``after``, the `StoredClip.cursor` of the last clip of the page before.  Without their
        short-term memory.

        stream, streams: of one stream, or of several; None for all.  start_ns, end_ns, as_of, min_revision, hours,
        weekdays, zone, labels, with_global_memory, with_keyframes: as in `ground`.  newest_first: by start time
        backwards, so that the last clips come first, and ``after`` goes on to earlier ones.

        The id of that clip serves as ``after`` as well, as long as the clip is not erased: then `NotFound`
        (``CLIP_NOT_FOUND``).  Raises otherwise of stream, time, moment and hours as `ground`.
        """
        ...

    def labels(
        self,
        *,
        key: str | None = None,
        stream: str | None = None,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        limit: int = 1000,
        after: tuple[str, str] | None = None,
    ) -> list[LabelCount]:
        """The labels that clips have, and how many clips have each; sorted by key and value, by code points.

        key: only labels of this key.  stream, streams, start_ns, end_ns, as_of: as in `clips`.  limit: 1 to 1,000.
        after: only those behind this (key, value), the last of the page before, which no clip need have any more.

        Raises of stream, time and moment as `ground`.
        """
        ...

    def count_clips(
        self,
        *,
        streams: Sequence[str] | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        min_revision: int | None = None,
        labels: WantedLabels | None = None,
        hours: Iterable[Sequence[HourOfDay]] | None = None,
        weekdays: Iterable[Weekday] | None = None,
        zone: str | None = None,
    ) -> int:
        """How many clips there are, open ones included, of every space; no clip is read for it.

        streams, start_ns, end_ns, as_of, min_revision, labels, hours, weekdays, zone: as in `ground`.

        Raises of streams, time, moment and hours as `ground`.
        """
        ...

    def clip(
        self, clip_id: str, *, as_of: AsOf | None = None, with_short_memory: bool = False
    ) -> StoredClip:
        """One clip, in its newest version or in that of ``as_of``.

        with_short_memory: with its (tokens, dim) float16 short-term memory, None where it has none.

        Raises `NotFound` (``CLIP_NOT_FOUND``), `DataLoss` where its bytes are damaged.
        """
        ...

    def get_clips(
        self,
        clip_ids: Sequence[str],
        *,
        as_of: AsOf | None = None,
        with_short_memory: bool = False,
        with_global_memory: bool = True,
        with_keyframes: bool = True,
    ) -> list[StoredClip]:
        """Several clips, each as `clip` gives it, all as of one moment; one for each id, in the order asked.

        clip_ids: at most 1,000; what all of them take is held at once, here and over an address alike.
        with_global_memory, with_keyframes: as in `ground`.

        Raises `NotFound` (``CLIP_NOT_FOUND``) naming the id that nothing has (``clip_ids[3]``), `DataLoss` where one
        is damaged.
        """
        ...

    def short_memory(self, clip_ids: Sequence[str], *, as_of: AsOf | None = None) -> list[Array]:
        """The (tokens, dim) float16 short-term memory of each clip, in the order asked.

        clip_ids: at most 1,000, as of `get_clips`.

        Raises `NotFound` (``CLIP_NOT_FOUND``; ``NO_SHORT_MEMORY`` when a clip was written without
        one, or retention gave it up), `DataLoss` where one is damaged.
        """
        ...
