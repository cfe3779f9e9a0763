"""Damage to what a checkpoint keeps of codes and lists, or another's in its place: exact answers are those of a
rebuild to the last bit, and approximate ones have rows that are there, with their scores.

``MEMDB_DAMAGES``: of `tests.crash.test_checkpoint_damage`; here an eighth of it, and 78 at least.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from memdb import Clip
from memdb.config import EngineConfig, IndexConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.index import ivf, partition
from memdb.index.indexed import RECENT_MIN
from memdb.index.tiers import Tiers
from memdb.store.derived import DERIVED_FILE
from tests.crash.conftest import SEED
from tests.crash.test_checkpoint_damage import (
    ALTERED,
    FAULTS_MAX,
    altered,
    early_every_other_time,
)
from tests.unit.index.test_indexed import DIM, structured

pytestmark = pytest.mark.crash

ROWS = 2400
LIMIT = 10
SECOND_NS = 10**9
WHOLE = ("whole", "older file")
FOREIGN = ("of another life", "other user", "newer than the store")
KINDS = (*WHOLE, *FOREIGN, *ALTERED)
CASES = max(6, -(-int(os.environ.get("MEMDB_DAMAGES", "280")) // (8 * len(KINDS))))
"""Of each kind."""
CONFIG = EngineConfig(map_bytes_initial=8 << 20)
WRITING = IndexConfig(approximate_rows_min=2100, checkpoint_rows=1)
READING = IndexConfig(approximate_rows_min=2100, checkpoint_rows=1 << 20)

Scores = dict[tuple[int, int], float]
"""(sequence number, revision) -> score."""


@dataclass(frozen=True)
class Life:
    """A database as it was at some moment: its files, and what it answers without a checkpoint."""

    data: Path
    index: bytes
    exact: list[object]
    scores: list[Scores]
    """Of each question, of every row that may answer it."""


@dataclass(frozen=True)
class Told:
    """By an opening."""

    exact: list[object]
    hits: list[Scores]
    """Of questions that may be answered approximately."""
    approximate: list[bool]
    used: int
    """Rows of the checkpoint."""


def opened(data: Path, index: IndexConfig = READING) -> EmbeddedDatabase:
    return EmbeddedDatabase(data, config=CONFIG, index=index, embed_texts=False)


def write(data: Path, first: int, count: int, salt: int) -> None:
    """Write some clips, one of them with a version before it is sealed, and have lists made of all there are."""
    with opened(data, WRITING) as db:
        db._users._upkeep.close()
        db.create_space("s", dim=DIM)
        camera = db.user("alice").stream("cam", space="s")
        rows = structured(count + 2, salt)
        whole = [(True, *one) for one in zip(range(first, first + count), rows, strict=False)]
        last = [(is_last, first + count, rows[count + is_last]) for is_last in (False, True)]
        for sealed, seq, row in (*whole, *last):
            begin_ns, end_ns = seq * SECOND_NS, (seq + 1) * SECOND_NS
            clip = Clip(seq=seq, start_ns=begin_ns, end_ns=end_ns, global_memory=row, sealed=sealed)
            camera.write(clip)
        with db._users.use("alice") as memory:
            (view,) = memory.view.partitions.values()
        for _ in range(2):
            for question in structured(2 * RECENT_MIN, 90):
                db.user("alice").ground(question, limit=LIMIT)
            view.tiers.maintain(lambda: False, None, db._users._upkeep._approximation)
        assert view.tiers.has_lists


def told(data: Path) -> Told:
    exact: list[object] = []
    hits: list[Scores] = []
    approximate: list[bool] = []
    with opened(data) as db:
        db._users._upkeep.close()
        user = db.user("alice")
        for question in structured(4, 91):  # first, for that may be early
            answer = user.ground(question, limit=LIMIT)
            approximate.append(answer.approximate)
            hits.append({(one.clip.seq, one.clip.revision): one.score for one in answer.hits})
        newest = user.revision()
        for question in structured(4, 91):
            answer = user.ground(question, limit=LIMIT, as_of=newest)
            assert not answer.approximate
            exact.append([(one.clip.id, one.clip.revision, one.score) for one in answer.hits])
        with db._users.use("alice") as memory:
            (view,) = memory.view.partitions.values()
            columns = b"".join(column.tobytes() for column in view.columns.values())
            rows = view.matrix.take(np.arange(view.rows))
            exact.append((view.rows, sha256(columns + rows.tobytes()).hexdigest()))
            used = memory.kept._rows
    return Told(exact, hits, approximate, used)


def scores(data: Path) -> list[Scores]:
    with opened(data) as db, db._users.use("alice") as memory:
        (view,) = memory.view.partitions.values()
        seqs, births = view.columns["seq"].tolist(), view.columns["birth"].tolist()
        found = [view.scores(view.unit(one), view.head_alive) for one in structured(4, 91)]
        return [
            {
                (seqs[row], births[row]): score
                for row, score in zip(*map(np.ndarray.tolist, one), strict=True)
            }
            for one in found
        ]


def lived(data: Path, folder: Path) -> Life:
    """The life of a copy; what it answers without a checkpoint is right."""
    copy = folder / "life"
    while copy.exists():
        copy = copy.with_name(copy.name + "+")
    shutil.copytree(data, copy)
    file = place(copy)
    index = file.read_bytes()
    file.unlink()
    right = told(copy)
    assert right.used == 0
    assert not any(right.approximate)
    return Life(copy, index, right.exact, scores(copy))


def place(data: Path) -> Path:
    (found,) = (data / "users").iterdir()
    return found / DERIVED_FILE


@pytest.fixture(scope="module")
def lives() -> Iterator[dict[str, Life]]:
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(ivf, "ALLOWED_MIN", 100)
        patch.setattr(partition, "Tiers", lambda matrix: Tiers(matrix, bytes_min=0))
        folder = Path(made)
        data = folder / "data"
        write(data, 0, ROWS, 1)
        found = {"before": lived(data, folder)}
        other = shutil.copytree(data, folder / "other way")
        write(data, ROWS + 1, 400, 11)
        found["now"] = lived(data, folder)
        write(other, ROWS + 1, 400, 21)
        found["other way"] = lived(other, folder)
        stranger = folder / "stranger"
        write(stranger, 0, ROWS, 1)
        found["stranger"] = lived(stranger, folder)
        yield found


def file_for(lives: dict[str, Life], kind: str) -> tuple[Life, bytes]:
    """A store, and the file that is put there."""
    now = lives["now"]
    match kind:
        case "older file":
            return now, lives["before"].index
        case "other user":
            return now, lives["stranger"].index
        case "newer than the store":
            return lives["before"], now.index
        case "of another life":
            return lives["other way"], now.index
        case _:
            return now, now.index


def damaged(content: bytes, kind: str, chosen: random.Random) -> bytes:
    """The file, damaged in what was learned, or in its table, or anywhere."""
    if kind == "part table" or chosen.random() < 0.2:
        return altered(content, kind, chosen)
    parts = int.from_bytes(content[12:16], "little")
    kinds = [int.from_bytes(content[48 + 64 * part :][:4], "little") for part in range(parts)]
    begin = int.from_bytes(content[48 + 64 * kinds.index(3) :][24:32], "little")
    assert kinds[-5:] == [3, 4, 5, 6, 7]
    return content[:begin] + altered(content[begin:], kind, chosen)


def faults(life: Life, kind: str, found: Told, *, is_damaged: bool) -> Iterator[str]:
    if found.exact != life.exact:
        yield "another answer"
    for hits, right in zip(found.hits, life.scores, strict=True):
        if len(hits) != LIMIT or any(right.get(row) != score for row, score in hits.items()):
            yield "a row that is not there, or another score"
    if is_damaged and (found.used or any(found.approximate)):
        yield "used though it was damaged"
    if kind in FOREIGN and any(found.approximate):
        yield "lists of other rows are used"
    if kind in WHOLE and not is_damaged and not all(found.approximate):
        yield "not used though it was whole"


@pytest.mark.timeout(3600)
def test_no_lists_in_the_place_of_a_users_own_change_an_answer(
    lives: dict[str, Life],
    directory: Path,
    report: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    for kind in KINDS:
        chosen = random.Random(f"{SEED} {kind}")
        for case in range(CASES):
            if len(wrong) >= FAULTS_MAX:
                break
            early_every_other_time(case, monkeypatch)
            life, content = file_for(lives, kind)
            whole = content
            if kind in ALTERED:
                content = damaged(content, kind, chosen)
            elif case:  # and damaged beside
                content = damaged(content, chosen.choice(ALTERED), chosen)
            place(life.data).write_bytes(content)
            found = told(life.data)
            bad = list(faults(life, kind, found, is_damaged=content != whole))
            wrong += [f"{kind} {case}: {what}" for what in bad]
            if bad:
                kept = directory / f"{kind} {case}"
                shutil.copytree(life.data, kept)
                place(kept).write_bytes(content)
            seen[f"{kind}: {'by lists' if any(found.approximate) else 'exact'}"] += 1
    report(
        f"lists of a checkpoint: {sum(seen.values())} files, "
        + ", ".join(f"{what} {count}" for what, count in sorted(seen.items()))
    )
    assert not wrong, "\n".join(wrong)
    for kind in WHOLE:
        # More than once where what was to be damaged was there twice, and is the same.
        assert seen[f"{kind}: by lists"]
