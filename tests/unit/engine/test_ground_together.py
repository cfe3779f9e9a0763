"""Questions together read what they have in common once, and are of one view."""

from __future__ import annotations

import inspect
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memdb import DataLoss, Keyframe, ResourceExhausted
from memdb.clock import ManualClock
from memdb.engine import together, view
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import load_clip
from memdb.engine.user import EmbeddedUser
from memdb.index.batch import search_many
from memdb.types import database as interface
from memdb.types.ground_options import DEFAULTS, GroundOptions
from tests.unit.engine.conftest import CONFIG, DIM, clip, vector
from tests.unit.engine.test_answer_size import Counted

FRAME_BYTES = 100_000
QUESTIONS = np.stack([vector(100 + seed) for seed in range(30)])


def filled(db: EmbeddedDatabase, clips: int = 20) -> EmbeddedUser:
    user = db.user("alice")
    frames = (Keyframe(0, b"x" * FRAME_BYTES),)
    user.stream("door", space="cam").write_many([clip(n, keyframes=frames) for n in range(clips)])
    return user


def test_the_options_are_those_of_one_question_but_what_is_its_own() -> None:
    parameters = inspect.signature(interface.User.ground).parameters
    options = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    single = ("question_tokens", "rerank", "text", "text_feature", "weights", "explain", "cursor")
    for own in single:
        del options[own]
    assert options == DEFAULTS
    assert set(GroundOptions.__annotations__) == set(DEFAULTS)


def test_what_is_common_is_done_once(db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    user = filled(db)
    search, load = Counted(search_many), Counted(load_clip)
    monkeypatch.setattr(together, "search_many", search)
    monkeypatch.setattr(view, "load_clip", load)

    answers = user.ground_many(QUESTIONS)

    hits = [hit for answer in answers for hit in answer.hits]
    assert len(hits) == 4 * len(QUESTIONS)
    assert search.calls == 1
    assert load.calls == len({hit.clip.id for hit in hits}) == len({id(hit.clip) for hit in hits})


def test_all_are_of_one_revision_while_others_write(db: EmbeddedDatabase) -> None:
    user = filled(db, clips=5)
    door = user.stream("door", space="cam")
    done = threading.Event()

    def write() -> None:
        seq = 5
        while not done.is_set():
            door.write(clip(seq))
            seq += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            answers = user.ground_many(QUESTIONS, limit=3)
            (revision,) = {answer.revision for answer in answers}
            alone = [user.ground(question, limit=3, as_of=revision) for question in QUESTIONS]
            assert [[(hit.clip.id, hit.score) for hit in one.hits] for one in answers] == [
                [(hit.clip.id, hit.score) for hit in one.hits] for one in alone
            ]
    finally:
        done.set()
        writer.join()


def test_answers_stop_at_the_most_that_can_be_sent(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = filled(db)
    load = Counted(load_clip)
    monkeypatch.setattr(view, "load_clip", load)

    # A clip travels once, so it counts once.
    same = np.repeat(QUESTIONS[:1], 50, axis=0)
    assert len(user.ground_many(same, limit=2, answer_bytes_max=3 * FRAME_BYTES)) == 50
    load.calls = 0
    with pytest.raises(ResourceExhausted) as refused:
        user.ground_many(QUESTIONS, limit=2, answer_bytes_max=3 * FRAME_BYTES)

    assert refused.value.reason == "MESSAGE_TOO_LARGE"
    assert load.calls <= 4


def test_a_damaged_clip_is_told_by_the_questions_that_would_have_found_it(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No clip is kept between questions: each is read when it is asked for.
    config = replace(CONFIG, clip_cache_bytes_max=0)
    with EmbeddedDatabase(folder / "data", config=config, clock=clock) as db:
        db.create_space("cam", dim=DIM)
        user = filled(db, clips=4)
        whole = user.ground_many(QUESTIONS, limit=1)
        bad = whole[0].hits[0].clip.seq

        def damaged(*args: object, **options: object) -> object:
            found = load_clip(*args, **options)  # type: ignore[arg-type]
            if found.seq == bad:
                raise DataLoss("flipped", reason="CHECKSUM", field="clips")
            return found

        monkeypatch.setattr(view, "load_clip", damaged)
        answers = user.ground_many(QUESTIONS, limit=1)

        for before, after in zip(whole, answers, strict=True):
            lost = before.hits[0].clip.seq == bad
            assert [gap.reason for gap in after.gaps] == (["damaged"] if lost else [])
            assert len(after.hits) == (0 if lost else 1)
        # Known from now on, and told once.
        assert [gap.first_seq for gap in user.stream("door").gaps()] == [bad]


def test_streams_that_can_be_gone_through_once_are_all_asked(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    names = [f"camera-{number:02}" for number in range(40)]
    for name in names:
        user.stream(name, space="cam").write(clip(0))
    (found, _) = user.ground_many(QUESTIONS[:2], limit=100, streams=iter(names))  # type: ignore[arg-type]
    assert {hit.clip.stream for hit in found.hits} == set(names)
    streamed = list(user.ground_stream(iter(QUESTIONS[:3]), limit=100, streams=iter(names)))  # type: ignore[arg-type]
    assert [len(answer.hits) for answer in streamed] == [40] * 3


def test_hours_are_looked_up_once_for_all_questions(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each had a mask of its own, and each mask was searched for all questions."""
    user = filled(db)
    searches: list[int] = []

    def counted(*args: object) -> object:
        searches.append(1)
        return search_many(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(together, "search_many", counted)
    options = {"hours": [("00:00", "00:02")], "limit": 3}
    answers = user.ground_many(QUESTIONS, **options)  # type: ignore[arg-type]
    assert searches == [1]
    alone = [user.ground(question, **options) for question in QUESTIONS]  # type: ignore[arg-type]
    assert [[hit.clip.id for hit in one.hits] for one in answers] == [
        [hit.clip.id for hit in one.hits] for one in alone
    ]
