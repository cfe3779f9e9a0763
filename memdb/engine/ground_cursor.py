"""Where a page of an answer ends, as text that its caller gives back for the next one.

::

    revision u64       all pages are as of it
    place u64          hits before the next page
    clip u64, birth u64, score f64      the last of them
    question           16 bytes of BLAKE2b of what was asked

112 hexadecimal digits, and 16 of a check that only this user's key makes.  Nothing is kept: a cursor
outlives a restart, and whoever gives it back asks the question again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Self

import numpy as np

from memdb.engine.question import Question
from memdb.engine.sealed_cursor import sealed, unsealed
from memdb.types.arrays import Array

_BODY: Final = struct.Struct(">QQQQd16s")
_PERSON: Final = b"memdb page"
_QUESTION_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class GroundCursor:
    """The end of a page."""

    revision: int
    place: int
    clip_no: int
    birth: int
    score: float
    question: bytes
    """`question_digest` of what was asked."""

    def text(self, id_key: bytes) -> str:
        """What callers get."""
        body = _BODY.pack(
            self.revision, self.place, self.clip_no, self.birth, self.score, self.question
        )
        return sealed(body, id_key, _PERSON)

    @classmethod
    def parse(cls, text: str, id_key: bytes) -> Self:
        """What callers gave back; raises `InvalidArgument` (``BAD_CURSOR``)."""
        return cls(*unsealed(text, _BODY, id_key, _PERSON))


def question_digest(question: Question) -> bytes:
    """What tells a question from any other whose answer may be another; how much of the answer is given
    at once, and with what beside it, may change from page to page.
    """
    words = question.words
    asked = (
        *(question.streams, question.start_ns, question.end_ns, question.space),
        *(question.policy, question.min_score, question.min_relevance, question.calendar),
        *(question.rerank, question.weighting, question.fallback, question.labels),
        None if words is None else (words.text, sorted(words.weights.items())),
    )
    digest = blake2b(repr(asked).encode(), digest_size=_QUESTION_BYTES, person=b"memdb question")
    features = (question.feature, question.tokens, None if words is None else words.feature)
    for array in features:
        digest.update(_described(array))
    return digest.digest()


def _described(array: Array | None) -> bytes:
    if array is None:
        return b"-"
    # float16 and float32 of the same elements are the same question.
    return repr(array.shape).encode() + np.ascontiguousarray(array, np.float32).tobytes()
