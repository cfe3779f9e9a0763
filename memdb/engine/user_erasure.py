"""`memdb.types.database.user_erasure.UserErasure` of an embedded user."""

from __future__ import annotations

from collections.abc import Sequence

from memdb.engine.erasure import clips_to_erase, compact_user, erase_parts
from memdb.engine.one_user import OneUser
from memdb.errors import InvalidArgument
from memdb.types.arguments import checked_clip_ids, checked_times
from memdb.types.change import CompactionReport, ErasureReport
from memdb.types.database.user_erasure import UserErasure
from memdb.types.documented import documented_by
from memdb.types.ids import check_id
from memdb.types.times import Time


@documented_by(UserErasure)
class EmbeddedUserErasure(OneUser):
    """An end of the user, of some of its clips, and of what freed pages still hold."""

    def erase(self) -> ErasureReport:
        return self._erase(self._id)

    def compact(self) -> CompactionReport:
        return compact_user(self._id, self._users)

    def erase_clips(
        self,
        clip_ids: Sequence[str] | None = None,
        *,
        stream: str | None = None,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
    ) -> ErasureReport:
        wanted = None if clip_ids is None else checked_clip_ids(clip_ids)
        if not wanted and start_ns is None and end_ns is None:
            raise InvalidArgument(
                "name clips or a time range; a whole stream is erased by stream.erase()",
                reason="EMPTY",
                field="clip_ids",
                value=None,
            )
        start, end = checked_times(start_ns, end_ns)
        name = None if stream is None else check_id(stream, "stream")
        with self._users.use(self._id) as memory:
            clip_nos = clips_to_erase(memory, wanted, name, start, end)
        if not clip_nos:
            return ErasureReport(self._id, 0, 0, 0, 0)
        return erase_parts(self._id, self._users, clip_nos=clip_nos)

    def erase_stream(self, stream: str) -> ErasureReport:
        """`Stream.erase` of the whole stream."""
        return erase_parts(self._id, self._users, streams=(stream,))
