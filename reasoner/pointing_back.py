"""Questions that lean on one before: "And after that?", "What happened next?".

Each question is asked by itself, and what such a one has of its own can resemble nothing.  Whoever typed it is told so,
in place of an answer that looks like one about what was asked before.
"""

from __future__ import annotations

import re
from typing import Final

from reasoner.vocabulary import (
    EMPTY_WORDS,
    IDLE_WORDS,
    ORDER_WORDS,
    POINTING_WORDS,
    SAID_WORDS,
    SEEN_WORDS,
)

_WORD: Final = re.compile(r"[^\W_]+")
_PLACE: Final = re.compile(r"\b(?:before|after)\s+(?:us|me|you)\b", re.IGNORECASE)
"""What lies before somebody is no time: "When did we have everything before us?" """


def points_back(question: str) -> bool:
    """Whether the question has nothing but words that point elsewhere, and some of these."""
    if _PLACE.search(question):
        return False
    words = {word.lower() for word in _WORD.findall(question)}
    idle = IDLE_WORDS | EMPTY_WORDS
    if not words.isdisjoint(ORDER_WORDS):
        # "What was said after that?" asks for any word; "What did she say?" asks who spoke as well.
        idle |= SAID_WORDS | SEEN_WORDS
    return not words - POINTING_WORDS - idle and not words.isdisjoint(POINTING_WORDS)
