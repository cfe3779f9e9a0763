"""Speech to text: Whisper through faster-whisper, from a local CTranslate2 directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from faster_whisper import WhisperModel

from perception.audio.languages import check_language
from perception.sources.base import Samples

NO_SPEECH_MAX: Final = 0.6
LOG_PROBABILITY_MIN: Final = -1.0
"""A passage that Whisper itself holds for silence, and words it with little faith, is left out: the
published rule against words that nobody said."""


class Recogniser:
    """Writes down what is said in short stretches of sound; safe to call from several threads.

    folder: a CTranslate2 directory.
    """

    def __init__(self, folder: Path, *, workers: int = 1) -> None:
        """workers: stretches that are transcribed at once, on a core each."""
        self._model: Any = WhisperModel(
            str(folder),
            device="cpu",
            compute_type="int8",
            cpu_threads=1,
            num_workers=workers,
            local_files_only=True,
        )

    def check_language(self, language: str) -> None:
        """Raises `InvalidArgument` (``BAD_LANGUAGE``) for a code that the model does not know."""
        check_language(language, self._model.supported_languages)

    def transcribe(self, samples: Samples, language: str = "en") -> str:
        """The words, or empty text when there are none.  The same sound gives the same words.

        language: a code such as ``en`` that `check_language` took.
        """
        segments, _ = self._model.transcribe(
            samples,
            language=language,
            beam_size=1,
            # One temperature: the usual fall-back to higher ones draws random numbers.
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            vad_filter=False,
        )
        kept = [
            segment.text.strip()
            for segment in segments
            if segment.no_speech_prob <= NO_SPEECH_MAX or segment.avg_logprob >= LOG_PROBABILITY_MIN
        ]
        return " ".join(text for text in kept if text)
