"""Which languages a recogniser knows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from memdb.errors import InvalidArgument

ENGLISH: Final = ("en",)
ENGLISH_ONLY: Final = ".en"
"""How names of Whisper's models end that hear nothing else."""


def check_language(language: str, known: Collection[str]) -> None:
    """Raises `InvalidArgument` (``BAD_LANGUAGE``) for a code that is none of a model's."""
    if language not in known:
        raise InvalidArgument(
            "the model hears English only; --whisper whisper-base, or another directory, hears others"
            if tuple(known) == ENGLISH
            else "not a language code of the model, such as en, de or ja",
            reason="BAD_LANGUAGE",
            field="language",
            value=language,
        )
