"""One IngestClips stream: clips in, acknowledgements out, as fast as commits go.

::

    client ──▶ reader: parse, check ──▶ ready ──▶ committer ──▶ acks ──▶ client
                       ▲                                    │
                       └── stops while as much as may be or BYTES_MAX are in flight,
                           or the streams of the server hold all the bytes they may

While a commit is in flight the reader goes on and hands over what it has read; the next commit takes everything that
came meanwhile, so batches grow with the load and a lone clip waits for nobody: a thread of the pool has it at once, and
sends its acknowledgement as well, where the edge lets threads send.  Who sends one clip at a time has a thread that
awaits the next one, without the loop (`memdb.server.awaited`).  What other streams of the user have
ready is committed with it (`memdb.server.gathered`).  Whatever is full or busy
(the window, the budget, the threads, a user that is still being opened) makes the stream wait, never
fail: the client feels HTTP/2 flow control, because we stop reading.

Clips are acknowledged in the order sent.  At the first refused clip the acknowledgements before it
go out, then the stream ends with its error; later clips of that commit may be stored, and of the one that was made
ready meanwhile, and
sending them again is harmless.  When the server stops, what was read is committed and acknowledged,
nothing more is read, and the stream ends as UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Final

from memdb.errors import InvalidArgument, MemdbError, ResourceExhausted
from memdb.server.awaited import Awaited
from memdb.server.budget import StreamBytes
from memdb.server.drain import shutting_down
from memdb.server.edge import Lent, SendsAhead
from memdb.server.gathered import Gathered
from memdb.server.lot import Lot
from memdb.server.methods import ReceiveClips, Send
from memdb.server.plain_clips import clips_of, runs_of
from memdb.server.ready_clips import Ready, Told
from memdb.server.requests import parse
from memdb.server.resources import Resources
from memdb.server.tasks import settle
from memdb.server.weigh import light_pieces
from memdb.types.clip import Clip
from memdb.types.ingest import is_ingest_full
from memdb.types.plain_run import PlainRun
from memdb.v1 import clip_service_pb2 as pb
from memdb.wire.ingest import ClipPieces, ingested_clips
from memdb.wire.lists import SMALL_BYTES
from memdb.wire.streams import ledger_to_proto

BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes on the wire of clips of one stream received and not yet acknowledged, however few they are; one message more
may come on top, beside one that the native edge has read ahead."""
SECOND_CLIPS: Final = 32
"""So many clips of a stream, or `SECOND_BYTES`, are made ready while a commit has others of it: of fewer, what a commit
costs is more than the wait for the disk that is saved."""
SECOND_BYTES: Final = 3_000_000
ALONE_MIN: Final = 2
"""Commits of a clip with none on its way behind it, one after the other, until a thread awaits the next one."""
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
        self._ready = Lot()
        self._in_flight = 0
        self._in_flight_bytes = 0
        self._ended = False
        self._refusal: Exception | None = None
        self._work = asyncio.Event()
        """Set when there is something to commit, the client ended, or the server stops."""
        self._room = asyncio.Event()
        self._handed: deque[Ready] = deque()
        """What is on its way, in order."""
        self._hand: Callable[[], None] | None = None
        """Hands over what is ready; None at the end."""

    async def run(
        self,
        receive: ReceiveClips,
        send: Send,
        ahead: Callable[[], SendsAhead | None] = _never,
        lend: Callable[[], Lent | None] = _never,
    ) -> None:
        """Serve the stream to its end.

        ahead, lend: see `memdb.server.answers.Sender`.

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
                await self._commit_all(start, send, ahead, lend, held)
            finally:
                await settle(reader)
                # Its traceback holds messages, and us.
                self._refusal = None
                self._ready = Lot()
                self._handed.clear()

    async def _commit_all(
        self,
        start: pb.IngestStart,
        send: Send,
        ahead: Callable[[], SendsAhead | None],
        lend: Callable[[], Lent | None],
        held: StreamBytes,
    ) -> None:
        user = self._database.user(start.user)
        space = start.space if start.HasField("space") else None
        # By the thread that writes its first clip, which is told what is wrong with it.
        stream = cache(partial(user.stream, start.stream, space=space))
        gathered = self._gatherings.of(user.id)
        handed = self._handed
        tell: SendsAhead | None = None
        alone = 0  # commits with nothing but a clip, one after the other
        awaited: Awaited | None = None

        def hand() -> None:
            nonlocal tell
            lot = self._ready
            last = handed[-1] if handed else None
            is_added = last is not None and gathered.add(last, lot)
            is_few = lot.clips < SECOND_CLIPS and lot.size < SECOND_BYTES
            if last is not None and is_few and not is_added:
                return  # until there is more, or nothing is on its way
            self._ready = Lot()
            if is_added:
                return
            behind = None if last is None else last.fate
            # Not woken before: what the loop does while the thread wants the interpreter delays the acknowledgement.
            ready = Ready(stream, lot, tell, self._work.set, behind)
            tell = None
            handed.append(ready)
            gathered.put(ready)

        def await_clip() -> Awaited | None:
            """Have a thread await the next clip, where the stream sends one at a time."""
            if tell is None or alone < ALONE_MIN or not gathered.is_idle:
                return None
            lent = lend()
            if lent is None:
                return None
            found = Awaited(
                lent,
                Ready(stream, Lot(), tell),
                start.epoch,
                partial(self._openings.is_open, start.user),
            )
            return found if found.begin(self._pools.lone, self._work.set) else None

        self._hand = hand
        try:
            while True:
                while not handed:
                    if self._ready:
                        hand()
                        break
                    if self._refusal is not None:
                        raise self._refusal
                    if self._drain.begun:
                        raise shutting_down()
                    if self._ended:
                        return
                    self._work.clear()
                    tell = ahead()
                    awaited = await_clip()
                    await self._work.wait()
                    if awaited is None or awaited.take_back():
                        continue
                    tell = None
                    told = await awaited.outcome()
                    awaited = None  # or its clip stayed while others are on their way, and no budget counts it
                    if told is None:
                        alone = 0
                        continue
                    await _tell(told, send)
                acks, error = await self._told(gathered, ahead)
                done = handed.popleft()
                # Who was told by the thread may have sent the next one.
                is_alone = done.lot.clips == 1 and not handed and self._ready.clips <= 1
                alone = alone + 1 if is_alone else 0
                self._in_flight -= done.lot.clips
                self._in_flight_bytes -= done.lot.size
                held.release(done.lot.size)
                del done  # as in `_read`
                self._room.set()
                await _tell((acks, error), send)
        finally:
            self._hand = None
            if awaited is not None:
                awaited.take_back()
            for ready in handed:
                if not gathered.take_back(ready):
                    # Who sends a lot and leaves, over and over, would fill the memory with what threads have.
                    ready.left = held.leave(ready.lot.size)

    async def _told(self, gathered: Gathered, ahead: Callable[[], SendsAhead | None]) -> Told:
        """Of the oldest that is on its way."""
        while True:
            oldest = self._handed[0]
            if oldest.tell is None and not oldest.outcome.done():
                oldest.tell = ahead()
            try:
                return await oldest.outcome
            except Exception as error:  # whatever befell those that it shared a commit with
                # Refused before any of it was written: other writes of the user wait.
                is_busy = isinstance(error, ResourceExhausted) and error.reason == "OVERLOADED"
                # Or behind what was refused with another stream's, be it for want of room, and has been written since.
                was_with_another = oldest.behind is not None and oldest.behind.was_refused
                if not is_busy and not was_with_another:
                    raise
            finally:
                stream, lot = oldest.stream, oldest.lot
                del oldest  # its error would hold this frame, and this frame the error
            self._drain.check()
            if is_busy:
                await asyncio.sleep(BUSY_PAUSE_S)
            # What is behind it was not written either.
            self._handed[0] = Ready(stream, lot, None)
            gathered.put(self._handed[0])

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
                clips: list[Clip] | list[PlainRun]
                error: MemdbError | None = None
                if not isinstance(data, bytes):
                    runs = runs_of(data, epoch)
                    if runs is None:
                        clips, error = _before_error(clips_of(data), epoch)
                    else:
                        clips = runs
                elif (pieces := light_pieces(data)) is not None:
                    clips, error = _clips(data, epoch, pieces)
                else:
                    clips, error = await self._pools.read.run_in_turn(_clips, data, epoch)
                self._in_flight += self._ready.add(clips, len(data))
                self._in_flight_bytes += len(data)
                # In the loop's next turn, once the next message was asked for: a thread that is woken waits for the
                # interpreter until the loop has nothing left to do.
                loop.call_soon(self._hand_over)
                if error is not None:
                    self._refusal = error
                    return
                runs = None
                del (
                    data,
                    clips,
                )  # or a silent stream kept them, which no budget counts once they are committed
                while self._is_full():
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:
            self._refusal = error
        finally:
            self._ended = True
            self._work.set()

    def _is_full(self) -> bool:
        return self._in_flight_bytes >= BYTES_MAX or is_ingest_full(
            self._in_flight, self._in_flight_bytes
        )

    def _hand_over(self) -> None:
        """Have what was read committed, as soon as may be."""
        if self._ready and self._hand is not None:
            self._hand()
        else:
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


async def _tell(told: Told, send: Send) -> None:
    """Send acknowledgements, and raise what refused the clip after them."""
    acks, error = told
    if acks:
        await send(acks)
    if error is not None:
        raise error


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
