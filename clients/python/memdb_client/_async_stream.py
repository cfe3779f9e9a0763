"""A handle on one stream of a user behind an address."""

from __future__ import annotations

from collections.abc import Iterable

from memdb.types.change import ErasureReport
from memdb.types.checks import check_flag, check_int
from memdb.types.clip import Ack, Clip
from memdb.types.grounding import AsOf
from memdb.types.handle import Handle
from memdb.types.ids import check_id
from memdb.types.ingest import INGEST_WINDOW_MAX
from memdb.types.limits import EPOCH_MAX
from memdb.types.retention import Retention, as_retention
from memdb.types.stream import Gap, Ledger, StreamInfo
from memdb.types.tensor import codec_named
from memdb.types.times import Time
from memdb.types.zone import checked_zone
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.v1 import user_service_pb2 as user_pb
from memdb.wire.clips import ack_from_proto
from memdb.wire.retention import (
    erase_clips_from_proto,
    erase_clips_request,
    retention_from_proto,
    retention_to_proto,
)
from memdb.wire.streams import (
    gap_from_proto,
    ledger_from_proto,
    list_gaps_request,
    stream_from_proto,
)
from memdb_client._answers import one_each
from memdb_client._async_ingest import AsyncIngestWriter
from memdb_client._async_rpc import AsyncRpc
from memdb_client._clips import batches
from memdb_client._options import (
    RECONNECT_TIMEOUT_S,
    Repeat,
    check_patience,
    whole_timeout_s,
)


class AsyncStream(Handle):
    """One stream of a user; as `memdb.types.database.Stream`."""

    def __init__(
        self, rpc: AsyncRpc, user: str, name: str, space: str | None, codec: str | None = None
    ) -> None:
        self._rpc = rpc
        self._user = user
        self._name = check_id(name, "stream")
        self._space = None if space is None else check_id(space, "space")
        self._codec = codec_named(codec)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name} of {self._user}>"

    @property
    def name(self) -> str:
        """The stream's name."""
        return self._name

    async def create(self, *, zone: str | None = None) -> StreamInfo:
        """Create the stream now (idempotent); writing creates it too.

        zone: IANA name of its time zone; `memdb.types.database.Stream.create` tells more.

        Raises `FailedPrecondition` (``SPACE_MISMATCH``, ``ZONE_MISMATCH``) when it exists in another
        space or zone, `InvalidArgument` (``SPACE_REQUIRED``) when it does not exist and the handle
        names no space, and for a zone that there is not (``BAD_ZONE``).
        """
        answer = await self._rpc.call(
            self._rpc.users.CreateStream,
            user_pb.CreateStreamRequest(
                user=self._user,
                stream=self._name,
                space=self._space,
                zone=None if zone is None else checked_zone(zone),
            ),
        )
        return stream_from_proto(answer.stream)

    async def write(self, clip: Clip) -> Ack:
        """Store one clip; returns when it is durable and searchable."""
        return (await self.write_many([clip]))[0]

    async def write_many(self, clips: Iterable[Clip]) -> list[Ack]:
        """Store clips in as few commits as the limits allow; an acknowledgement for each, in order.

        Raises the error of the first clip that is refused.  Any of the others may be stored then,
        later ones too; sending them again is harmless.
        A clip whose acknowledgement got lost on the way is sent again and then answered with
        ``duplicate``.
        """
        acks: list[Ack] = []
        for batch in batches(clips, self._codec):
            answer = await self._rpc.call(
                self._rpc.clips.WriteClips,
                clip_pb.WriteClipsRequest(
                    user=self._user, stream=self._name, space=self._space, clips=batch
                ),
            )
            acks.extend(ack_from_proto(ack) for ack in one_each(answer.acks, len(batch)))
        return acks

    def ingest(
        self,
        *,
        epoch: int = 0,
        window: int | None = None,
        reconnect_timeout_s: float = RECONNECT_TIMEOUT_S,
        wait_for_room: bool = False,
    ) -> AsyncIngestWriter:
        """A pipelined writer with at most ``window`` clips in flight; where nothing is said 64, and of small ones as
        many as 26 MB hold, up to 512.

        When the server goes away, connecting again is given up after ``reconnect_timeout_s`` (at most 30 days;
        `math.inf`: never).  With ``wait_for_room`` a server whose disk is full (``DISK_FULL``) is waited for as well,
        for as long from its last acknowledgement on.
        """
        writer = AsyncIngestWriter(
            self._rpc,
            clip_pb.IngestStart(
                user=self._user,
                stream=self._name,
                space=self._space,
                epoch=check_int(epoch, "epoch", 0, EPOCH_MAX),
            ),
            codec=self._codec,
            window=None if window is None else check_int(window, "window", 1, INGEST_WINDOW_MAX),
            reconnect_timeout_s=check_patience(reconnect_timeout_s, "reconnect_timeout_s"),
            waits_for_room=check_flag(wait_for_room, "wait_for_room"),
        )
        # sync: writer.open()
        return writer  # noqa: RET504 - the sync twin opens it first

    async def set_retention(self, retention: Retention | None) -> None:
        """Say how long the stream keeps what it holds; None: for ever."""
        await self._rpc.call(
            self._rpc.users.SetRetention,
            user_pb.SetRetentionRequest(
                user=self._user,
                stream=self._name,
                retention=retention_to_proto(as_retention(retention)),
            ),
        )

    async def retention(self) -> Retention:
        """The stream's policy."""
        answer = await self._rpc.call(
            self._rpc.users.GetRetention,
            user_pb.GetRetentionRequest(user=self._user, stream=self._name),
        )
        return retention_from_proto(answer.retention)

    async def erase(
        self,
        *,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        timeout_s: float | None = None,
    ) -> ErasureReport:
        """Remove every clip that touches the time range, or without one the whole stream.

        timeout_s: see `memdb_client.connect`.
        """
        whole = start_ns is None and end_ns is None
        answer = await self._rpc.call(
            self._rpc.users.EraseClips,
            erase_clips_request(
                self._user,
                stream=self._name,
                start_ns=start_ns,
                end_ns=end_ns,
                whole_stream=whole,
            ),
            repeat=Repeat.UNSENT,
            timeout_s=whole_timeout_s(timeout_s, self._rpc.timeout_s),
        )
        return erase_clips_from_proto(self._user, answer)

    async def ledger(self, *, epoch: int = 0) -> Ledger:
        """What was received of ``epoch``; of a stream or user that does not exist yet, nothing
        (next_seq 0).
        """
        answer = await self._rpc.call(
            self._rpc.clips.GetLedger,
            clip_pb.GetLedgerRequest(
                user=self._user, stream=self._name, epoch=check_int(epoch, "epoch", 0, EPOCH_MAX)
            ),
        )
        return ledger_from_proto(answer.ledger)

    async def gaps(
        self,
        *,
        start_ns: Time | None = None,
        end_ns: Time | None = None,
        as_of: AsOf | None = None,
        limit: int | None = None,
        after: Gap | None = None,
    ) -> list[Gap]:
        """The missing numbers of every epoch, within the time range, by epoch and number: all, or at most
        ``limit`` of those behind ``after``, the last of the page before.
        """
        request = list_gaps_request(
            self._user,
            self._name,
            start_ns=start_ns,
            end_ns=end_ns,
            as_of=as_of,
            limit=limit,
            after=after,
        )
        found: list[Gap] = []
        while True:
            answer = await self._rpc.call(self._rpc.clips.ListGaps, request)
            found += [gap_from_proto(gap) for gap in answer.gaps]
            if not answer.more:
                return found
            request.after.CopyFrom(answer.gaps[-1])
            request.limit = 0 if limit is None else limit - len(found)
            request.as_of.revision = answer.revision
