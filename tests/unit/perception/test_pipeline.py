"""Clips on their way from the assembler to the writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb
from memdb import Clip
from perception.clock_slip import ClockSlip
from perception.pipeline import CLIPS_MAX, Pipeline, Progress
from perception.sources.base import AUDIO_RATE_HZ, NS_PER_S, AudioChunk, MediaItem, VideoFrame

FRAME = np.zeros((2, 2, 3), np.uint8)
BURST = 3 * CLIPS_MAX


def clip(seq: int, *, sealed: bool = True) -> Clip:
    vector = np.ones(4, np.float32)
    return Clip(
        seq=seq, start_ns=seq * NS_PER_S, end_ns=(seq + 1) * NS_PER_S, global_memory=vector,
        sealed=sealed,
    )  # fmt: skip


class Camera:
    """Two pictures of a source that goes on whether or not it is read."""

    is_live = keeps_time = has_video = True
    has_audio = False
    damaged = 0

    def items(self, *, frames_from_ns: int = 0) -> Iterator[MediaItem]:
        yield from (VideoFrame(number * NS_PER_S, FRAME) for number in range(2))

    def close(self) -> None: ...


class AtOnce:
    """All clips at the end, as of a camera whose sound stayed away: they had waited for it."""

    frames = utterances = 0

    def take(self, item: MediaItem) -> list[Clip]:
        return []

    def finish(self) -> list[Clip]:
        return [clip(seq) for seq in range(BURST)]


def run(tmp_path: Path, assembler: AtOnce, wrap: Any = lambda writer: writer) -> Progress:
    with memdb.open(tmp_path / "data") as database:
        database.create_space("p", dim=4)
        stream = database.user("alice").stream("porch", space="p")
        with stream.ingest() as writer:
            progress = Pipeline(Camera(), assembler, wrap(writer)).run()
        assert progress.acks == len(database.user("alice").clips()) == progress.clips
        return progress


def test_many_clips_at_once_are_not_left_out_while_the_server_takes_them(tmp_path: Path) -> None:
    progress = run(tmp_path, AtOnce())
    assert (progress.left_out, progress.acks) == (0, BURST)


class Held:
    """A writer that takes nothing for so long, then all."""

    def __init__(self, writer: Any, until: threading.Event) -> None:
        self._writer = writer
        self._until = until

    def send(self, one: Clip) -> None:
        assert self._until.wait(30)
        self._writer.send(one)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


class Revised(AtOnce):
    """An open clip that is given anew and anew while nothing is taken, and then as many clips as there is room for."""

    def __init__(self, is_over: threading.Event) -> None:
        self._is_over = is_over

    def take(self, item: MediaItem) -> list[Clip]:
        return [clip(0, sealed=False) for _ in range(CLIPS_MAX)]

    def finish(self) -> Iterator[Clip]:  # type: ignore[override]
        yield from (clip(seq) for seq in range(CLIPS_MAX - 1))
        self._is_over.set()


def test_versions_of_an_open_clip_take_no_room_from_what_is_kept_for_a_server(
    tmp_path: Path,
) -> None:
    is_over = threading.Event()
    progress = run(tmp_path, Revised(is_over), lambda writer: Held(writer, is_over))
    assert (progress.left_out, progress.acks) == (0, CLIPS_MAX - 1)


class Nothing(AtOnce):
    """No clips."""

    def finish(self) -> list[Clip]:
        return []


@pytest.mark.parametrize("has_pictures", [True, False])
def test_sound_that_stayed_away_is_no_clock_that_slipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_pictures: bool
) -> None:
    """Its silence is filled in when it comes again, and is of the time before."""
    now_s = 0
    monkeypatch.setattr(
        "perception.pipeline.ClockSlip", lambda: ClockSlip(lambda: now_s * NS_PER_S)
    )

    class Muted(Camera):
        has_audio, has_video = True, has_pictures

        def items(self, *, frames_from_ns: int = 0) -> Iterator[MediaItem]:
            nonlocal now_s
            second = np.zeros(AUDIO_RATE_HZ, np.float32)
            yield AudioChunk(0, second)
            for now_s in range(1, 40):
                if has_pictures:
                    yield VideoFrame(now_s * NS_PER_S, FRAME)
            for begin_s in range(1, 39):
                yield AudioChunk(begin_s * AUDIO_RATE_HZ, second, is_hole=True)
            yield AudioChunk(39 * AUDIO_RATE_HZ, second)

    with memdb.open(tmp_path / "data") as database:
        database.create_space("p", dim=4)
        with database.user("alice").stream("porch", space="p").ingest() as writer:
            pipeline = Pipeline(Muted(), Nothing(), writer)
            pipeline.run()
    assert pipeline.slip_ns is None
