"""One IngestClips stream: clips in, acknowledgements out, as fast as commits go.

::

    client ──▶ reader: parse, check ──▶ ready ──▶ committer: write_batch ──▶ acks ──▶ client
                       ▲                                    │
                       └── stops while CLIPS_MAX or BYTES_MAX are in flight

While a commit is in flight the reader goes on; the next commit takes everything that came
meanwhile, so batches grow with the load and a lone clip waits for nobody.  A full window is felt by
the client as HTTP/2 flow control: we stop reading.

Clips are acknowledged in the order sent.  At the first refused clip the acknowledgements before it
go out, then the stream ends with its error; later clips of that commit may be stored, and
sending them again is harmless.
"""

from __future__ import annotations

import asyncio
from typing import Final

from memdb.engine.database import EmbeddedDatabase
from memdb.engine.user import EmbeddedUser
from memdb.errors import InvalidArgument, MemdbError
from memdb.server.calls import Receive, Send, parse, settle
from memdb.server.drain import Drain, shutting_down
from memdb.server.executors import Pools
from memdb.types.clip import Clip
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.clips import ack_to_proto, clip_from_proto
from memdb.wire.streams import ledger_to_proto

CLIPS_MAX: Final = 64
"""Clips of one stream received and not yet acknowledged."""
BYTES_MAX: Final = 32 * 1024 * 1024
"""Their bytes on the wire; one message more may come on top."""
INLINE_BYTES_MAX: Final = 512 * 1024
"""Messages up to this size are parsed and checked on the event loop: that takes a fraction of a
millisecond, less than a hop to a thread and back."""


class Ingest:
    """The state of one stream."""

    def __init__(self, database: EmbeddedDatabase, pools: Pools, drain: Drain) -> None:
        self._database = database
        self._pools = pools
        self._drain = drain
        self._ready: list[Clip] = []
        self._ready_bytes = 0
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._ended = False
        self._refusal: Exception | None = None
        self._work = asyncio.Event()
        """Set when there is something to commit, the client ended, or the server stops."""
        self._room = asyncio.Event()

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve the stream to its end.

        Raises `InvalidArgument` (``BAD_MESSAGE``, ``START_EXPECTED``, ``CLIP_EXPECTED``,
        ``EPOCH_MISMATCH``), `Unavailable` (``SHUTTING_DOWN``), and what refuses a clip.
        """
        with self._drain.waking(self._work):
            first = await receive()
            if first is None:
                raise InvalidArgument("no start", reason="START_EXPECTED", field="start")
            start, started = await self._pools.read.run(self._open, first)
            await send(started)
            reader = asyncio.create_task(self._read(receive, start.epoch))
            try:
                await self._commit_all(start, send)
            finally:
                await settle(reader)

    async def _commit_all(self, start: pb.IngestStart, send: Send) -> None:
        user = self._database.user(start.user)
        space = start.space if start.HasField("space") else None
        while True:
            while not self._ready:
                if self._refusal is not None:
                    raise self._refusal
                if self._drain.begun:
                    raise shutting_down()
                if self._ended:
                    return
                self._work.clear()
                await self._work.wait()
            batch, size = self._ready, self._ready_bytes
            self._ready, self._ready_bytes = [], 0
            acks, error = await self._pools.write.run(_commit, user, start.stream, batch, space)
            self._in_flight -= len(batch)
            self._in_flight_bytes -= size
            self._room.set()
            if acks:
                await send(acks)
            if error is not None:
                raise error

    async def _read(self, receive: Receive, epoch: int) -> None:
        try:
            while (data := await receive()) is not None:
                if len(data) <= INLINE_BYTES_MAX:
                    clips, error = _clips(data, epoch)
                else:
                    clips, error = await self._pools.read.run(_clips, data, epoch)
                self._ready += clips
                self._ready_bytes += len(data)
                self._in_flight += len(clips)
                self._in_flight_bytes += len(data)
                self._work.set()
                if error is not None:
                    self._refusal = error
                    return
                while self._in_flight >= CLIPS_MAX or self._in_flight_bytes >= BYTES_MAX:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:
            self._refusal = error
        finally:
            self._ended = True
            self._work.set()

    def _open(self, data: bytes) -> tuple[pb.IngestStart, bytes]:
        request = parse(pb.IngestClipsRequest, data)
        if not request.HasField("start") or request.clips:
            raise InvalidArgument(
                "the first message is a start alone", reason="START_EXPECTED", field="start"
            )
        start = request.start
        ledger = self._database.user(start.user).stream(start.stream).ledger(epoch=start.epoch)
        response = pb.IngestClipsResponse(started=ledger_to_proto(ledger))
        return start, response.SerializeToString()


def _clips(data: bytes, epoch: int) -> tuple[list[Clip], MemdbError | None]:
    """The clips of a message before the first bad one, and its error."""
    request = parse(pb.IngestClipsRequest, data)
    if request.HasField("start") or not request.clips:
        raise InvalidArgument(
            "every message after the first has clips", reason="CLIP_EXPECTED", field="clips"
        )
    clips: list[Clip] = []
    for message in request.clips:
        try:
            clip = clip_from_proto(message)
            if clip.epoch != epoch:
                raise InvalidArgument(
                    f"this ingest is of epoch {epoch}",
                    reason="EPOCH_MISMATCH",
                    field="clip.epoch",
                    value=clip.epoch,
                )
        except MemdbError as error:
            return clips, error
        clips.append(clip)
    return clips, None


def _commit(
    user: EmbeddedUser, stream: str, clips: list[Clip], space: str | None
) -> tuple[bytes, MemdbError | None]:
    """Write clips; the answer for those before the first refused one, and its error."""
    response = pb.IngestClipsResponse()
    for outcome in user.write_batch(stream, clips, space=space):
        if isinstance(outcome, MemdbError):
            return (response.SerializeToString() if response.acks.acks else b""), outcome
        response.acks.acks.append(ack_to_proto(outcome))
    return response.SerializeToString(), None
