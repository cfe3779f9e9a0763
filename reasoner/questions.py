"""A question in words: what it looks for, in which way, and its feature in a space.

Of "Which camera saw a motorcycle?" only "a motorcycle" can resemble anything in memory; the rest
asks.  `parse_question` cuts the asking words off both ends and keeps what is left as the *subject*,
the text that is embedded and recalled. It also notes a *cue*: words of seeing or of speech say
which kind of memory is meant.  Where a later "when" or "while" opens a clause ("what was said while
the cat was there"), that clause names the moment, so it alone is read.

The rules are English, as the bundled encoder is; a question they do not know is its own subject and
has no cue.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from memdb.errors import FailedPrecondition, InvalidArgument
from memdb.text_encoder import find_text_encoder
from memdb.types.checks import check_text
from memdb.types.space import Space
from reasoner.spoken_times import without_times
from reasoner.vocabulary import (
    ASKING_WORDS,
    CLAUSE_WORDS,
    EMPTY_WORDS,
    IDLE_WORDS,
    SAID_WORDS,
    SEEN_WORDS,
    TRAILING_WORDS,
)

if TYPE_CHECKING:
    from memdb.types.arrays import Array

SEEN: Final = "seen"
SAID: Final = "said"

_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SUFFIXES: Final = ("'s", "’s", "ing", "ed", "es", "s")
_FINAL_VOWELS: Final = ("e", "y")
_STEM_CHARS_MIN: Final = 3


class QuestionEncoder(Protocol):
    """Embeds questions into one space."""

    def encode(self, texts: Sequence[str]) -> Array:
        """(n, dim) float32 rows of unit length, one per text."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it was asked and as it is looked up."""

    text: str
    subject: str
    """The part that is embedded and recalled; never empty."""
    cue: str | None
    """``seen``, ``said``, or None when the question does not tell."""
    names_nothing: bool = False
    """Whether it has no word of what it is about, beside a time: "What was said?", "What happened today?"."""

    @property
    def is_of_anything_said(self) -> bool:
        """Whether it asks for whatever was said."""
        return self.names_nothing and self.cue == SAID


def parse_question(text: str) -> Question:
    """Read a question.  Raises `InvalidArgument` for text that is empty or above the limit."""
    text = " ".join(check_text(text, "question").split())
    words = list(_WORD.finditer(text))
    if not words:
        raise InvalidArgument("a question has words", reason="EMPTY", field="question", value=text)
    words = _clause(words)
    lowered = [word[0].lower() for word in words]
    cue = next((_cue_of(word) for word in lowered if _cue_of(word)), None)
    first, last = 0, len(words)
    while first < last and _is_asking(lowered[first]):
        first += 1
    while last > first and (lowered[last - 1] in TRAILING_WORDS or _cue_of(lowered[last - 1])):
        last -= 1
    nothing = _names_nothing(text)
    if first == last:
        return Question(text, text, cue, nothing)
    return Question(text, text[words[first].start() : words[last - 1].end()], cue, nothing)


def terms(text: str) -> frozenset[str]:
    """The stems of the words in ``text`` that carry meaning."""
    words = (word[0].lower() for word in _WORD.finditer(text))
    return frozenset(_stem(word) for word in words if word not in EMPTY_WORDS and not _cue_of(word))


def question_encoder(space: Space, encoder: str | None = None) -> QuestionEncoder:
    """What embeds questions into ``space``: the text side of the encoder that made its pictures.

    ``encoder`` is a name of `perception.encoders.load_encoder`; None finds the bundled one by the
    space's model. Raises `FailedPrecondition` (``ENCODER_MISSING``) when none is installed,
    (``SPACE_MISMATCH``) when the named one makes vectors of another model.
    """
    if encoder is None:
        found = find_text_encoder(space)
        if found is None:
            raise FailedPrecondition(
                f"no installed encoder makes questions of space {space.name}: name one of its model (--encoder),"
                " or ask by vectors (user.ground)",
                reason="ENCODER_MISSING",
                field="space.model",
                value=space.model,
            )
        return found
    # Imported here: the picture side brings torch, and is not needed where the text side is found
    # by itself.
    from perception.encoders import load_encoder  # noqa: PLC0415

    loaded = load_encoder(encoder)
    if loaded.space.model != space.model:
        raise FailedPrecondition(
            f"the encoder makes vectors of {loaded.space.model}",
            reason="SPACE_MISMATCH",
            field="space.model",
            value=space.model,
        )
    return _Whole(loaded.encode_texts)


@dataclass(frozen=True, slots=True)
class _Whole:
    """The text side of a whole encoder."""

    encode: EncodeTexts


class EncodeTexts(Protocol):
    """`perception.encoders.base.Encoder.encode_texts`."""

    def __call__(self, texts: Sequence[str]) -> Array: ...


def _clause(words: list[re.Match[str]]) -> list[re.Match[str]]:
    """The words of the clause that names the moment, else all."""
    for index in range(len(words) - 1, 0, -1):
        rest = words[index + 1 :]
        if words[index][0].lower() in CLAUSE_WORDS and any(
            not _is_asking(word[0].lower()) for word in rest
        ):
            return rest
    return words


def _names_nothing(text: str) -> bool:
    words = (word[0].lower() for word in _WORD.finditer(without_times(text)))
    return all(_is_asking(word) or word in TRAILING_WORDS | IDLE_WORDS for word in words)


def _is_asking(word: str) -> bool:
    return word in ASKING_WORDS or _cue_of(word) is not None


def _cue_of(word: str) -> str | None:
    if word in SAID_WORDS:
        return SAID
    return SEEN if word in SEEN_WORDS else None


def _stem(word: str) -> str:
    """Enough to make "bicycles" meet "bicycle", and "trying" "tries"; both sides are cut alike."""
    if word.endswith("ies") and len(word) > _STEM_CHARS_MIN:
        word = word.removesuffix("ies") + "y"
    for suffixes in (_SUFFIXES, _FINAL_VOWELS):
        for suffix in suffixes:
            if word.endswith(suffix) and len(word) - len(suffix) >= _STEM_CHARS_MIN:
                word = word.removesuffix(suffix)
                break
    return word
