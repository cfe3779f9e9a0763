"""`memdb.types.database.user_erasure.UserErasure` behind an address."""

from __future__ import annotations

from collections.abc import Sequence

from memdb.errors import InvalidArgument
from memdb.types.arguments import checked_clip_ids
from memdb.types.change import CompactionReport, ErasureReport
from memdb.types.times import Time
from memdb.v1 import user_service_pb2 as user_pb
from memdb.wire.retention import erase_clips_from_proto, erase_clips_request
from memdb.wire.users import compaction_from_proto, erasure_from_proto
from memdb_client._async_one_user import AsyncOneUser
from memdb_client._options import Repeat, whole_timeout_s


class AsyncUserErasure(AsyncOneUser):
    """An end of the user, of some of its clips, and of what freed pages still hold."""

    async def erase(self, *, timeout_s: float | None = None) -> ErasureReport:
        """Remove the user and every byte of its memory.

        timeout_s: see `memdb_client.connect`.
        """
        self._text_space = None
        answer = await self._rpc.call(
            self._rpc.users.EraseUser,
            user_pb.EraseUserRequest(user=self._id),
            repeat=Repeat.UNSENT,
            timeout_s=whole_timeout_s(timeout_s, self._rpc.timeout_s),
        )
        return erasure_from_proto(self._id, answer)

    async def compact(self, *, timeout_s: float | None = None) -> CompactionReport:
        """Make the user's data file anew, without the pages that were freed.

        timeout_s: see `memdb_client.connect`.
        """
        answer = await self._rpc.call(
            self._rpc.users.CompactUser,
            user_pb.CompactUserRequest(user=self._id),
            repeat=Repeat.UNSENT,
            timeout_s=whole_timeout_s(timeout_s, self._rpc.timeout_s),
        )
        return compaction_from_proto(self._id, answer)

    async def erase_clips(
        self,
        clip_ids: Sequence[str] | None = None,
        *,
        stream: str | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        timeout_s: float | None = None,
    ) -> ErasureReport:
        """Remove the named clips, or those that touch a time range.

        timeout_s: see `memdb_client.connect`.
        """
        named = () if clip_ids is None else checked_clip_ids(clip_ids)
        if not named and start_ns is None and end_ns is None:
            raise InvalidArgument(
                "name clips or a time range; a whole stream is erased by stream.erase()",
                reason="EMPTY",
                field="clip_ids",
                value=None,
            )
        answer = await self._rpc.call(
            self._rpc.users.EraseClips,
            erase_clips_request(
                self._id, stream=stream, start_ns=start_ns, end_ns=end_ns, clip_ids=named
            ),
            repeat=Repeat.UNSENT,
            timeout_s=whole_timeout_s(timeout_s, self._rpc.timeout_s),
        )
        return erase_clips_from_proto(self._id, answer)
