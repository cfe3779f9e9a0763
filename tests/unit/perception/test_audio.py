"""Hearing: where people speak, what they say, and the same when begun again."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import cast

import numpy as np
import pytest

from memdb import Utterance
from perception.audio.asr import Recogniser
from perception.audio.listener import Listener, middle_ns
from perception.audio.vad import (
    CHUNK_SAMPLES,
    SPEECH_MAX_SAMPLES,
    Speech,
    SpeechDetector,
    VoiceActivity,
)
from perception.sources.base import AUDIO_RATE_HZ, NS_PER_S, AudioChunk, Samples
from tests.unit.perception.fakes import hashed_words
from tests.unit.perception.films import speech

pytestmark = pytest.mark.weights

BECKETT = ["ever tried", "ever failed", "no matter", "try again", "fail again", "fail better"]
TWO_CITIES = (
    "it was the best of times it was the worst of times it was the age of wisdom it was the age "
    "of foolishness it was the epoch of belief it was the epoch of incredulity it was the season "
    "of light it was the season of darkness it was the spring of hope it was the winter of despair"
)


def detect(network: VoiceActivity, samples: Samples, step: int = 4096) -> list[Speech]:
    detector = SpeechDetector(network)
    found = [
        stretch
        for offset in range(0, len(samples), step)
        for stretch in detector.feed(samples[offset : offset + step])
    ]
    return found + detector.finish()


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z ]", " ", text.lower()).split()


def word_errors(reference: list[str], heard: list[str]) -> int:
    """Insertions, deletions and substitutions between the two."""
    row = list(range(len(heard) + 1))
    for i, expected in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, got in enumerate(heard, 1):
            diagonal, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, diagonal + (expected != got)),
            )
    return row[-1]


def test_each_phrase_is_a_stretch_of_speech(voice_activity: VoiceActivity) -> None:
    found = detect(voice_activity, speech("beckett.wav"))
    assert len(found) == len(BECKETT)
    starts_s = [stretch.start / AUDIO_RATE_HZ for stretch in found]
    assert starts_s == pytest.approx([0.25, 1.75, 3.4, 4.75, 6.5, 8.0], abs=0.25)
    assert all(one.end <= other.start for one, other in pairwise(found))


def test_silence_and_noise_are_not_speech(voice_activity: VoiceActivity) -> None:
    noise = np.random.default_rng(7).normal(0, 0.05, 5 * AUDIO_RATE_HZ).astype(np.float32)
    assert detect(voice_activity, np.concatenate([np.zeros_like(noise), noise])) == []


def test_chunks_of_any_size_give_the_same_stretches(voice_activity: VoiceActivity) -> None:
    samples = speech("beckett.wav")
    expected = detect(voice_activity, samples)
    for step in (160, 1024, 5001, len(samples)):
        assert detect(voice_activity, samples, step) == expected


def test_an_endless_talker_is_parted(voice_activity: VoiceActivity) -> None:
    phrase = speech("two_cities.wav")[29 * AUDIO_RATE_HZ : 41 * AUDIO_RATE_HZ]
    found = detect(voice_activity, np.concatenate([phrase, phrase, phrase]))
    assert len(found) > 2
    assert max(stretch.end - stretch.start for stretch in found) <= SPEECH_MAX_SAMPLES + 4096


def test_nothing_settled_is_heard_later(voice_activity: VoiceActivity) -> None:
    """What a clip waits for: no utterance's middle lies before what was said to be settled."""
    listener = Listener(voice_activity, hashed_words)
    phrase = speech("two_cities.wav")
    settled_ns = listener.settled_ns
    heard: list[Utterance] = []
    for offset in range(0, len(phrase), 800):
        fresh = listener.hear(AudioChunk(offset, phrase[offset : offset + 800]))
        for utterance in fresh:
            assert middle_ns(utterance.start_ns, utterance.end_ns) >= settled_ns
        assert listener.settled_ns >= settled_ns
        settled_ns = listener.settled_ns
        heard += fresh
    assert len(heard) >= 6


def test_hearing_again_from_the_beginning_gives_the_same_words(
    voice_activity: VoiceActivity,
) -> None:
    samples = speech("beckett.wav")

    def hear(from_ns: int, step: int) -> list[Utterance]:
        listener = Listener(voice_activity, hashed_words, from_ns=from_ns)
        found = [
            utterance
            for offset in range(0, len(samples), step)
            for utterance in listener.hear(AudioChunk(offset, samples[offset : offset + step]))
        ]
        return found + listener.finish()

    whole = hear(0, 1000)
    for from_s in (1, 4, 7):
        assert hear(from_s * NS_PER_S, 1357) == [
            item for item in whole if middle_ns(item.start_ns, item.end_ns) >= from_s * NS_PER_S
        ]


def test_a_hole_of_hours_is_not_listened_to(voice_activity: VoiceActivity) -> None:
    """Recordings of motion alone are full of them: to look for speech in a day takes six minutes."""
    samples = speech("beckett.wav")[: 4 * AUDIO_RATE_HZ]
    silence = np.zeros(10 * AUDIO_RATE_HZ, np.float32)
    looks: list[int] = []

    class Counted:
        def probability(self, chunk: Samples, state: Samples) -> tuple[float, Samples]:
            looks.append(len(chunk))
            return voice_activity.probability(chunk, state)

    listener = Listener(cast(VoiceActivity, Counted()), hashed_words)
    heard = listener.hear(AudioChunk(0, samples))
    at = len(samples)
    for _ in range(8640):
        heard += listener.hear(AudioChunk(at, silence, is_hole=True))
        at += len(silence)
    assert listener.settled_ns == at * NS_PER_S // AUDIO_RATE_HZ
    heard += [*listener.hear(AudioChunk(at, samples)), *listener.finish()]
    assert len(looks) <= 2 * len(samples) // CHUNK_SAMPLES
    day = [(said.start_ns // 86_400_000_000_000, said.text) for said in heard]
    assert [text for after, text in day if after] == [text for after, text in day if not after]
    assert len(day) == 6


def test_words_are_written_down(voice_activity: VoiceActivity, recogniser: Recogniser) -> None:
    samples = speech("two_cities.wav")[: 21 * AUDIO_RATE_HZ]
    listener = Listener(voice_activity, recogniser.transcribe, language="en")
    heard = [*listener.hear(AudioChunk(0, samples)), *listener.finish()]
    reference = words(TWO_CITIES)
    errors = word_errors(reference, words(" ".join(item.text for item in heard)))
    assert errors / len(reference) <= 0.05
    assert all(item.language == "en" for item in heard)


def test_the_same_sound_gives_the_same_words(recogniser: Recogniser) -> None:
    samples = speech("beckett.wav")[: 3 * AUDIO_RATE_HZ]
    assert recogniser.transcribe(samples) == recogniser.transcribe(samples)
    assert words(recogniser.transcribe(samples)) == words("ever tried ever failed")


def test_silence_has_no_words(recogniser: Recogniser) -> None:
    assert recogniser.transcribe(np.zeros(2 * AUDIO_RATE_HZ, np.float32)) == ""
