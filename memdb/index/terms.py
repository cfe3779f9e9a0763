"""The terms by which texts are found: stems of their words.

Snowball's English stemmer cuts what declension and conjugation add ("bicycles" and "bicycle" are one term); texts of
other languages keep their words but for what looks like an English ending, in the text as in the question.  Words
that only hold a sentence together weigh nothing in a question (unless it has no other) and do not make a text longer.
Both are measured: `python -m bench hybrid`.
"""

from __future__ import annotations

import re
import threading
from typing import Final

import Stemmer

_WORD: Final = re.compile(r"[^\W_]+")  # \w is `str.isalnum` and the underscore

_STOP_WORDS: Final = (
    "a an the this that these those and or but if of to in on at by for with from as into about "
    "i me my you your he him his she her it its we us our they them their "
    "am is are was were be been being do does did have has had will would can could should may "
    "what which who whom whose when where why how there here not no so than then too "
    "s t d ll m re ve don"
)

_stemmers = threading.local()


def words(text: str) -> list[str]:
    """Lower-case runs of letters and digits; the possessive ``'s`` is dropped."""
    text = text.lower().replace("'s", " ").replace("\u2019s", " ")
    return _WORD.findall(text)


def terms(text: str) -> list[str]:
    """The terms of a text, in their order, one for each word."""
    return _stems(words(text))


def asked_terms(question: str) -> dict[str, str]:
    """The different terms that a question looks for, in their order, each with its word."""
    asked = words(question)
    found = dict(zip(reversed(_stems(asked)), reversed(asked), strict=True))
    found = dict(reversed(found.items()))
    return {term: word for term, word in found.items() if term not in STOP_TERMS} or found


def weight_of(found: list[str]) -> int:
    """How long a text with these terms is: those that hold sentences together do not count."""
    return sum(term not in STOP_TERMS for term in found)


def _stems(found: list[str]) -> list[str]:
    # A stemmer holds a cache and is not to be used by two threads at once.
    stemmer = getattr(_stemmers, "english", None)
    if stemmer is None:
        stemmer = _stemmers.english = Stemmer.Stemmer("english")
    return list(stemmer.stemWords(found))


STOP_TERMS: Final = frozenset(terms(_STOP_WORDS))
