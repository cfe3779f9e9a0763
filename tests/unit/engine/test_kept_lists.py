"""Lists of a large memory outlast the process that made them, and nothing else does that was removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import memdb
from memdb import Clip
from memdb.config import EngineConfig, IndexConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.kept_index import KeptIndex
from memdb.index import ivf, partition
from memdb.index.breadth import widened
from memdb.index.checkpoint import KeptRows, owner_of
from memdb.index.checkpoint_reader import read_checkpoint
from memdb.index.indexed import RECENT_MIN
from memdb.index.tiers import Tiers
from memdb.store.derived import DERIVED_FILE
from memdb.types.arrays import Array
from tests.unit.index.test_indexed import DIM, never, structured

ROWS = 2600
LIMIT = 10
SECOND_NS = 10**9
INDEX = IndexConfig(approximate_rows_min=2100, checkpoint_rows=4)
READING = replace(INDEX, checkpoint_rows=1 << 20)
CONFIG = EngineConfig(map_bytes_initial=8 << 20)


def small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ivf, "ALLOWED_MIN", 100)
    patch.setattr(partition, "Tiers", lambda matrix: Tiers(matrix, bytes_min=0))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)


def opened(data: Path, index: IndexConfig = INDEX) -> EmbeddedDatabase:
    return EmbeddedDatabase(data, config=CONFIG, index=index, embed_texts=False)


def clip(seq: int, vector: Array, *, sealed: bool = True) -> Clip:
    return Clip(
        seq=seq,
        start_ns=seq * SECOND_NS,
        end_ns=(seq + 1) * SECOND_NS,
        global_memory=vector,
        sealed=sealed,
    )


def write(db: EmbeddedDatabase, vectors: Array, first: int) -> None:
    clips = [clip(first + n, vector) for n, vector in enumerate(vectors)]
    db.user("u").stream("cam", space="s").write_many(clips)


def make_lists(db: EmbeddedDatabase) -> None:
    """Ask until there is something to measure with, and have it done now."""
    db._users._upkeep.close()
    tiers = tiers_of(db)
    for _ in range(2):
        for question in structured(2 * RECENT_MIN, 90):
            db.user("u").ground(question, limit=LIMIT)
        tiers.maintain(never, None, db._users._upkeep._approximation)
    assert tiers.has_lists


def tiers_of(db: EmbeddedDatabase) -> Tiers:
    with db._users.use("u") as memory:
        (view,) = memory.view.partitions.values()
        return view.tiers


def kept_of(db: EmbeddedDatabase) -> KeptIndex:
    with db._users.use("u") as memory:
        return memory.kept


def asked(db: EmbeddedDatabase) -> tuple[list[bool], list[list[tuple[str, float]]]]:
    """Whether answers were approximate, and what they were."""
    answers = [db.user("u").ground(one, limit=LIMIT) for one in structured(8, 91)]
    hits = [[(hit.clip.id, hit.score) for hit in one.hits] for one in answers]
    return [one.approximate for one in answers], hits


def file_of(data: Path) -> Path:
    (found,) = (data / "users").glob(f"*/{DERIVED_FILE}")
    return found


def kept_in(db: EmbeddedDatabase, file: Path) -> KeptRows:
    with db._users.use("u") as memory:
        state = memory.view.state
    (found,) = read_checkpoint(file, owner_of(state.id_key), state.revision).values()
    return found


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database whose user had lists when it was closed: made once, for it takes seconds."""
    data = tmp_path_factory.mktemp("listed") / "data"
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        with opened(data) as db:
            db.create_space("s", dim=DIM)
            write(db, structured(ROWS, 1), 0)
            make_lists(db)
        assert file_of(data).exists()
        yield data


@pytest.fixture
def data(listed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(listed, tmp_path / "data")


def test_the_first_answer_after_a_start_is_by_the_lists_of_before(data: Path) -> None:
    with opened(data, READING) as db:
        approximate, hits = asked(db)
        assert all(approximate)
        assert not tiers_of(db).is_due
        assert not kept_of(db).is_due, "and nothing has to be written"
    with opened(data, replace(READING, approximate_rows_min=0)) as db:
        approximate, exact = asked(db)
        assert not any(approximate), "who wants none gets none"
    found = sum(len(set(one) & set(other)) for one, other in zip(hits, exact, strict=True))
    assert found >= 0.99 * sum(map(len, exact))


def test_lists_answer_in_one_go_as_part_by_part(data: Path) -> None:
    with opened(data) as db:
        user = db.user("u")
        for question in structured(8, 92):
            for exact in (False, True):
                one = user.ground(question, limit=LIMIT, exact=exact)
                # More to be told is no usual question.
                parts = user.ground(question, limit=LIMIT, exact=exact, with_coverage=True)
                assert one.approximate is parts.approximate is not exact
                assert [(hit.clip.id, hit.score, hit.relevance) for hit in one.hits] == [
                    (hit.clip.id, hit.score, hit.relevance) for hit in parts.hits
                ]


def test_who_wants_no_lists_for_a_while_has_them_afterwards(data: Path) -> None:
    with opened(data, replace(INDEX, approximate_rows_min=0)) as db:
        db._users._upkeep.close()
        asked(db)
        tiers_of(db).maintain(never, None, db._users._upkeep._approximation)
        assert not kept_of(db).is_due
    with opened(data, READING) as db:
        assert all(asked(db)[0])


def test_what_came_since_is_found_at_once(data: Path) -> None:
    later = structured(60, 33)
    with opened(data, READING) as db:
        write(db, later, ROWS)
        camera = db.user("u").stream("cam", space="s")
        camera.write(clip(ROWS + 60, later[0], sealed=False))
        camera.write(clip(ROWS + 60, structured(1, 34)[0]))
    with opened(data, READING) as db:
        for number in (0, 31, 59):
            answer = db.user("u").ground(later[number], limit=LIMIT)
            assert answer.approximate
            assert answer.hits[0].clip.seq == number + ROWS
            assert ROWS + 60 not in [one.clip.seq for one in answer.hits if one.score > 0.999]
        newest = db.user("u").ground(structured(1, 34)[0], limit=LIMIT)
        assert newest.approximate
        assert newest.hits[0].clip.seq == ROWS + 60
        assert db.verify().ok


def test_lists_that_were_just_made_are_written_though_no_row_came(tmp_path: Path) -> None:
    with opened(tmp_path) as db:
        db.create_space("s", dim=DIM)
        write(db, structured(ROWS, 1), 0)
    with opened(tmp_path) as db:
        assert not kept_of(db).is_due
        make_lists(db)
        kept = kept_of(db)
        assert kept.is_due
        kept.maintain(never)
        kept._not_before = 0.0
        assert not kept.is_due
        assert kept_in(db, file_of(tmp_path)).learned is not None
        # A search that was found to look at too little looks at more, also after a start.
        indexed = tiers_of(db).indexed
        assert indexed._ready is not None
        indexed._ready = replace(indexed._ready, breadth=widened(indexed._ready.breadth, 2.0))
        wider = indexed.trained
        assert kept.is_due
    with opened(tmp_path, READING) as db:
        assert tiers_of(db).indexed.trained == wider


def test_retention_leaves_no_code_of_what_it_gave_up(data: Path) -> None:
    file = file_of(data)
    with opened(data) as db:
        db._users._upkeep.close()
        camera = db.user("u").stream("cam", space="s")
        camera.set_retention(memdb.Retention(max_clips=ROWS - 200))
        db.sweep()
        assert not file.exists()
        kept = kept_of(db)
        kept._not_before = 0.0
        kept.maintain(never)
        left = kept_in(db, file)
        assert left.learned is not None
        assert left.learned.lists is not None
        assert len(left.learned.codes) == len(left.learned.lists.homes) == ROWS - 200
    with opened(data, READING) as db:
        assert all(asked(db)[0])
        for question in structured(ROWS, 1)[:200:4]:  # those that went
            answer = db.user("u").ground(question, limit=LIMIT)
            assert all(hit.clip.seq >= 200 for hit in answer.hits)
        assert db.verify().ok


@pytest.mark.parametrize("what", ["erase", "compact"])
def test_an_erasure_leaves_nothing_that_was_learned_of_what_it_erased(
    data: Path, what: str
) -> None:
    """Not even a mean of many rows, of which it was one: lists are made anew of what is left."""
    file = file_of(data)
    with opened(data) as db:
        db._users._upkeep.close()
        user = db.user("u")
        assert tiers_of(db).learned is not None
        if what == "erase":
            user.erase_clips([user.clips(limit=1)[0].id])
        else:
            user.compact()
        assert tiers_of(db).learned is None
        assert not file.exists()
        assert not any(asked(db)[0])
    with opened(data, READING) as db:
        assert not any(asked(db)[0])
        assert tiers_of(db).indexed.trained == (0, None)
        assert db.verify().ok


@pytest.mark.parametrize("where", [0.2, 0.97, 0.9999])
def test_damaged_lists_are_made_anew(data: Path, where: float) -> None:
    """In the rows, in the codes, in the lists, which lie in that order: the file is used whole or not at all."""
    file = file_of(data)
    content = bytearray(file.read_bytes())
    content[int(where * len(content))] ^= 1
    file.write_bytes(content)
    with opened(data, READING) as db:
        assert not any(asked(db)[0])
        assert not file.exists()
    with opened(data) as db:
        make_lists(db)
        assert all(asked(db)[0])
    with opened(data, READING) as db:
        assert all(asked(db)[0])


def test_lists_of_rows_that_the_store_does_not_have_are_not_used(data: Path) -> None:
    before = file_of(data).read_bytes()
    file = file_of(data)
    with opened(data, READING) as db:
        db.user("u").stream("cam", space="s").set_retention(memdb.Retention(max_clips=ROWS - 1))
        db.sweep()
    file.write_bytes(before)
    with opened(data, READING) as db:
        assert not any(asked(db)[0])
        assert not file.exists()
