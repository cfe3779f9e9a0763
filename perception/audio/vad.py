"""Voice activity: which stretches of sound are speech (silero VAD, through onnxruntime alone).

The network gives a probability for every 32 ms.  Speech begins where it reaches `START_PROBABILITY`
and ends where it stays below `END_PROBABILITY` for `SILENCE_MIN_SAMPLES`; shorter bursts than
`SPEECH_MIN_SAMPLES` are dropped.  A stretch longer than `SPEECH_MAX_SAMPLES` is parted at its most
silent moment of late, so that an endless talker is heard while he talks.  Stretches are widened by
a pad on either side, and never overlap.

Probabilities depend on everything heard before, so a detector that begins elsewhere may part speech
elsewhere; see `perception.audio.listener` for what follows from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from perception.sources.base import AUDIO_RATE_HZ, Samples

CHUNK_SAMPLES: Final = 512
"""What the network takes at 16 kHz: 32 ms."""

START_PROBABILITY: Final = 0.5
END_PROBABILITY: Final = 0.35
SILENCE_MIN_SAMPLES: Final = AUDIO_RATE_HZ // 2
SPEECH_MIN_SAMPLES: Final = AUDIO_RATE_HZ // 4
SPEECH_MAX_SAMPLES: Final = 15 * AUDIO_RATE_HZ
PAD_SAMPLES: Final = AUDIO_RATE_HZ // 8

_CONTEXT_SAMPLES: Final = 64
_SPLIT_WITHIN_CHUNKS: Final = 5 * AUDIO_RATE_HZ // CHUNK_SAMPLES


@dataclass(frozen=True, slots=True)
class Speech:
    """One stretch of speech, ``[start, end)`` in samples."""

    start: int
    end: int


class VoiceActivity:
    """The network; one instance serves many detectors and threads.  path: the ``.onnx`` file."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        # The network is tiny: a second thread costs more than it brings.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(AUDIO_RATE_HZ, np.int64)

    def probability(self, chunk: Samples, state: Samples) -> tuple[float, Samples]:
        """That a chunk, (1, 64 + 512) with the samples before it, is speech; and the next state."""
        inputs = {"input": chunk, "state": state, "sr": self._rate}
        probability, state = self._session.run(None, inputs)
        return float(probability[0, 0]), state


class SpeechDetector:
    """Finds speech in one stream of sound, as it comes."""

    def __init__(self, network: VoiceActivity, first_sample: int = 0) -> None:
        self._network = network
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self._rest: Samples = np.zeros(0, np.float32)
        self._position = first_sample
        self._start: int | None = None
        self._silence: int | None = None
        self._probabilities: list[float] = []
        self._last_end = first_sample

    @property
    def settled(self) -> int:
        """No stretch that is still to come has its middle before this sample."""
        if self._start is None:
            return max(self._position - PAD_SAMPLES, self._last_end)
        # It ends where its silence begins, or later, unless it is parted, and then not sooner than:
        parted = self._start + SPEECH_MAX_SAMPLES - _SPLIT_WITHIN_CHUNKS * CHUNK_SAMPLES
        end = min(self._position if self._silence is None else self._silence, parted)
        return (self._padded_start(self._start) + end) // 2

    @property
    def needed_from(self) -> int:
        """The first sample that a stretch still to come may contain."""
        start = self._position if self._start is None else self._start
        return self._padded_start(start)

    def feed(self, samples: Samples) -> list[Speech]:
        """Take the next samples; the stretches that ended, in order."""
        pending = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(pending) // CHUNK_SAMPLES * CHUNK_SAMPLES
        found: list[Speech] = []
        for offset in range(0, whole, CHUNK_SAMPLES):
            chunk = pending[offset : offset + CHUNK_SAMPLES]
            with_context = np.concatenate([self._context, chunk])[None]
            probability, self._state = self._network.probability(with_context, self._state)
            self._context = chunk[-_CONTEXT_SAMPLES:]
            found += self._advance(probability)
        self._rest = pending[whole:].copy()
        return found

    def finish(self) -> list[Speech]:
        """The stretch that the end of the sound cuts off, if there is one."""
        if self._start is None:
            return []
        end = self._position + len(self._rest) if self._silence is None else self._silence
        return self._close(end)

    def _advance(self, probability: float) -> list[Speech]:
        begin, self._position = self._position, self._position + CHUNK_SAMPLES
        if self._start is None:
            if probability >= START_PROBABILITY:
                self._start, self._silence = begin, None
                self._probabilities = [probability]
            return []
        self._probabilities.append(probability)
        if probability >= START_PROBABILITY:
            self._silence = None
        elif probability < END_PROBABILITY and self._silence is None:
            self._silence = begin
        if self._silence is not None and self._position - self._silence >= SILENCE_MIN_SAMPLES:
            return self._close(self._silence)
        if self._position - self._start >= SPEECH_MAX_SAMPLES:
            return self._split()
        return []

    def _close(self, end: int) -> list[Speech]:
        start, self._start, self._silence = self._start, None, None
        assert start is not None
        if end - start < SPEECH_MIN_SAMPLES:
            return []
        return [self._padded(start, end, PAD_SAMPLES)]

    def _split(self) -> list[Speech]:
        """Part a stretch that has grown too long; its rest goes on as speech."""
        assert self._start is not None
        recent = self._probabilities[-_SPLIT_WITHIN_CHUNKS:]
        quietest = len(self._probabilities) - len(recent) + int(np.argmin(recent))
        at = self._start + quietest * CHUNK_SAMPLES
        speech = self._padded(self._start, at, 0)
        self._start = at
        self._probabilities = self._probabilities[quietest:]
        return [speech]

    def _padded(self, start: int, end: int, pad: int) -> Speech:
        speech = Speech(self._padded_start(start), end + pad)
        self._last_end = speech.end
        return speech

    def _padded_start(self, start: int) -> int:
        return max(start - PAD_SAMPLES, self._last_end)
