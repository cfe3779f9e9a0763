"""The load of the crash tests: every clip is a function of (user, stream, number), so whoever looks
later knows what must be there, byte for byte.

Every fifth number is first written open, twice, and then sealed: revisions of an open clip are
under way when the process dies too.  The load runs as fast as it can.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np

from memdb import Ack, Clip, Grounding, Keyframe, MemdbError, NotFound, Unavailable, Utterance
from memdb.types.arrays import Array
from memdb.types.database import Database, Stream

DIM = 48
ROWS = 32
SPACE = "crash"
STREAMS = ("batched-0", *(f"streamed-{n}" for n in range(4)))
"""How each is written: several clips to a call, or pipelined."""
READERS = 2
SECOND_NS = 10**9
OPEN_EVERY = 5
DRAFTS = 2


def _generator(*parts: object) -> np.random.Generator:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@lru_cache(maxsize=8192)
def clip_of(user: str, stream: str, seq: int, draft: int | None = None) -> Clip:
    """The clip, or one of its open drafts; made once, since it cannot be changed and is looked at often."""
    made = _generator(user, stream, seq, draft)
    start_ns = seq * 10 * SECOND_NS
    return Clip(
        seq=seq,
        start_ns=start_ns,
        end_ns=start_ns + (10 if draft is None else draft + 1) * SECOND_NS,
        global_memory=made.standard_normal(DIM).astype(np.float32),
        short_memory=made.standard_normal((ROWS, DIM)).astype(np.float16),
        transcript=(Utterance(start_ns, start_ns + 1, f"{stream} says {seq} {draft}"),),
        keyframes=(Keyframe(start_ns, made.bytes(200)),),
        labels={"stream": stream, "seq": str(seq)},
        sealed=draft is None,
    )


def versions_of(user: str, stream: str, seq: int) -> Iterator[Clip]:
    """What is written under a number, in order."""
    if seq % OPEN_EVERY == OPEN_EVERY - 1:
        for draft in range(DRAFTS):
            yield clip_of(user, stream, seq, draft)
    yield clip_of(user, stream, seq)


def same_clip(found: Clip, wanted: Clip) -> list[str]:
    """The fields in which two clips differ."""
    wrong = [
        name
        for name in ("seq", "epoch", "start_ns", "end_ns", "sealed", "transcript", "keyframes")
        if getattr(found, name) != getattr(wanted, name)
    ]
    if dict(found.labels) != dict(wanted.labels):
        wrong.append("labels")
    if found.global_memory.tobytes() != wanted.global_memory.tobytes():
        wrong.append("global_memory")
    return wrong


def same_short_memory(found: Array, wanted: Clip) -> bool:
    """Whether the bytes are equal."""
    assert isinstance(wanted.short_memory, np.ndarray)
    return found.tobytes() == wanted.short_memory.tobytes()


def digest(grounding: Grounding) -> str:
    """An answer to the last bit: which versions, with which scores, and what is missing."""
    told = [
        (hit.clip.id, hit.clip.revision, hit.score, hit.clip.sealed, hit.clip.end_ns)
        for hit in grounding.hits
    ]
    return hashlib.sha256(repr((told, grounding.gaps)).encode()).hexdigest()[:24]


class Sink(Protocol):
    """Where acknowledgements and answers are noted, before anything else happens."""

    def acknowledged(self, stream: str, clip: Clip, ack: Ack | None) -> None:
        """``ack`` is None where only the number of acknowledgements is known."""

    def answered(self, revision: int, answer: str) -> None:
        """The standing question's answer at the head, which was ``revision``."""


@dataclass
class Record:
    """What one user's clients were told."""

    user: str
    acks: dict[tuple[str, int], Ack | None] = field(default_factory=dict)
    """(stream, seq) -> the acknowledgement of the newest version acknowledged."""
    sealed: set[tuple[str, int]] = field(default_factory=set)
    """Acknowledged in their final version."""
    answers: dict[int, str] = field(default_factory=dict)
    """revision -> digest of the standing question's answer as of it."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledged(self, stream: str, clip: Clip, ack: Ack | None) -> None:
        key = (stream, clip.seq)
        with self.lock:
            known = self.acks.get(key)
            if known is not None and ack is not None:
                assert known.clip_id == ack.clip_id, f"{key} has two ids"
            self.acks[key] = ack or known
            if clip.sealed:
                self.sealed.add(key)

    def answered(self, revision: int, answer: str) -> None:
        with self.lock:
            assert self.answers.setdefault(revision, answer) == answer, f"{revision} answers twice"


@lru_cache(maxsize=64)
def standing_question(user: str) -> Array:
    """What the reader asks, over and over."""
    return _generator(user, "question").standard_normal(DIM).astype(np.float32)


@dataclass
class Load:
    """Writers and readers of one user, until told to stop or until the database goes away."""

    db: Database
    user: str
    sink: Sink
    stop: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)
    """The first call is under way."""
    errors: list[str] = field(default_factory=list)
    """Anything but `Unavailable`: a killed server must show as nothing else."""
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        """Start the threads."""
        for target, stream in (
            (self._batched, STREAMS[0]),
            *((self._streamed, stream) for stream in STREAMS[1:]),
            *((self._asking, ""),) * READERS,
        ):
            thread = threading.Thread(target=self._guarded, args=(target, stream), daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        """Stop, and wait for the threads."""
        self.stop.set()
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                self.errors.append("a client hangs")

    def _guarded(self, target: Callable[[str], None], stream: str) -> None:
        try:
            target(stream)
        except Unavailable:
            pass
        except BaseException as error:
            self.errors.append(f"{stream or 'reader'}: {error!r}")

    def _batched(self, name: str) -> None:
        stream = self.db.user(self.user).stream(name, space=SPACE)
        self.started.set()
        seq = stream.ledger().next_seq
        while not self.stop.is_set():
            clips = [clip for n in range(4) for clip in versions_of(self.user, name, seq + n)]
            for clip, ack in zip(clips, stream.write_many(clips), strict=True):
                self.sink.acknowledged(name, clip, ack)
            seq += 4

    def _streamed(self, name: str) -> None:
        stream = self.db.user(self.user).stream(name, space=SPACE)
        writer = stream.ingest(window=16)
        sent: deque[Clip] = deque()
        noted = 0
        try:
            seq = writer.next_seq
            while not self.stop.is_set():
                for clip in versions_of(self.user, name, seq):
                    writer.send(clip)
                    sent.append(clip)
                seq += 1
                if len(sent) >= 24:
                    for ack in writer.flush():
                        self.sink.acknowledged(name, sent.popleft(), ack)
                        noted += 1
        finally:
            # Acknowledged since the last flush: how many is known, and they come in order.
            for _ in range(writer.acks - noted):
                self.sink.acknowledged(name, sent.popleft(), None)

    def _asking(self, _: str) -> None:
        user = self.db.user(self.user)
        question = standing_question(self.user)
        while not self.stop.wait(0.005):
            try:
                answer = user.ground(question, limit=8)
            except NotFound:
                continue  # nobody has written yet
            self.sink.answered(answer.revision, digest(answer))


@contextmanager
def running(db: Database, user: str, sink: Sink) -> Iterator[Load]:
    """A load for the length of a block."""
    load = Load(db, user, sink)
    load.begin()
    try:
        yield load
    finally:
        load.end()


def written_until_refused(stream: Stream) -> tuple[list[Ack], MemdbError]:
    """Write until it is refused; the acknowledgements and the error."""
    acks: list[Ack] = []
    while True:
        try:
            acks.append(stream.write(clip_of("alice", STREAMS[0], len(acks))))
        except MemdbError as error:
            return acks, error
