"""The terms by which texts are found: stems of their words.

Snowball's English stemmer cuts what declension and conjugation add ("bicycles" and "bicycle" are one term); texts of
other languages keep their words but for what looks like an English ending, in the text as in the question.  Words
that only hold a sentence together weigh nothing in a question (unless it has no other) and do not make a text longer.
Both are measured: `python -m bench hybrid`.

What Unicode writes in several ways is one word: letters with their accents beside them or in them, ligatures, wide
letters, capitals.  Marks belong to the letter that they follow, or no word of Hindi would be left whole.  Each emoji is
a word, whatever the colour of its skin, and of one that is put together each part.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import cache
from typing import Final
from weakref import WeakSet

import Stemmer

_PLAIN_WORD: Final = re.compile(r"[a-z0-9]+")
"""`_WORD` in small letters of ASCII, in two thirds of the time."""
_EMOJI: Final = (
    "[\u2194-\u2199\u21a9\u21aa\u231a-\u23ff\u25b6\u25c0\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55"
    "\U0001f004\U0001f0cf\U0001f300-\U0001f3fa\U0001f400-\U0001faff]"
    "|[\U0001f1e6-\U0001f1ff]{2}"
)
"""One sign, or the two letters of a flag; what colours skin is between the ranges."""
_WORD: Final = re.compile(
    rf"[^\W_]+|{_EMOJI}"
)  # \w is `str.isalnum` and the underscore, and no mark
_MARKS: Final = {"Mn", "Mc"}
_MARKS_FROM: Final = 0x300
_MARKS_UNTIL: Final = 0x10000
"""The scripts behind are of few living languages, and make the expression forty times slower."""
_VARIANTS: Final = range(0xFE00, 0xFE10)
"""Marks that say how a sign is drawn, as emoji have them."""
_MARKS_RUN: Final = re.compile(r"([^\w\s]{30})[^\w\s]+")
"""More marks of one letter than any language has, which to bring in order takes the square of how many."""
_HALF_MARKS: Final = (("\uff9e", "\u3099"), ("\uff9f", "\u309a"))
"""Of Japanese: the letters that become marks."""
_DOTTED: Final = "i\u0307"
"""What the capital of Turkish is in small letters."""

_STOP_WORDS: Final = (
    "a an the this that these those and or but if of to in on at by for with from as into about "
    "i me my you your he him his she her it its we us our they them their "
    "am is are was were be been being do does did have has had will would can could should may "
    "what which who whom whose when where why how there here not no so than then too "
    "s t d ll m re ve don"
)


class _Held:
    """A thread's stemmer, which remembers words that it saw and is not to be used by two threads at once."""

    __slots__ = ("__weakref__", "stemmer")

    def __init__(self) -> None:
        self.stemmer: Stemmer.Stemmer | None = None


_of_thread = threading.local()
_held: Final[WeakSet[_Held]] = WeakSet()
_holding: Final = threading.Lock()
"""Of `_held`."""


def words(text: str) -> list[str]:
    """Lower-case runs of letters, with their marks, and digits, and single emoji; the possessive ``'s`` is dropped."""
    if text.isascii():
        return _PLAIN_WORD.findall(text.lower().replace("'s", " "))
    for half, mark in _HALF_MARKS:
        text = text.replace(half, mark)
    text = _MARKS_RUN.sub(r"\1 ", text)
    # Composed once more: small letters may be another sequence than that of their capitals.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = text.replace(_DOTTED, "i").replace("'s", " ").replace("\u2019s", " ")
    any_mark, marked_word = _marked()
    return _WORD.findall(text) if any_mark.search(text) is None else marked_word.findall(text)


@cache
def _marked() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A mark, and a word that may have some; made for the first text that is not ASCII alone, in some milliseconds."""
    marks = "".join(
        chr(code)
        for code in range(_MARKS_FROM, _MARKS_UNTIL)
        if code not in _VARIANTS and unicodedata.category(chr(code)) in _MARKS
    )
    return re.compile(f"[{marks}]"), re.compile(rf"[^\W_](?:[^\W_]|[{marks}])*|{_EMOJI}")


def terms(text: str) -> list[str]:
    """The terms of a text, in their order, one for each word."""
    return stems(words(text))


def asked_terms(question: str) -> dict[str, str]:
    """The different terms that a question looks for, in their order, each with its word."""
    asked = words(question)
    found = dict(zip(reversed(stems(asked)), reversed(asked), strict=True))
    found = dict(reversed(found.items()))
    return {term: word for term, word in found.items() if term not in STOP_TERMS} or found


def stems(found: list[str]) -> list[str]:
    """The term of each word."""
    held: _Held | None = getattr(_of_thread, "held", None)
    if held is None:
        held = _of_thread.held = _Held()
        with _holding:
            _held.add(held)
    stemmer = held.stemmer
    if stemmer is None:
        stemmer = held.stemmer = Stemmer.Stemmer("english")
    return list(stemmer.stemWords(found))


def forget_words() -> None:
    """Let go of the words that were seen: some of them have been erased."""
    with _holding:
        for held in _held:
            held.stemmer = None


STOP_TERMS: Final = frozenset(terms(_STOP_WORDS))
