"""`memdb.types.database.user_clips.UserClips` of an embedded user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memdb.codecs.tensors import decode_verified
from memdb.engine.hydrate import Parts
from memdb.engine.label_counts import label_counts
from memdb.engine.listing import count_clips, get_clip, get_clips, get_short_memory, list_clips
from memdb.engine.one_user import OneUser
from memdb.engine.view import View
from memdb.index.partition import Filter
from memdb.types import limits
from memdb.types.arguments import (
    checked_as_of,
    checked_clip_ids,
    checked_reference,
    checked_revision,
    checked_stream_names,
    checked_streams,
    checked_times,
)
from memdb.types.arrays import Array
from memdb.types.calendar import HourOfDay, Weekday, checked_calendar
from memdb.types.checks import check_flag, check_int
from memdb.types.clip import StoredClip
from memdb.types.database.user_clips import UserClips
from memdb.types.documented import documented_by
from memdb.types.grounding import AsOf
from memdb.types.label_count import LabelCount, checked_label, checked_label_key
from memdb.types.label_filter import WantedLabels, checked_labels
from memdb.types.tensor import EncodedTensor
from memdb.types.times import Time


@documented_by(UserClips)
class EmbeddedUserClips(OneUser):
    """The user's clips, listed, counted and by their ids."""

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
        page_bytes: int | None = None,
    ) -> list[StoredClip]:
        calendar, wanted = checked_calendar(hours, weekdays, zone), checked_labels(labels)
        backwards = check_flag(newest_first, "newest_first")
        limit = check_int(limit, "limit", 1, limits.LIMIT_MAX)
        start, end = checked_times(start_ns, end_ns)
        names, named = checked_stream_names(stream, streams)
        after = None if after is None else checked_reference(after, "after")
        parts = Parts(
            global_memory=check_flag(with_global_memory, "with_global_memory"),
            keyframes=check_flag(with_keyframes, "with_keyframes"),
        )
        as_of, min_revision = checked_as_of(as_of), checked_revision(min_revision)
        with self._users.use(self._id) as memory:

            def listed(view: View) -> list[StoredClip]:
                revision = memory.resolve(view, as_of, min_revision)
                stream_nos = view.stream_nos(names, revision, named)
                with memory.environment.read() as txn:
                    which = Filter(stream_nos, start, end, labels=wanted)
                    return list_clips(
                        txn,
                        view,
                        which,
                        revision,
                        after,
                        limit,
                        page_bytes,
                        calendar,
                        parts,
                        newest_first=backwards,
                    )

            return memory.read(listed)

    def clip(
        self,
        clip_id: str,
        *,
        as_of: AsOf | None = None,
        with_short_memory: bool = False,
        raw_short_memory: bool = False,
    ) -> StoredClip:
        checked_reference(clip_id, "clip_id")
        short_memory = check_flag(with_short_memory, "with_short_memory")
        parts = Parts(short_memory=short_memory, raw=raw_short_memory)
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:

            def found(view: View) -> StoredClip:
                revision = memory.resolve(view, as_of)
                with memory.environment.read() as txn:
                    return get_clip(txn, view, clip_id, revision, parts)

            return memory.read(found)

    def get_clips(
        self,
        clip_ids: Sequence[str],
        *,
        as_of: AsOf | None = None,
        with_short_memory: bool = False,
        with_global_memory: bool = True,
        with_keyframes: bool = True,
    ) -> list[StoredClip]:
        parts = Parts(
            global_memory=check_flag(with_global_memory, "with_global_memory"),
            keyframes=check_flag(with_keyframes, "with_keyframes"),
            short_memory=check_flag(with_short_memory, "with_short_memory"),
        )
        return self.clips_by_id(checked_clip_ids(clip_ids), 0, as_of=as_of, parts=parts)

    def clips_by_id(
        self,
        clip_ids: Sequence[str],
        first: int,
        *,
        as_of: AsOf | None,
        parts: Parts,
        page_bytes: int | None = None,
    ) -> list[StoredClip]:
        """Those of the ids, which were checked, from place ``first`` on, until they have ``page_bytes``; raises as
        `get_clips`.
        """
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:

            def found(view: View) -> list[StoredClip]:
                revision = memory.resolve(view, as_of)
                with memory.environment.read() as txn:
                    return get_clips(txn, view, clip_ids, first, revision, parts, page_bytes)

            return memory.read(found)

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
        calendar, wanted = checked_calendar(hours, weekdays, zone), checked_labels(labels)
        start, end = checked_times(start_ns, end_ns)
        names = checked_streams(streams)
        as_of, min_revision = checked_as_of(as_of), checked_revision(min_revision)
        with self._users.use(self._id) as memory:

            def counted(view: View) -> int:
                revision = memory.resolve(view, as_of, min_revision)
                which = Filter(view.stream_nos(names, revision), start, end, labels=wanted)
                return count_clips(view, which, revision, calendar)

            return memory.read(counted)

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
        key, behind = checked_label_key(key), checked_label(after)
        limit = check_int(limit, "limit", 1, limits.LIMIT_MAX)
        start, end = checked_times(start_ns, end_ns)
        names, named = checked_stream_names(stream, streams)
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:

            def counted(view: View) -> list[LabelCount]:
                revision = memory.resolve(view, as_of)
                which = Filter(view.stream_nos(names, revision, named), start, end)
                return label_counts(view, which, revision, key, behind, limit)

            return memory.read(counted)

    def encoded_short_memory(
        self, clip_ids: Sequence[str], *, as_of: AsOf | None = None, first: int = 0
    ) -> list[EncodedTensor]:
        """The short-term memory of each clip as it is stored; raises as `short_memory`.

        first: the place of the first id among those that were asked for, by which errors name one.
        """
        wanted = checked_clip_ids(clip_ids)
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:

            def found(view: View) -> list[EncodedTensor]:
                revision = memory.resolve(view, as_of)
                with memory.environment.read() as txn:
                    return get_short_memory(txn, view, wanted, revision, first)

            return memory.read(found)

    def short_memory(self, clip_ids: Sequence[str], *, as_of: AsOf | None = None) -> list[Array]:
        return [
            decode_verified(tensor) for tensor in self.encoded_short_memory(clip_ids, as_of=as_of)
        ]
