"""`memdb.types.database.user_clips.UserClips` behind an address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memdb.types.arguments import checked_clip_ids, checked_reference
from memdb.types.arrays import Array
from memdb.types.calendar import HourOfDay, Weekday
from memdb.types.checks import check_flag
from memdb.types.clip import StoredClip
from memdb.types.grounding import AsOf
from memdb.types.label_count import LabelCount
from memdb.types.label_filter import WantedLabels
from memdb.types.times import Time
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.wire.arrays import array_from_tensor
from memdb.wire.clip_counts import count_clips_request
from memdb.wire.clips import list_clips_request, stored_clip_from_proto
from memdb.wire.label_counts import label_counts_from_proto, list_labels_request
from memdb.wire.moments import as_of_to_proto
from memdb_client._answers import one_each
from memdb_client._async_one_user import AsyncOneUser


class AsyncUserClips(AsyncOneUser):
    """The user's clips, listed, counted and by their ids."""

    async def clips(
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
        """Clips overlapping the range, by start time; ``after`` is the `StoredClip.cursor` of the last
        clip of the page before.  hours, weekdays, zone, labels: as in
        `ground`.

        Its id serves as well, as long as the clip is not erased: then `NotFound` (``CLIP_NOT_FOUND``).
        """
        request = list_clips_request(
            self._id,
            stream=stream,
            streams=streams,
            start_ns=start_ns,
            end_ns=end_ns,
            as_of=as_of,
            limit=limit,
            after=after,
            min_revision=min_revision,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
            labels=labels,
            with_global_memory=with_global_memory,
            with_keyframes=with_keyframes,
            newest_first=newest_first,
        )
        answers = await self._rpc.collect(self._rpc.clips.ListClips, request)
        light = not (with_global_memory or with_keyframes)
        return [stored_clip_from_proto(clip, light) for answer in answers for clip in answer.clips]

    async def count_clips(
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
        """How many clips there are; no clip is read for it."""
        request = count_clips_request(
            self._id,
            streams=streams,
            start_ns=start_ns,
            end_ns=end_ns,
            as_of=as_of,
            min_revision=min_revision,
            labels=labels,
            hours=hours,
            weekdays=weekdays,
            zone=zone,
        )
        return (await self._rpc.call(self._rpc.clips.CountClips, request)).clips

    async def labels(
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
        """The labels that clips have, and how many clips have each, sorted."""
        request = list_labels_request(
            self._id,
            key=key,
            stream=stream,
            streams=streams,
            start_ns=start_ns,
            end_ns=end_ns,
            as_of=as_of,
            limit=limit,
            after=after,
        )
        return label_counts_from_proto(await self._rpc.call(self._rpc.clips.ListLabels, request))

    async def clip(
        self, clip_id: str, *, as_of: AsOf | None = None, with_short_memory: bool = False
    ) -> StoredClip:
        """One clip; raises `NotFound` (``CLIP_NOT_FOUND``)."""
        answer = await self._rpc.call(
            self._rpc.clips.GetClip,
            clip_pb.GetClipRequest(
                user=self._id,
                clip_id=checked_reference(clip_id, "clip_id"),
                as_of=as_of_to_proto(as_of),
                with_short_memory=check_flag(with_short_memory, "with_short_memory"),
            ),
        )
        return stored_clip_from_proto(answer.clip)

    async def get_clips(
        self,
        clip_ids: Sequence[str],
        *,
        as_of: AsOf | None = None,
        with_short_memory: bool = False,
        with_global_memory: bool = True,
        with_keyframes: bool = True,
    ) -> list[StoredClip]:
        """Several clips, all as of one moment, in the order asked.

        Raises `NotFound` (``CLIP_NOT_FOUND``) naming the id that nothing has.
        """
        wanted = checked_clip_ids(clip_ids)
        request = clip_pb.GetClipsRequest(
            user=self._id,
            clip_ids=wanted,
            as_of=as_of_to_proto(as_of),
            with_short_memory=check_flag(with_short_memory, "with_short_memory"),
            without_global_memory=not check_flag(with_global_memory, "with_global_memory"),
            without_keyframes=not check_flag(with_keyframes, "with_keyframes"),
        )
        answers = await self._rpc.collect(self._rpc.clips.GetClips, request)
        light = not (with_global_memory or with_keyframes or with_short_memory)
        clips = [stored_clip_from_proto(clip, light) for answer in answers for clip in answer.clips]
        return list(one_each(clips, len(wanted)))

    async def short_memory(
        self, clip_ids: Sequence[str], *, as_of: AsOf | None = None
    ) -> list[Array]:
        """The (tokens, dim) float16 short-term memory of each clip, in the order asked.

        Raises `NotFound` (``CLIP_NOT_FOUND``; ``NO_SHORT_MEMORY`` when a clip was written without
        one).
        """
        wanted = checked_clip_ids(clip_ids)
        answers = await self._rpc.collect(
            self._rpc.clips.GetShortMemory,
            clip_pb.GetShortMemoryRequest(
                user=self._id,
                clip_ids=wanted,
                as_of=as_of_to_proto(as_of),
            ),
        )
        return [array_from_tensor(answer.short_memory) for answer in one_each(answers, len(wanted))]
