"""The work of one run: vectors, who owns them, questions and their exact answers, as files that every engine reads.

Vectors of dim 1536 are a mixture of 200 Gaussians (48 directions of noise within each, and a little in all), of unit
length.  Record i belongs to a user by a hash of i, about 100 to each, and begins 5 s after the one before it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.peers.rows import (
    FIRST_S,
    KINDS,
    LIMIT,
    MANY,
    STEP_S,
    STREAMS,
    Array,
    Question,
    Rows,
    tensor_of,
)

DIM = 1536
CENTRES = 200
NOISE_DIRECTIONS = 48
QUESTIONS = 300
PER_USER = 100
SINGLES = 10_000_000
"""The first id of those records."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much work."""

    vectors: int
    tensors: int
    """How many records with a tensor each."""
    seconds: float
    """How long each round of questions lasts."""
    warm_s: float
    """How long one client asks for all records before they are counted."""
    rounds: int
    clients: tuple[int, ...]
    judged: int
    """Questions whose answers are compared with the exact ones."""
    single: int
    """Single records that are acknowledged before the process is killed."""

    @property
    def users(self) -> int:
        """How many own records."""
        return max(1, self.vectors // PER_USER)


class Work:
    """What `prepare` wrote, read where it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        size = json.loads((folder / "size.json").read_text("utf-8"))
        self.size = Size(**{**size, "clients": tuple(size["clients"])})
        self.questions: Array = np.load(folder / "questions.npy")
        self._asked: Array = np.load(folder / "asked.npy")

    def rows(self) -> Rows:
        """Every record, without a tensor."""
        vectors = np.load(self.folder / "vectors.npy", mmap_mode="r")
        return _owned(np.arange(len(vectors)), vectors, self.size.users)

    def tensor_rows(self, begin: int, end: int) -> Rows:
        """Records ``begin`` to ``end`` with a tensor each; vectors are those of `rows`, over and over."""
        vectors = np.load(self.folder / "vectors.npy", mmap_mode="r")
        ids = np.arange(begin, end)
        rows = _owned(ids, np.asarray(vectors[ids % len(vectors)]), self.size.users)
        return Rows(
            ids, rows.vectors, rows.users, rows.streams, [tensor_of(int(row)) for row in ids]
        )

    def single_rows(self) -> Rows:
        """Records of one user and a stream that has no others, to be acknowledged one by one."""
        rows = self.rows().taken(slice(0, self.size.single))
        ids = SINGLES + np.arange(len(rows))
        nobody = np.zeros(len(rows), np.int64)
        return Rows(ids, np.asarray(rows.vectors), nobody, nobody + STREAMS)

    def question(self, kind: str, number: int) -> Question:
        """Question ``number`` of its kind."""
        number %= len(self.questions)
        user, begin, end = (int(value) for value in self._asked[number])
        which = (number + np.arange(MANY)) % len(self.questions) if kind == "many" else number
        return Question(kind, self.questions[which], user, begin, end, number)

    def exact(self, kind: str) -> Array:
        """(judged, 10) ids that answer the first questions, -1 where there are fewer."""
        answers: Array = np.load(self.folder / f"exact-{kind}.npy")
        return answers


def prepare(folder: Path, seed: int, size: Size) -> Work:
    """Write the work into an empty folder."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    centres = _unit(rng.standard_normal((CENTRES, DIM), np.float32))
    directions = _unit(rng.standard_normal((NOISE_DIRECTIONS, DIM), np.float32))

    def drawn(count: int) -> Array:
        out = np.empty((count, DIM), np.float32)
        for begin in range(0, count, 4096):
            many = min(4096, count - begin)
            within = rng.standard_normal((many, NOISE_DIRECTIONS), np.float32) @ directions
            anywhere = rng.standard_normal((many, DIM), np.float32)
            rows = centres[rng.integers(CENTRES, size=many)]
            rows = rows + within / NOISE_DIRECTIONS**0.5 + 0.2 * anywhere / DIM**0.5
            out[begin : begin + many] = _unit(rows)
        return out

    vectors, questions = drawn(size.vectors), drawn(QUESTIONS)
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "questions.npy", questions)
    # The middle half of all time: about half of a user's records.
    begin = FIRST_S + STEP_S * (size.vectors // 4)
    end = FIRST_S + STEP_S * (3 * size.vectors // 4)
    asked = [(int(user), begin, end) for user in rng.integers(size.users, size=QUESTIONS)]
    np.save(folder / "asked.npy", np.array(asked, np.int64))
    (folder / "size.json").write_text(json.dumps(asdict(size)), "utf-8")
    work = Work(folder)
    rows = _owned(np.arange(size.vectors), vectors, size.users)
    for kind in KINDS:
        answers = [_exact(work.question(kind, number), rows) for number in range(size.judged)]
        np.save(folder / f"exact-{kind}.npy", np.array(answers, np.int64))
    return work


def recall(found: list[list[int]], exact: Array) -> float:
    """The mean share of the exact answers that were found."""
    shares = []
    for ids, wanted in zip(found, exact.tolist(), strict=True):
        real = {row for row in wanted if row >= 0}
        shares.append(len(real & set(ids)) / max(1, len(real)))
    return float(np.mean(shares))


def _owned(ids: Array, vectors: Array, users: int) -> Rows:
    hashed = (ids.astype(np.uint64) * np.uint64(2_654_435_761)) >> np.uint64(7)
    owners = (hashed % np.uint64(users)).astype(np.int64)
    return Rows(ids, vectors, owners, ids % STREAMS)


def _exact(question: Question, rows: Rows) -> list[int]:
    chosen = np.ones(len(rows), bool)
    if question.kind != "big":
        chosen &= rows.users == question.user
    if question.kind == "user_time":
        chosen &= (rows.starts >= question.begin) & (rows.starts < question.end)
    ids = np.flatnonzero(chosen)
    scores = (rows.vectors if question.kind == "big" else rows.vectors[ids]) @ question.vector
    best = ids[np.argsort(-scores, kind="stable")[:LIMIT]].tolist()
    return [*best, *([-1] * (LIMIT - len(best)))]


def _unit(rows: Array) -> Array:
    unit: Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
