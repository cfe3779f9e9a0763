"""The embedded handle on one user: `memdb.types.database.User`, and what the server needs beside
it.
"""

from __future__ import annotations

from memdb.engine.standing import EmbeddedStanding
from memdb.engine.stream import EmbeddedStream
from memdb.engine.user_changes import EmbeddedUserChanges
from memdb.engine.user_clips import EmbeddedUserClips
from memdb.engine.user_erasure import EmbeddedUserErasure
from memdb.engine.user_facts import EmbeddedUserFacts
from memdb.engine.user_grounding import EmbeddedUserGrounding
from memdb.engine.user_snapshots import EmbeddedUserSnapshots
from memdb.engine.user_values import EmbeddedUserValues
from memdb.types.arguments import checked_as_of
from memdb.types.database import User
from memdb.types.documented import documented_by
from memdb.types.grounding import AsOf
from memdb.types.stream import StreamInfo


@documented_by(User)
class EmbeddedUser(
    EmbeddedUserClips,
    EmbeddedUserGrounding,
    EmbeddedUserFacts,
    EmbeddedUserValues,
    EmbeddedUserSnapshots,
    EmbeddedUserChanges,
    EmbeddedUserErasure,
):
    """A handle; cheap, thread-safe, valid while the database is open."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id}>"

    @property
    def id(self) -> str:
        return self._id

    def revision(self) -> int:
        with self._users.use(self._id) as memory:
            return memory.view.revision

    def moment(self, as_of: AsOf | None) -> int:
        """The revision that a moment names now; a snapshot's name may come to name another."""
        as_of = checked_as_of(as_of)
        with self._users.use(self._id) as memory:
            view = memory.view
            revision = memory.resolve(view, as_of)
            return view.revision if revision is None else revision

    def stream(
        self, name: str, *, space: str | None = None, codec: str | None = None
    ) -> EmbeddedStream:
        return EmbeddedStream(self, name, space, codec)

    @property
    def standing(self) -> EmbeddedStanding:
        return EmbeddedStanding(self, self._clock)

    def streams(self) -> list[StreamInfo]:
        with self._users.use(self._id) as memory:
            state = memory.view.state
        return [state.stream_info(name) for name in sorted(state.streams)]
