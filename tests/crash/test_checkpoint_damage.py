"""Damage to the checkpoint of a user, or another file in its place: every answer is that of a rebuild, to
the last bit, and the file is used whole or not at all.

``MEMDB_DAMAGES``: files that are damaged (default 280; `make crash`: 5,000).
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
from memdb.engine import early_file
from memdb.engine.database import EmbeddedDatabase
from memdb.store.derived import DERIVED_FILE
from memdb.types.arrays import Array
from tests.crash.conftest import SEED

pytestmark = pytest.mark.crash

PAGE = 4096
SECOND_NS = 10**9
SPACES = {"cosine": 40, "dot": 24}
"""Metric -> dim; the space is called as its metric."""
ALTERED = ("bit", "bytes", "zero page", "cut", "longer", "swapped", "repeated", "part table")
FOREIGN = ("of another life", "older file", "other user", "newer than the store")
KINDS = (*FOREIGN, *ALTERED)
CASES = -(-int(os.environ.get("MEMDB_DAMAGES", "280")) // len(KINDS))
"""Of each kind."""
FAULTS_MAX = 3
"""After so many there is nothing to be learned from more."""
LEAST = early_file.EARLY_BYTES_MIN
CONFIG = EngineConfig(map_bytes_initial=1 << 20)
WRITING, READING = IndexConfig(checkpoint_rows=1), IndexConfig(checkpoint_rows=1 << 20)


@dataclass(frozen=True)
class Life:
    """A database as it was at some moment: its files, and what it answers without a checkpoint."""

    data: Path
    index: bytes
    answers: list[object]


def clips_of(metric: str, seqs: range, salt: int, *, sealed: bool = True) -> list[Clip]:
    made = np.random.default_rng([SEED, salt, len(metric)])
    return [
        Clip(
            seq=seq,
            start_ns=seq * SECOND_NS,
            end_ns=(seq + 1) * SECOND_NS,
            global_memory=made.standard_normal(SPACES[metric]).astype(
                np.float32 if seq % 2 else np.float16
            ),
            sealed=sealed,
        )
        for seq in seqs
    ]


def write(data: Path, user: str, seqs: range, salt: int) -> None:
    """Write some clips in both spaces; one of each has two versions before it is sealed."""
    with EmbeddedDatabase(data, config=CONFIG, index=WRITING, embed_texts=False) as db:
        for metric, dim in SPACES.items():
            db.create_space(metric, dim=dim, metric=metric)
            camera = db.user(user).stream(metric, space=metric)
            last = range(seqs.stop, seqs.stop + 1)
            camera.write_many(clips_of(metric, seqs, salt))
            for draft in range(2):
                camera.write_many(clips_of(metric, last, salt + draft + 1, sealed=False))
            camera.write_many(clips_of(metric, last, salt + 3))


def folder_of(data: Path, user: str) -> Path:
    with EmbeddedDatabase(data, config=CONFIG, index=READING, embed_texts=False) as db:
        return db._directory.user_path(user)


def answers(data: Path) -> tuple[list[object], int]:
    """What the user answers and what its index is, to the last bit; and how many rows of the checkpoint
    were used.
    """
    found: list[object] = []
    with EmbeddedDatabase(data, config=CONFIG, index=READING, embed_texts=False) as db:
        user = db.user("alice")
        for as_of in (None, -2):  # first as of now, which may be early
            moment = None if as_of is None else user.revision() + as_of
            for metric, dim in SPACES.items():
                question: Array = np.random.default_rng(dim).standard_normal(dim).astype(np.float32)
                answer = user.ground(
                    question, limit=5, space=metric, streams=[metric], as_of=moment
                )
                found.append([(one.clip.id, one.clip.revision, one.score) for one in answer.hits])
        with db._users.use("alice") as memory:
            for number, view in sorted(memory.view.partitions.items()):
                columns = b"".join(column.tobytes() for column in view.columns.values())
                rows = view.matrix.take(np.arange(view.rows))
                found.append((number, view.rows, sha256(columns + rows.tobytes()).hexdigest()))
            kept = memory.kept._rows
    return found, kept


def lived(data: Path, folder: Path) -> Life:
    """The life of a copy; what it answers without a checkpoint is right."""
    copy = folder / "life"
    while copy.exists():
        copy = copy.with_name(copy.name + "+")
    shutil.copytree(data, copy)
    file = folder_of(copy, "alice") / DERIVED_FILE
    index = file.read_bytes()
    file.unlink()
    right, used = answers(copy)
    assert used == 0
    return Life(copy, index, right)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Memory, where there is some."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def lives(folder: Path) -> dict[str, Life]:
    """The user before and after some commits, another that went on differently from the same moment
    on, and another user."""
    data = folder / "data"
    write(data, "alice", range(60), 1)
    found = {"before": lived(data, folder)}
    other = shutil.copytree(data, folder / "other way")
    write(data, "alice", range(70, 130), 11)
    found["now"] = lived(data, folder)
    write(other, "alice", range(70, 110), 21)
    write(other, "alice", range(120, 150), 31)
    found["other way"] = lived(other, folder)
    stranger = folder / "stranger"
    write(stranger, "alice", range(60), 1)
    write(stranger, "alice", range(70, 130), 41)
    found["stranger"] = lived(stranger, folder)
    assert len({repr(life.answers) for life in found.values()}) == len(found)
    return found


def early_every_other_time(case: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files that are as small as ours answer early, as large ones do, in every other case."""
    least = 0 if case % 2 == 0 else LEAST
    monkeypatch.setattr(early_file, "EARLY_BYTES_MIN", least)


def altered(content: bytes, kind: str, chosen: random.Random) -> bytes:
    """The file, damaged."""
    changed = bytearray(content)
    size = len(changed)
    match kind:
        case "bit":
            changed[chosen.randrange(size)] ^= 1 << chosen.randrange(8)
        case "bytes":
            for _ in range(16):
                changed[chosen.randrange(size)] = chosen.randrange(256)
        case "zero page":
            begin = chosen.randrange(-(-size // PAGE)) * PAGE
            changed[begin : begin + PAGE] = bytes(len(changed[begin : begin + PAGE]))
        case "cut":
            del changed[chosen.choice((0, 1, 47, 48, PAGE, chosen.randrange(size), size - 1)) :]
        case "longer":
            changed += bytes(chosen.randrange(1, PAGE))
        case "swapped" | "repeated":
            length = chosen.choice((8, 64, 512, PAGE))
            one, two = (chosen.randrange(0, size - length) // 8 * 8 for _ in range(2))
            first, second = content[one : one + length], content[two : two + length]
            changed[one : one + length] = second
            if kind == "swapped":
                changed[two : two + length] = first
        case "part table":
            parts = int.from_bytes(content[12:16], "little")
            at = chosen.randrange(48 + parts * 64)
            changed[at] ^= 1 << chosen.randrange(8)
    return bytes(changed)


def foreign(lives: dict[str, Life], kind: str) -> tuple[Life, bytes]:
    """A store, and a whole file that was not made of it."""
    match kind:
        case "older file":
            return lives["now"], lives["before"].index
        case "other user":
            return lives["now"], lives["stranger"].index
        case "newer than the store":
            return lives["before"], lives["now"].index
        case _:
            return lives["other way"], lives["now"].index


def keep(life: Life, content: bytes, kept: Path) -> None:
    """Keep a directory with such a file, as it was before anybody looked at it."""
    shutil.copytree(life.data, kept)
    (folder_of(kept, "alice") / DERIVED_FILE).write_bytes(content)


@pytest.mark.timeout(3600)
def test_no_file_in_the_place_of_a_checkpoint_changes_an_answer(
    lives: dict[str, Life],
    directory: Path,
    report: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    places = {name: folder_of(life.data, "alice") / DERIVED_FILE for name, life in lives.items()}
    for kind in KINDS:
        chosen = random.Random(f"{SEED} {kind}")
        for case in range(CASES):
            if len(wrong) >= FAULTS_MAX:
                break
            early_every_other_time(case, monkeypatch)
            if kind in FOREIGN:
                life, content = foreign(lives, kind)
                if case:  # and damaged beside
                    content = altered(content, chosen.choice(ALTERED), chosen)
            else:
                life = lives["now"]
                content = altered(life.index, kind, chosen)
            (name,) = (name for name, one in lives.items() if one is life)
            places[name].write_bytes(content)
            found, used = answers(life.data)
            bad = [] if found == life.answers else ["another answer"]
            seen[f"{kind}: {'used' if used else 'not used'}"] += 1
            if content not in [one.index for one in lives.values()] and used:
                bad.append("used though it was damaged")
            wrong += [f"{kind} {case}: {what}" for what in bad]
            if bad:
                keep(life, content, directory / f"{kind} {case}")
    report(
        f"checkpoint: {sum(seen.values())} files, "
        + ", ".join(f"{what} {count}" for what, count in sorted(seen.items()))
    )
    assert not wrong, "\n".join(wrong)
    assert seen["older file: used"], "one that is only old is of use"
    life = lives["now"]
    places["now"].write_bytes(life.index)
    found, used = answers(life.data)
    assert found == life.answers, "as is a whole one"
    # Of 252 rows; the last ones may have come after it was written.
    assert used > 2 * 2 * 60
