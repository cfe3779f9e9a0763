"""Directories that earlier releases wrote are read as they were meant.

`tests/compat/format-N` was written by the first release of format N and is never made again.
"""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

import memdb
from memdb import FailedPrecondition
from memdb.clock import ManualClock
from memdb.engine.database import EmbeddedDatabase
from tests.compat.make_golden import clip

HERE = Path(__file__).parent
FORMATS = sorted(path.name for path in HERE.glob("format-*") if path.is_dir())


def answers(db: EmbeddedDatabase) -> dict[str, object]:
    """Everything that one may ask, comparable."""
    user = db.user("alice")
    question = np.arange(1, 9, dtype=np.float32)

    def shown(found: memdb.StoredClip) -> list[object]:
        parts = (found.id, found.seq, found.start_ns, found.end_ns, found.sealed, found.revision)
        frames = [f"Keyframe(time_ns={one.time_ns}, jpeg={one.jpeg!r})" for one in found.keyframes]
        pictures = f"({', '.join(frames)}{',' if len(frames) == 1 else ''})"
        labels = sorted(found.labels.items())
        content = f"({found.transcript!r}, {found.events!r}, {pictures}, {labels!r})"
        return [
            *parts,
            sha256(content.encode()).hexdigest(),
            found.global_memory.tobytes().hex(),
        ]

    clips = user.clips()
    return {
        "revision": user.revision(),
        "clips": [shown(found) for found in clips],
        "short": {
            found.id: sha256(user.short_memory([found.id])[0].tobytes()).hexdigest()
            for found in clips
        },
        "ground": [
            [hit.clip.id, round(hit.score, 5)] for hit in user.ground(question, limit=9).hits
        ],
        "as of": {
            str(revision): [hit.clip.id for hit in user.ground(question, as_of=revision).hits]
            for revision in range(3, user.revision(), 3)
        },
        "snapshot": [found.id for found in user.clips(as_of="then")],
        "gaps": [[gap.first_seq, gap.last_seq] for gap in user.stream("door").gaps()],
        "facts": [[fact.text, list(fact.evidence), fact.revision] for fact in user.facts()],
        "recall": [hit.text for hit in user.recall("mug").hits],
        "value": user.get("diet"),
        "long term": np.round(user.long_term().tokens, 5).tolist(),
        "changes": [[change.revision, change.kind] for change in user.changes(limit=1000)],
        "retention": user.stream("door").retention().max_clips,
        "streams": [info.name for info in user.streams()],
    }


@pytest.fixture(params=FORMATS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    copy = tmp_path / "data"
    shutil.copytree(HERE / request.param, copy)
    return copy


def test_there_is_a_directory_of_every_format() -> None:
    from memdb.store.schema import FORMAT

    assert [f"format-{number}" for number in range(1, FORMAT + 1)] == FORMATS


def test_it_answers_as_it_did(golden: Path) -> None:
    expected = json.loads((golden / "answers.json").read_text("utf-8"))
    (golden / "answers.json").unlink()
    with EmbeddedDatabase(golden, clock=ManualClock(), embed_texts=False) as db:
        assert json.loads(json.dumps(answers(db))) == expected
        assert db.verify().ok


def test_it_takes_what_comes_next(golden: Path) -> None:
    (golden / "answers.json").unlink()
    with EmbeddedDatabase(golden, clock=ManualClock(), embed_texts=False) as db:
        door = db.user("alice").stream("door")
        assert door.write(clip("door", 9)).duplicate
        assert door.write(clip("door", 1)).duplicate  # given up since
        assert not door.write(clip("door", 10, length=8)).duplicate
        assert not door.write(clip("door", 7)).duplicate
        assert db.verify().ok


def test_it_takes_standing_questions(golden: Path) -> None:
    (golden / "answers.json").unlink()
    with EmbeddedDatabase(golden, clock=ManualClock(), embed_texts=False) as db:
        user = db.user("alice")
        assert user.standing.list() == []
        assert list(user.standing.watch(follow=False)) == []
        question = user.standing.create(np.ones(8, np.float32), min_score=-1, space="cam")
        user.stream("door").write(clip("door", 11))
        (alert,) = user.standing.watch(follow=False)
        assert alert.question_id == question.id
        assert db.verify().ok
    with EmbeddedDatabase(golden, clock=ManualClock(), embed_texts=False) as db:
        assert list(db.user("alice").standing.watch(follow=False)) == [alert]


@pytest.mark.parametrize("where", ["FORMAT", "user"])
def test_a_newer_one_is_refused_in_clear_words(golden: Path, where: str) -> None:
    (golden / "answers.json").unlink()
    if where == "FORMAT":
        (golden / "FORMAT").write_text("memdb 99\n")
        with pytest.raises(FailedPrecondition) as refused:
            memdb.open(golden)
        assert refused.value.reason == "FORMAT_NEWER"
        assert "newer memdb" in str(refused.value)
        return
    import lmdb

    from memdb.store.records import UserRecord, pack, unpack
    from memdb.store.schema import META_USER, Table

    with EmbeddedDatabase(golden, embed_texts=False) as db:
        path = db._directory.user_path("alice")
    with lmdb.open(str(path), max_dbs=32, map_size=1 << 28) as env:
        meta = env.open_db(b"meta", create=False)
        with env.begin(write=True, db=meta) as txn:
            record = unpack(Table.META, META_USER, txn.get(META_USER) or b"", UserRecord)
            newer = UserRecord(record.user, record.id_key, record.created_ns, 99)
            txn.put(META_USER, pack(META_USER, newer))
    with memdb.open(golden) as db, pytest.raises(FailedPrecondition) as refused:
        db.user("alice").clips()
    assert refused.value.reason == "FORMAT_NEWER"
