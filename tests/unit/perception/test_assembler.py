"""Frames and sound to clips: what waits for what, and which clip an utterance goes to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from memdb import Clip, Utterance
from perception.assembler import STALL_NS, ClipAssembler
from perception.audio.listener import END_OF_TIME_NS, Listener
from perception.compressors.pooled import PooledCompressor
from perception.draft import OBJECTS_LABEL, ClipContext
from perception.sources.base import NS_PER_S, AudioChunk, MediaItem, VideoFrame
from tests.unit.perception.fakes import DIM, TOKENS, HashEncoder

BASE_NS = 1_700_000_000 * NS_PER_S
RED, GREEN, BLUE = (250, 5, 5), (5, 250, 5), (5, 5, 250)


class ScriptedListener(Listener):
    """Utterances at given seconds; each is settled as soon as the sound has passed its end."""

    def __init__(self, utterances: Iterable[tuple[float, float]]) -> None:
        self._script = [
            Utterance(round(start * NS_PER_S), round(end * NS_PER_S), f"{start} to {end}")
            for start, end in utterances
        ]
        self._heard_ns = -END_OF_TIME_NS

    @property
    def settled_ns(self) -> int:
        begun = [item for item in self._script if item.start_ns < self._heard_ns]
        middles = [(item.start_ns + self._heard_ns) // 2 for item in begun]
        return min([self._heard_ns, *middles])

    def hear(self, chunk: AudioChunk) -> list[Utterance]:
        self._heard_ns = chunk.first_sample * NS_PER_S // 16_000
        return self._until(self._heard_ns)

    def finish(self) -> list[Utterance]:
        return self._until(END_OF_TIME_NS)

    def _until(self, time_ns: int) -> list[Utterance]:
        ended = [item for item in self._script if item.end_ns <= time_ns]
        self._script = [item for item in self._script if item.end_ns > time_ns]
        return ended


def frame(second: int, colour: tuple[int, int, int]) -> VideoFrame:
    pixels = np.full((24, 32, 3), colour, np.uint8)
    pixels[0, 0] = second
    return VideoFrame(second * NS_PER_S, pixels)


def frames(*colours: tuple[int, int, int]) -> list[MediaItem]:
    return [frame(second, colour) for second, colour in enumerate(colours)]


def heard_to(second: float) -> AudioChunk:
    return AudioChunk(round(second * 16_000), np.zeros(0, np.float32))


def assembler(listener: Listener | None = None, revise_every: int = 0) -> ClipAssembler:
    context = ClipContext(BASE_NS, NS_PER_S, 0, PooledCompressor(), None)
    return ClipAssembler(context, HashEncoder(), listener, revise_every=revise_every)


def assemble(made: ClipAssembler, items: Iterable[MediaItem]) -> Iterator[Clip]:
    for item in items:
        yield from made.take(item)
    yield from made.finish()


def spans(clips: Iterable[Clip]) -> list[tuple[int, int, int]]:
    return [
        (clip.seq, (clip.start_ns - BASE_NS) // NS_PER_S, (clip.end_ns - BASE_NS) // NS_PER_S)
        for clip in clips
    ]


def test_clips_follow_each_other_without_holes() -> None:
    clips = list(assemble(assembler(), frames(*[RED] * 5, *[GREEN] * 18, *[BLUE] * 2)))
    assert spans(clips) == [(0, 0, 5), (1, 5, 21), (2, 21, 25)]
    assert all(clip.sealed for clip in clips)


def test_no_clip_lasts_over_a_hole() -> None:
    context = ClipContext(BASE_NS, NS_PER_S, 0, PooledCompressor(), None)
    made = ClipAssembler(context, HashEncoder(), None, revise_every=0)
    times = [0, 1, 2, 3, 13, 14, 25, 26, 27]
    clips = list(assemble(made, [frame(second, RED) for second in times]))
    assert spans(clips) == [(0, 0, 15), (1, 25, 28)]


def test_a_picture_that_stands_is_looked_at_once() -> None:
    context, encoder = ClipContext(BASE_NS, NS_PER_S, 0, PooledCompressor(), None), HashEncoder()
    pixels = frame(0, RED).pixels
    standing = [VideoFrame(second * NS_PER_S, pixels) for second in range(20)]
    clips = list(assemble(ClipAssembler(context, encoder, None), standing))
    assert encoder.frames == 1
    assert spans([clip for clip in clips if clip.sealed]) == [(0, 0, 16), (1, 16, 20)]


def test_a_clip_carries_its_memory_labels_and_keyframes() -> None:
    (clip,) = assemble(assembler(), frames(RED, RED, RED))
    assert isinstance(clip.short_memory, np.ndarray)
    assert clip.short_memory.shape == (3 * TOKENS, DIM)
    assert clip.short_memory.dtype == np.float16
    assert clip.frames_per_token_row == 1 / TOKENS
    assert clip.global_memory.shape == (DIM,)
    assert np.linalg.norm(clip.global_memory) == pytest.approx(1.0, abs=1e-6)
    assert clip.labels[OBJECTS_LABEL].startswith("shade ")
    assert 1 <= len(clip.keyframes) <= 2
    assert all(keyframe.jpeg[:2] == b"\xff\xd8" for keyframe in clip.keyframes)


def test_an_utterance_goes_to_the_clip_of_its_middle() -> None:
    listener = ScriptedListener([(0.5, 1.5), (2.0, 5.0), (2.5, 4.5), (3.0, 7.1)])
    items = [*frames(RED, RED, RED, RED, GREEN, GREEN, GREEN), heard_to(8)]
    first, second = assemble(assembler(listener), items)
    assert [item.text for item in first.transcript] == ["0.5 to 1.5", "2.0 to 5.0", "2.5 to 4.5"]
    assert [item.text for item in second.transcript] == ["3.0 to 7.1"]
    assert second.transcript[0].start_ns == BASE_NS + 3 * NS_PER_S


def test_a_clip_waits_until_its_sound_is_heard() -> None:
    made = assembler(ScriptedListener([(2.0, 3.5)]))
    sealed: list[Clip] = []
    for item in frames(RED, RED, RED, GREEN, GREEN):
        sealed += made.take(item)
    assert sealed == []
    # Up to here an utterance that began at 2 s may still have its middle before 3 s.
    assert made.take(heard_to(3.2)) == []
    (clip,) = made.take(heard_to(4.0))
    assert [item.text for item in clip.transcript] == ["2.0 to 3.5"]


def test_a_clip_does_not_wait_for_ever_for_sound_that_stays_away() -> None:
    seconds = STALL_NS // NS_PER_S
    made = assembler(ScriptedListener([]))
    sealed: list[tuple[int, int]] = []
    for item in frames(*[RED] * 4, *[GREEN] * (seconds + 4)):
        assert isinstance(item, VideoFrame)
        sealed += [(clip.seq, item.time_ns // NS_PER_S) for clip in made.take(item)]
    assert sealed[0] == (0, 4 + seconds)


def test_the_last_clip_takes_what_is_said_after_it() -> None:
    listener = ScriptedListener([(0.0, 1.0), (5.0, 9.0)])
    (clip,) = assemble(assembler(listener), frames(RED, RED, RED))
    assert len(clip.transcript) == 2


def test_the_open_clip_is_revised_every_so_many_frames() -> None:
    clips = list(assemble(assembler(revise_every=2), frames(*[RED] * 5, *[GREEN] * 3)))
    assert [(clip.seq, clip.sealed) for clip in clips] == [
        (0, False),
        (0, False),
        (0, True),
        (1, False),
        (1, True),
    ]
    assert spans(clips)[1] == (0, 0, 4)


def test_no_revision_overtakes_a_clip_that_waits() -> None:
    made = assembler(ScriptedListener([]), revise_every=1)
    numbers = []
    for item in [*frames(RED, RED, RED, GREEN, GREEN), heard_to(9), frame(5, GREEN)]:
        numbers += [clip.seq for clip in made.take(item)]
    assert numbers == sorted(numbers)


def test_a_medium_without_pictures_makes_no_clip() -> None:
    assert list(assemble(assembler(), [])) == []
