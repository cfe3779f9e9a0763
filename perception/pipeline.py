"""One camera from source to memdb: reading, assembling and writing in a thread each, with bounded
queues between.

::

    source --items--> assembler (encoder, listener, compressor) --clips--> writer --> memdb

A slow server fills the queue of clips, then that of items, and then the reading waits: nothing is
dropped and memory stays bounded.  A source that keeps time (`Source.keeps_time`) is read on instead, or
its sender would leave: clips for which there is no room are left out, and their numbers are gaps.
An error in any stage ends all three and is raised by `Pipeline.run`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from memdb.types.clip import Clip
from memdb.types.database import IngestWriter
from perception.channel import Channel, ChannelClosed
from perception.clock_slip import ClockSlip
from perception.errors import SourceUnreadable
from perception.known_picture import KnownPicture
from perception.sources.base import AUDIO_RATE_HZ, NS_PER_S, MediaItem, Source, VideoFrame

STOP_READ_S: Final = 2.0
"""How long a stop waits for a source that is being read: one that shows nothing may take half a minute."""
ROOM_S: Final = 1.0
"""How long a clip waits for room although its source goes on: many are sealed at once where their sound comes late, and
a server that is there takes them in a moment."""
ITEMS_MAX: Final = 32
"""Frames and chunks of sound read ahead; a frame of 1280x720 takes 2.8 MB."""
CLIPS_MAX: Final = 8
"""Clips that wait to be sent, besides the window of the writer."""


@dataclass(slots=True)
class Progress:
    """How far one camera has come; written by its threads, read by whoever shows it."""

    clips: int = 0
    """Sealed clips given to the writer."""
    acks: int = 0
    """Sealed clips acknowledged."""
    left_out: int = 0
    """Sealed clips for which there was no room while the server was away: gaps of the stream."""
    frames: int = 0
    utterances: int = 0
    damaged: int = 0
    """Packets that could not be decoded, and were passed over."""
    media_ns: int = 0
    """Media time of the newest frame, or of the newest sound where there are no pictures."""
    read_s: float = 0.0
    """Processor time of reading and decoding, in its thread: FFmpeg decodes some media in more of its own."""
    assemble_s: float = 0.0
    """Processor time of what sees and detects speech, in its thread; what transcribes has threads of its own."""
    send_s: float = 0.0
    """Processor time of writing, in the camera's thread."""


class Assembler(Protocol):
    """Makes clips out of what a source shows: `perception.assembler`, `perception.sound_assembler`."""

    @property
    def frames(self) -> int:
        """Frames taken so far."""
        ...

    @property
    def utterances(self) -> int:
        """Utterances heard so far."""
        ...

    def take(self, item: MediaItem) -> list[Clip]:
        """Take the next item; sealed clips, and perhaps a revision of the open one, in order."""
        ...

    def finish(self) -> list[Clip]:
        """The medium has ended: everything left, sealed."""
        ...


class Pipeline:
    """Runs one source through one assembler into one writer."""

    def __init__(
        self,
        source: Source,
        assembler: Assembler,
        writer: IngestWriter,
        *,
        frames_from_ns: int = 0,
        known: KnownPicture | None = None,
        is_paced: bool = False,
        on_ack: Callable[[Clip], None] | None = None,
    ) -> None:
        """writer: a fresh one.  known: what the source is to show before ``frames_from_ns``.  is_paced: read no
        faster than the medium plays.  on_ack: takes each clip after its acknowledgement, in order.
        """
        self._source = source
        self._assembler = assembler
        self._writer = writer
        self._frames_from_ns = frames_from_ns
        self._known = known
        self._is_paced = is_paced
        self._on_ack = on_ack
        self._sent: deque[Clip] = deque()
        self._writes_settled = 0
        self._items: Channel[MediaItem] = Channel(ITEMS_MAX)
        self._clips: Channel[Clip] = Channel(CLIPS_MAX)
        self._stop = threading.Event()
        self._is_stopped = False
        self._is_full = False
        """Whether the newest clip was left out."""
        self.slip_ns: int | None = None
        """By how much the wall clock went further than a live source, for which its reading was ended."""
        self.progress = Progress()

    def run(self) -> Progress:
        """Until the medium ends, `stop` is called, or a stage fails, whose error is raised.

        At the end everything sent is acknowledged, also where the medium broke off.  After a stop,
        or when it broke off, a live source's last clips are sealed, as it does not show them again; a
        recorded one's is left open, for the ingest that resumes it.
        """
        threads = [
            threading.Thread(target=self._guarded, args=(stage, channel), name=name, daemon=True)
            for stage, channel, name in (
                (self._read, self._items, "perception-read"),
                (self._assemble, self._clips, "perception-assemble"),
            )
        ]
        for thread in threads:
            thread.start()
        # The thread is not of this pipeline alone.
        before_s = time.thread_time()
        try:
            try:
                for clip in self._clips:
                    self._sent.append(clip)
                    self._writer.send(clip)
                    self.progress.clips += clip.sealed
                    self._tell()
                    self.progress.send_s = time.thread_time() - before_s
            except SourceUnreadable:
                # It is the medium that is at fault: what is on its way gets there.
                self._writer.flush()
                raise
            self._writer.flush()
        finally:
            self._stop.set()
            self._source.close()
            self._clips.close()
            self._items.close()
            read, assemble = threads
            read.join(STOP_READ_S if self._is_stopped else None)
            assemble.join()
            self._tell()
            self.progress.send_s = time.thread_time() - before_s
        return self.progress

    def stop(self) -> None:
        """End soon; from any thread."""
        self._is_stopped = True
        self._stop.set()
        # Not when the source shows the next picture, which may be never.
        self._items.end()

    @property
    def waiting(self) -> tuple[int, int]:
        """How many clips wait for their acknowledgement, and how many writes were acknowledged so
        far; from any thread.
        """
        sent, settled = list(self._sent), self._writes_settled
        writes = self._writer.acks
        return len({clip.seq for clip in sent[max(0, writes - settled) :]}), writes

    def _tell(self) -> None:
        # Acknowledgements come in the order of sending: the oldest clips are the ones settled.
        writes = self._writer.acks
        settled, self._writes_settled = writes - self._writes_settled, writes
        for _ in range(settled):
            clip = self._sent.popleft()
            self.progress.acks += clip.sealed
            if self._on_ack is not None:
                self._on_ack(clip)

    def _guarded(self, stage: Callable[[], None], channel: Channel[object]) -> None:
        try:
            stage()
        except ChannelClosed:
            channel.end()
        except BaseException as error:
            channel.end(error)
        else:
            channel.end()

    def _read(self) -> None:
        started_s = time.monotonic()
        slip = ClockSlip() if self._source.keeps_time else None
        for item in self._source_items():
            self.progress.read_s = time.thread_time()
            if slip is not None and self._tells_time(item):
                self.slip_ns = slip.look(_time_ns(item))
                if self.slip_ns is not None:
                    return
            if self._is_paced:
                ahead_s = (_time_ns(item) - self._frames_from_ns) / NS_PER_S
                self._stop.wait(max(0.0, started_s + ahead_s - time.monotonic()))
            if self._stop.is_set():
                return
            self._items.put(item)

    def _source_items(self) -> Iterator[MediaItem]:
        known, from_ns = self._known, self._frames_from_ns
        if known is None:
            return self._source.items(frames_from_ns=from_ns)
        items = self._source.items(frames_from_ns=min(from_ns, known.time_ns))
        return known.checked(items, from_ns, is_whole=self._is_whole)

    def _is_whole(self) -> bool:
        """Of a source that ended: whether by itself, and with all of its pictures."""
        return not self._stop.is_set() and not self._source.damaged

    def _tells_time(self, item: MediaItem) -> bool:
        """Whether its media time is of now: sound may stay away beside pictures, and what stands for it is of then."""
        if isinstance(item, VideoFrame):
            return True
        return not self._source.has_video and not item.is_hole

    def _assemble(self) -> None:
        try:
            for item in self._items:
                if self._stop.is_set() and not self._source.is_live:
                    return
                for clip in self._assembler.take(item):
                    self._put(clip)
                self.progress.assemble_s = time.thread_time()
                self.progress.damaged = self._source.damaged
                self.progress.frames = self._assembler.frames
                self.progress.utterances = self._assembler.utterances
                if isinstance(item, VideoFrame) or not self._source.has_video:
                    self.progress.media_ns = _time_ns(item)
            if self._stop.is_set() and not self._source.is_live:
                return
            self._finish()
        except SourceUnreadable:
            if self._source.is_live:
                self._finish()
            raise
        finally:
            self._items.close()

    def _put(self, clip: Clip) -> None:
        if not self._source.keeps_time:
            self._clips.put(clip)
            return
        if not clip.sealed:
            # What follows says it again, and more: it takes nobody's room, least of all that of its own end.
            if self._clips.is_empty:
                self._clips.offer(clip)
            return
        # Once for a server that is away, not for each clip.
        self._is_full = not self._clips.offer(clip, 0.0 if self._is_full else ROOM_S)
        self.progress.left_out += self._is_full

    def _finish(self) -> None:
        for clip in self._assembler.finish():
            self._put(clip)
        self.progress.utterances = self._assembler.utterances
        self.progress.assemble_s = time.thread_time()


def _time_ns(item: MediaItem) -> int:
    if isinstance(item, VideoFrame):
        return item.time_ns
    return item.first_sample * NS_PER_S // AUDIO_RATE_HZ
