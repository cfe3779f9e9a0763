"""One stream of sound to utterances in media time.

An utterance belongs to the clip that contains its middle.  So a clip can be finished only when no
utterance that is still to come may have its middle in it: `settled_ns` says up to where that is so.

Resuming: the detector's state depends on all sound before, so an ingest that goes on in the middle
of a medium hears it again from its beginning (300 times as fast as it plays), and transcribes only
what lies in clips that are not stored yet.  The utterances are then exactly those of an ingest that
was never interrupted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from memdb.types.clip import Utterance
from perception.audio.vad import Speech, SpeechDetector, VoiceActivity
from perception.sources.base import AUDIO_RATE_HZ, NS_PER_S, AudioChunk, Samples

END_OF_TIME_NS: Final = 2**62
_NS_PER_SAMPLE: Final = NS_PER_S // AUDIO_RATE_HZ


class Listener:
    """Detects and transcribes speech; utterances carry media time."""

    def __init__(
        self,
        network: VoiceActivity,
        transcribe: Callable[[Samples], str],
        *,
        language: str | None = None,
        from_ns: int | None = None,
    ) -> None:
        """Utterances whose middle lies before ``from_ns`` are heard and not transcribed."""
        self._network = network
        self._transcribe = transcribe
        self._language = language
        # None, not 0: sound may begin before the first picture.
        self._from_ns = -END_OF_TIME_NS if from_ns is None else from_ns
        self._detector: SpeechDetector | None = None
        self._held: deque[AudioChunk] = deque()
        self._has_ended = False
        self.on_speech: Callable[[int, int], None] | None = None
        """Takes start and end, in media time, of every stretch of speech, those without words and those before
        ``from_ns`` too.
        """

    @property
    def settled_ns(self) -> int:
        """No utterance that is still to come has its middle before this media time."""
        if self._has_ended:
            return END_OF_TIME_NS
        return (
            -END_OF_TIME_NS if self._detector is None else self._detector.settled * _NS_PER_SAMPLE
        )

    @property
    def known_ns(self) -> int:
        """Every stretch of speech that begins before this media time was heard to its end."""
        if self._has_ended:
            return END_OF_TIME_NS
        if self._detector is None:
            return -END_OF_TIME_NS
        return self._detector.needed_from * _NS_PER_SAMPLE

    def hear(self, chunk: AudioChunk) -> list[Utterance]:
        """Take the next sound; the utterances that are complete, in order."""
        if self._detector is None:
            self._detector = SpeechDetector(self._network, chunk.first_sample)
        if chunk.is_hole:
            return self._pass_over(self._detector, chunk)
        self._held.append(chunk)
        utterances = self._utterances(self._detector.feed(chunk.samples))
        needed = self._detector.needed_from
        while self._held and self._held[0].first_sample + len(self._held[0].samples) <= needed:
            self._held.popleft()
        return utterances

    def _pass_over(self, detector: SpeechDetector, hole: AudioChunk) -> list[Utterance]:
        """What was being said has ended; what comes after it is heard afresh.  A day of silence is not listened to:
        that takes six minutes.
        """
        utterances = self._utterances(detector.finish())
        self._held.clear()
        self._detector = SpeechDetector(self._network, hole.first_sample + len(hole.samples))
        return utterances

    def finish(self) -> list[Utterance]:
        """No more sound: the utterance that its end cuts off, if there is one."""
        self._has_ended = True
        return [] if self._detector is None else self._utterances(self._detector.finish())

    def _utterances(self, stretches: list[Speech]) -> list[Utterance]:
        utterances = []
        for speech in stretches:
            start_ns, end_ns = speech.start * _NS_PER_SAMPLE, speech.end * _NS_PER_SAMPLE
            if self.on_speech is not None:
                self.on_speech(start_ns, end_ns)
            if middle_ns(start_ns, end_ns) < self._from_ns:
                continue
            text = self._transcribe(self._sound(speech))
            if text:
                utterances.append(Utterance(start_ns, end_ns, text, language=self._language))
        return utterances

    def _sound(self, speech: Speech) -> Samples:
        parts = []
        for chunk in self._held:
            low = max(0, speech.start - chunk.first_sample)
            high = min(len(chunk.samples), speech.end - chunk.first_sample)
            if low < high:
                parts.append(chunk.samples[low:high])
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def middle_ns(start_ns: int, end_ns: int) -> int:
    """The moment that decides which clip an utterance belongs to."""
    return (start_ns + end_ns) // 2
