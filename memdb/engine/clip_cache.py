"""Clips that answers held lately, as values: who is asked often is asked for the same clips.

A version of a clip (number, birth) never changes, except that a removal or thinning takes all or part of it away; so
what was read once, every checksum verified, is the clip as long as nothing of the user was taken away since.
When something is, the user's clips are forgotten as a whole (`KeptClips.retire`): who still reads an older view
keeps nothing more, so nothing that is gone stays behind.

Short-term memory is never kept, only where it lies and what its checksum must be: of sealed clips, which have no later
version, by their ids.  All users of a database share one budget; the oldest clip gives way.

Who sends answers may leave the bytes of a kept clip beside it: they are found by the clip itself, and go with it.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any, Final

from memdb.store.clips import TensorPlace
from memdb.types.clip import StoredClip

_BESIDE_BYTES: Final = 1536
"""About what the objects of a clip take beside what `memdb.engine.hydrate.clip_bytes` counts."""
_PLACE_BYTES: Final = 768
"""About what a place takes, with the clip's id."""
_PACKED_BYTES: Final = 192
"""What packed bytes take beside themselves."""
_SHARE: Final = 256
"""A clip that takes more than this part of the budget is not kept."""

_Packed = bytes
_Key = tuple[int, int, Hashable]
"""Number, birth, and which parts it was read with."""


class ClipCache:
    """The budget, and in which order clips came."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._bytes = 0
        self._came: OrderedDict[tuple[KeptClips, _Key | str], int] = OrderedDict()
        """What everything that is kept takes, the oldest first."""
        self._places: dict[StoredClip, tuple[KeptClips, _Key]] = {}
        """Where each clip is kept, by the clip itself and not by what it is equal to."""
        self.packed: dict[StoredClip, _Packed] = {}
        """What `put_packed` keeps.  To be read by any thread, and written to by nobody else."""

    @property
    def bytes(self) -> int:
        """About what the kept clips take."""
        return self._bytes

    def of_user(self) -> KeptClips:
        """A place for the clips of one user."""
        return KeptClips(self)

    def put(self, kept: KeptClips, key: _Key, clip: StoredClip, clip_bytes: int) -> None:
        """Keep a clip, unless it is large or nothing of its user is kept any more."""
        size = clip_bytes + _BESIDE_BYTES
        if size > self._bytes_max // _SHARE:
            return
        with self._lock:
            if kept.retired or key in kept.clips:
                return
            kept.clips[key] = clip
            self._places[clip] = kept, key
            self._count((kept, key), size)

    def put_packed(self, clip: StoredClip, data: _Packed) -> None:
        """Keep a clip's bytes as they are sent, for as long as the clip is kept: not at all where it is not."""
        size = len(data) + _PACKED_BYTES
        if size > self._bytes_max // _SHARE:
            return
        with self._lock:
            place = self._places.get(clip)
            if place is None or clip in self.packed:
                return
            self.packed[clip] = data
            self._count(place, self._came[place] + size)

    def put_by_row(self, kept: KeptClips, by_row: RowClips, rows: Mapping[int, _Key]) -> None:
        """Have clips found by row too, those of them that are kept."""
        with self._lock:
            if kept.retired:
                return
            if kept.by_row is None:
                kept.by_row = weakref.WeakSet()
            kept.by_row.add(by_row)
            for row, key in rows.items():
                clip = kept.clips.get(key)
                if clip is not None:
                    by_row.clips[row] = clip

    def put_place(self, kept: KeptClips, clip_id: str, place: TensorPlace) -> None:
        """Keep a place, unless nothing of its user is kept any more."""
        if self._bytes_max // _SHARE < _PLACE_BYTES:
            return
        with self._lock:
            if kept.retired or clip_id in kept.places:
                return
            kept.places[clip_id] = place
            self._count((kept, clip_id), _PLACE_BYTES)

    def _count(self, place: tuple[KeptClips, _Key | str], size: int) -> None:
        """Note what is now taken there (under the lock); the oldest make room for it."""
        self._bytes += size - self._came.get(place, 0)
        self._came[place] = size
        while self._bytes > self._bytes_max:
            (oldest, of), took = self._came.popitem(last=False)
            if isinstance(of, str):
                oldest.places.pop(of, None)
            else:
                self._forget(oldest.clips.pop(of))
                oldest.forget_rows()
            self._bytes -= took

    def _forget(self, clip: StoredClip) -> None:
        """One that is kept no more (under the lock)."""
        self._places.pop(clip, None)
        self.packed.pop(clip, None)

    def retire(self, kept: KeptClips) -> None:
        """Forget all of a user, and keep nothing more in its place.

        Nothing of others is looked at: users are closed by the thousand.
        """
        with self._lock:
            if kept.retired:
                return
            kept.retired = True
            keys: list[_Key | str] = [*kept.clips, *kept.places]
            for key in keys:
                self._bytes -= self._came.pop((kept, key))
            for clip in kept.clips.values():
                self._forget(clip)
            kept.clips, kept.places = {}, {}
            kept.ready = {}
            kept.forget_rows()


class RowClips:
    """Kept clips of a user by the rows of a view, for who asks the same view again: to find one takes a fraction of
    what it takes by number, birth and parts.  All of them go as soon as one clip of the user is kept no more.
    """

    __slots__ = ("__weakref__", "clips")

    def __init__(self) -> None:
        self.clips: dict[int, StoredClip] = {}
        """To be read by any thread, and written to by `ClipCache` alone."""


class KeptClips:
    """Clips of one user.  Any readers."""

    __slots__ = ("_cache", "by_row", "clips", "places", "ready", "retired")

    def __init__(self, cache: ClipCache) -> None:
        self._cache = cache
        self.clips: dict[_Key, StoredClip] = {}
        self.places: dict[str, TensorPlace] = {}
        self.ready: dict[Hashable, Any] = {}
        """What others laid ready of them, by the parts they were read with; forgotten with them."""
        self.by_row: weakref.WeakSet[RowClips] | None = None
        """Those that hold clips of these."""
        self.retired = False

    def find(self, clip_no: int, birth: int, parts: Hashable) -> StoredClip | None:
        """The version as it was read with these parts, if it is kept."""
        return self.clips.get((clip_no, birth, parts))

    def put(
        self, clip_no: int, birth: int, parts: Hashable, clip: StoredClip, clip_bytes: int
    ) -> None:
        """Keep a version that was read without its short-term memory."""
        self._cache.put(self, (clip_no, birth, parts), clip, clip_bytes)

    def put_by_row(self, by_row: RowClips, rows: Mapping[int, _Key]) -> None:
        """Have clips, number, birth and parts of each, found by row too, as long as all of the user's are kept."""
        self._cache.put_by_row(self, by_row, rows)

    def forget_rows(self) -> None:
        """Nothing is found by row any more (under the cache's lock)."""
        if self.by_row is not None:
            for by_row in self.by_row:
                by_row.clips = {}
            self.by_row = None

    def put_place(self, clip_id: str, place: TensorPlace) -> None:
        """Keep where the short-term memory of a sealed clip lies, once it was read from there."""
        self._cache.put_place(self, clip_id, place)

    def retire(self) -> None:
        """Forget them: something of the user is being taken away, or the user is closed."""
        self._cache.retire(self)

    def successor(self) -> KeptClips:
        """Retire, and have a place for what is read from now on."""
        self.retire()
        return KeptClips(self._cache)
