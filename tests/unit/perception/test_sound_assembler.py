"""Sound alone to clips: over a hole, of which nobody knows what was said, none lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from memdb import Clip
from memdb.types.arrays import Array
from perception.audio.listener import Listener
from perception.audio.vad import VoiceActivity
from perception.compressors.pooled import PooledCompressor
from perception.draft import ClipContext
from perception.sound_assembler import SoundAssembler
from perception.sources.base import AUDIO_RATE_HZ, NS_PER_S, AudioChunk, Samples
from tests.unit.perception.fakes import HashEncoder, hashed_words
from tests.unit.perception.films import speech

pytestmark = pytest.mark.weights

BASE_NS = 1_700_000_000 * NS_PER_S


class HashText:
    """Texts by their hash."""

    model = HashEncoder.space.model

    def encode(self, texts: Sequence[str]) -> Array:
        return HashEncoder().encode_texts(texts)


def assembler(network: VoiceActivity, from_ns: int = 0, first_seq: int = 0) -> SoundAssembler:
    context = ClipContext(BASE_NS, NS_PER_S, 0, PooledCompressor(), HashText())
    listener = Listener(network, hashed_words, from_ns=from_ns or None)
    return SoundAssembler(
        context, HashText(), listener, first_seq=first_seq, from_ns=from_ns, has_revisions=False
    )


def chunks(*parts: Samples | float) -> Iterator[AudioChunk]:
    """Sound, and holes of so many seconds."""
    at = 0
    for part in parts:
        if isinstance(part, float):
            is_hole, samples = True, np.zeros(round(part * AUDIO_RATE_HZ), np.float32)
        else:
            is_hole, samples = False, part
        step = 10 * AUDIO_RATE_HZ if is_hole else 4_096
        for begin in range(0, len(samples), step):
            yield AudioChunk(at + begin, samples[begin : begin + step], is_hole)
        at += len(samples)


def assemble(made: SoundAssembler, sound: Iterator[AudioChunk]) -> list[Clip]:
    return [*(clip for chunk in sound for clip in made.take(chunk)), *made.finish()]


def test_no_clip_lasts_over_a_hole(voice_activity: VoiceActivity) -> None:
    said = speech("beckett.wav")[: 5 * AUDIO_RATE_HZ]
    parts: list[Samples | float] = [said, 25.0, said, 12.0, said[: 2 * AUDIO_RATE_HZ]]
    clips = assemble(assembler(voice_activity), chunks(*parts))
    spans_s = [
        ((clip.start_ns - BASE_NS) / NS_PER_S, (clip.end_ns - BASE_NS) / NS_PER_S) for clip in clips
    ]
    assert (spans_s[0][0], spans_s[-1][1]) == (0, 49)
    edges = {edge for span in spans_s for edge in span}
    assert {5, 30, 35, 47} <= edges
    assert not any(start < 5 < end or 5 < end <= 30 or 35 < end <= 47 for start, end in spans_s)
    assert all(
        clip.start_ns <= (item.start_ns + item.end_ns) // 2 < clip.end_ns
        for clip in clips
        for item in clip.transcript
    )
    assert sum(len(clip.transcript) for clip in clips) >= 6
    # Going on from any clip, the first one behind a hole too, makes the same ones.
    for number, clip in enumerate(clips[:-1]):
        resumed = assembler(voice_activity, clip.end_ns - BASE_NS, number + 1)
        again = assemble(resumed, chunks(*parts))
        assert [(c.seq, c.start_ns, c.end_ns, c.transcript) for c in again] == [
            (c.seq, c.start_ns, c.end_ns, c.transcript) for c in clips[number + 1 :]
        ]
