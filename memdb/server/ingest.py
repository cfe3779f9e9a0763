"""One IngestClips stream: clips in, acknowledgements out, as fast as commits go.

::

    client ──▶ reader: parse, check ──▶ ready ──▶ committer ──▶ acks ──▶ client
                       ▲                                    │
                       └── stops while CLIPS_MAX or BYTES_MAX are in flight,
                           or the streams of the server hold all the bytes they may

While a commit is in flight the reader goes on; the next commit takes everything that came
meanwhile, so batches grow with the load and a lone clip waits for nobody: the reader hands it to a thread of the
pool, which sends its acknowledgement as well, where the edge lets threads send.  What other streams of the user have
ready is committed with it (`memdb.server.gathered`).  Whatever is full or busy
(the window, the budget, the threads, a user that is still being opened) makes the stream wait, never
fail: the client feels HTTP/2 flow control, because we stop reading.

Clips are acknowledged in the order sent.  At the first refused clip the acknowledgements before it
go out, then the stream ends with its error; later clips of that commit may be stored, and
sending them again is harmless.  When the server stops, what was read is committed and acknowledged,
nothing more is read, and the stream ends as UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Final

from memdb.engine.stream import EmbeddedStream
from memdb.errors import InvalidArgument, MemdbError, ResourceExhausted
from memdb.server.budget import StreamBytes
from memdb.server.drain import shutting_down
from memdb.server.gathered import Ahead, Gathered, Ready, Told
from memdb.server.methods import ReceiveClips, Send
from memdb.server.plain_clips import clips_of
from memdb.server.requests import parse
from memdb.server.resources import Resources
from memdb.server.tasks import settle
from memdb.server.weigh import light_pieces
from memdb.types.clip import Clip
from memdb.types.ingest import INGEST_WINDOW
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.ingest import ClipPieces, ingested_clips
from memdb.wire.lists import SMALL_BYTES
from memdb.wire.streams import ledger_to_proto

CLIPS_MAX: Final = INGEST_WINDOW
"""Clips of one stream received and not yet acknowledged."""
BYTES_MAX: Final = 32 * 1024 * 1024
"""Their bytes on the wire; one message more may come on top, beside one that the native edge has read ahead."""
BUSY_PAUSE_S: Final = 0.05
"""How long a commit waits when the user's queue of commits is full."""


def _never() -> None:
    """No thread may send."""


class Ingest:
    """The state of one stream."""

    def __init__(self, resources: Resources) -> None:
        self._database = resources.database
        self._pools = resources.pools
        self._openings = resources.openings
        self._gatherings = resources.gatherings
        self._budget = resources.budget
        self._open_calls = resources.open_calls
        self._drain = resources.drain
        self._ready: list[Clip] = []
        self._ready_bytes = 0
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._ended = False
        self._refusal: Exception | None = None
        self._work = asyncio.Event()
        """Set when there is something to commit, the client ended, or the server stops."""
        self._room = asyncio.Event()
        self._begin: Callable[[], bool] | None = None
        """Hands over what is ready, while nothing is committed or told; whether it could."""
        self._begun: Ready | None = None
        """What the reader has handed over."""

    async def run(
        self, receive: ReceiveClips, send: Send, ahead: Callable[[], Ahead | None] = _never
    ) -> None:
        """Serve the stream to its end.

        ahead: `memdb.server.answers.Sender.ahead`.

        Raises `InvalidArgument` (``BAD_MESSAGE``, ``START_EXPECTED``, ``CLIP_EXPECTED``,
        ``EPOCH_MISMATCH``), `Unavailable` (``SHUTTING_DOWN``, ``OVERLOADED``), and what refuses a
        clip.
        """
        with self._drain.waking(self._work), self._budget.stream() as held:
            first = await self._drain.first(receive, self._work)
            if first is None:
                raise InvalidArgument("no start", reason="START_EXPECTED", field="start")
            start = self._start(bytes(first))
            self._open_calls.name(start.user)
            held.owner, send = start.user, held.sender(send)
            await self._openings.wait(start.user)
            await send(await self._pools.read.of(start.user).run_in_turn(self._open, start))
            reader = asyncio.create_task(self._read(receive, start.epoch, held))
            try:
                await self._commit_all(start, send, ahead, held)
            finally:
                await settle(reader)
                # Its traceback holds messages, and us.
                self._refusal = None
                self._ready = []
                self._begin = None

    async def _commit_all(
        self,
        start: pb.IngestStart,
        send: Send,
        ahead: Callable[[], Ahead | None],
        held: StreamBytes,
    ) -> None:
        user = self._database.user(start.user)
        space = start.space if start.HasField("space") else None
        # By the thread that writes its first clip, which is told what is wrong with it.
        stream = cache(partial(user.stream, start.stream, space=space))
        gathered = self._gatherings.of(user.id)
        tell: Ahead | None = None

        def begin() -> bool:
            # Not woken before: what the loop does while the thread wants the interpreter delays the acknowledgement.
            ready = Ready(stream, self._ready, self._ready_bytes, tell, self._work.set)
            if not gathered.begin(ready):
                return False
            self._begun = ready
            self._ready, self._ready_bytes = [], 0
            self._begin = None
            return True

        while True:
            while not self._ready and self._begun is None:
                if self._refusal is not None:
                    raise self._refusal
                if self._drain.begun:
                    raise shutting_down()
                if self._ended:
                    return
                self._work.clear()
                tell = ahead()
                self._begin = begin
                await self._work.wait()
            self._begin = None
            if self._begun is None:
                batch, size = self._ready, self._ready_bytes
                self._ready, self._ready_bytes = [], 0
            else:
                batch, size = self._begun.clips, self._begun.size
            acks, error = await self._commit(gathered, stream, batch, size, ahead)
            self._in_flight -= len(batch)
            del batch  # as in `_read`
            self._in_flight_bytes -= size
            held.release(size)
            self._room.set()
            if acks:
                await send(acks)
            if error is not None:
                raise error

    async def _commit(
        self,
        gathered: Gathered,
        stream: Callable[[], EmbeddedStream],
        batch: list[Clip],
        size: int,
        ahead: Callable[[], Ahead | None],
    ) -> Told:
        while True:
            try:
                if self._begun is not None:
                    return await self._outcome(self._begun)
                return await gathered.commit(Ready(stream, batch, size, ahead()))
            except ResourceExhausted as error:
                # Refused before any of it was written, since other writes of the user wait.
                if error.reason != "OVERLOADED":
                    raise
            self._drain.check()
            await asyncio.sleep(BUSY_PAUSE_S)

    async def _outcome(self, begun: Ready) -> Told:
        self._begun = None
        try:
            return await begun.outcome
        finally:
            del begun  # its error would hold this frame, and this frame the error

    async def _read(self, receive: ReceiveClips, epoch: int, held: StreamBytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await held.expect()
                data = await receive()
                if data is None or self._drain.begun:
                    return
                held.hold(len(data))
                # Counted with its clips; should it have none, the stream ends.
                if not isinstance(data, bytes):
                    clips, error = _before_error(clips_of(data), epoch)
                elif (pieces := light_pieces(data)) is not None:
                    clips, error = _clips(data, epoch, pieces)
                else:
                    clips, error = await self._pools.read.run_in_turn(_clips, data, epoch)
                self._ready += clips
                self._ready_bytes += len(data)
                self._in_flight += len(clips)
                self._in_flight_bytes += len(data)
                # In the loop's next turn, once the next message was asked for: a thread that is woken waits for the
                # interpreter until the loop has nothing left to do.
                loop.call_soon(self._hand_over)
                if error is not None:
                    self._refusal = error
                    return
                del (
                    data,
                    clips,
                )  # or a silent stream kept them, which no budget counts once they are committed
                while self._in_flight >= CLIPS_MAX or self._in_flight_bytes >= BYTES_MAX:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:
            self._refusal = error
        finally:
            self._ended = True
            self._work.set()

    def _hand_over(self) -> None:
        """Have what was read committed: by a thread at once, where nothing is on its way, else in its turn."""
        is_begun = False
        try:
            is_begun = self._begin is not None and bool(self._ready) and self._begin()
        finally:
            if not is_begun:
                self._work.set()

    def _start(self, data: bytes) -> pb.IngestStart:
        if len(data) > SMALL_BYTES:
            # Names are short.  What else it held would stay as long as the stream, and no budget counts
            # it.
            raise InvalidArgument(
                f"a start has at most {SMALL_BYTES} bytes",
                reason="START_EXPECTED",
                field="start",
                value=len(data),
            )
        request = parse(pb.IngestClipsRequest, data)
        if not request.HasField("start") or request.clips:
            raise InvalidArgument(
                "the first message is a start alone", reason="START_EXPECTED", field="start"
            )
        return request.start

    def _open(self, start: pb.IngestStart) -> bytes:
        ledger = self._database.user(start.user).stream(start.stream).ledger(epoch=start.epoch)
        return pb.IngestClipsResponse(started=ledger_to_proto(ledger)).SerializeToString()


def _clips(
    data: bytes, epoch: int, pieces: list[ClipPieces] | None = None
) -> tuple[list[Clip], MemdbError | None]:
    """The clips of a message before the first bad one, and its error."""
    return _before_error(ingested_clips(data, pieces), epoch)


def _before_error(found: Iterable[Clip], epoch: int) -> tuple[list[Clip], MemdbError | None]:
    """Those before one of another epoch, or before whatever error comes in the place of one."""
    clips: list[Clip] = []
    try:
        for clip in found:
            if clip.epoch != epoch:
                raise InvalidArgument(
                    f"this ingest is of epoch {epoch}",
                    reason="EPOCH_MISMATCH",
                    field="clip.epoch",
                    value=clip.epoch,
                )
            clips.append(clip)
    except MemdbError as error:
        return clips, error
    return clips, None
