"""`memdb.types.database.user_changes.UserChanges` behind an address."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from memdb.errors import NotFound, Unavailable
from memdb.types.arguments import REVISION_MAX, checked_revision_time
from memdb.types.change import Change
from memdb.types.checks import check_flag, check_int
from memdb.v1 import user_service_pb2 as user_pb
from memdb.wire.users import change_from_proto
from memdb_client import _acompat as compat
from memdb_client._async_one_user import AsyncOneUser
from memdb_client._options import Repeat
from memdb_client._outage import Outage

CHANGE_INDEX_MAX: Final = 2**32 - 1
"""Above the place of any change in its commit."""


class AsyncUserChanges(AsyncOneUser):
    """What changed."""

    async def watch(
        self,
        *,
        from_revision: int = 0,
        revision_time_ns: int | None = None,
        follow: bool = True,
    ) -> compat.Answers[Change]:
        """Changes after ``from_revision``, oldest first; with ``follow`` waits for new ones.

        When the server goes away it goes on where it stopped, without a repetition, and raises
        `Unavailable` when nobody answered for the client's ``timeout_s``, and `NotFound`
        (``USER_NOT_FOUND``) when the user was erased meanwhile, made anew or not.  Ends (and lets its
        call go) when the iterator is closed.
        """
        # The last change that was given; a call that goes on begins with its whole commit again.
        seen = (check_int(from_revision, "from_revision", 0, REVISION_MAX), CHANGE_INDEX_MAX)
        commit: tuple[int, int] | None = None
        """Revision and time of the commit that it was of."""
        request = user_pb.WatchUserRequest(
            user=self._id,
            from_revision=seen[0],
            revision_time_ns=checked_revision_time(revision_time_ns),
            follow=check_flag(follow, "follow"),
        )
        outage = Outage(self._rpc.timeout_s)
        while True:
            outage.calls()
            try:
                async with aclosing(
                    self._rpc.stream(lambda on: on.users.WatchUser, request)
                ) as answers:
                    async for answer in answers:
                        for message in answer.changes:
                            if commit is not None and commit[0] == message.revision:
                                self._check_life(commit[1], message.time_ns)
                            if (message.revision, message.index) > seen:
                                seen = (message.revision, message.index)
                                commit = (message.revision, message.time_ns)
                                yield change_from_proto(message, self._id)
                        outage.is_over()
                return
            except Unavailable as error:
                pause_s = outage.pause_s(error)
                if pause_s is None or not self._rpc.may_repeat(error, "", Repeat.ALWAYS):
                    raise
                if commit is not None:
                    # Whose first commit comes again: its time is looked at here.
                    request.from_revision = max(seen[0] - 1, 0)
                    request.ClearField("revision_time_ns")
                await compat.sleep(pause_s)

    def _check_life(self, told_ns: int, time_ns: int) -> None:
        """Refuse a commit that comes again and was made at another time: it is of another life of the user, or of what
        went on from an archive while the server was away.
        """
        if told_ns != time_ns:
            raise NotFound(
                "the user was erased, or restored from before, and made anew: watch it from the beginning",
                reason="USER_NOT_FOUND",
                field="user",
                value=self._id,
            )
