"""What is done in the background changes no answer, stops with the database, and survives errors."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import memdb
from memdb import Clip
from memdb.engine.upkeep import Upkeep
from memdb.index.gpu import Gpu
from memdb.index.gpu_flat import PLACE_ROWS_MIN
from memdb.index.indexed import Approximation
from memdb.index.matrix import Matrix
from memdb.index.sketch import Sketch
from memdb.index.tiers import (
    BLOCK_ROWS,
    QUESTIONS_MIN,
    REST_QUESTIONS,
    SKETCH_ROWS_MIN,
    Tiers,
)
from tests.unit.index.gpu_twin import Twin
from tests.unit.index.test_flat import matrix_of
from tests.unit.index.test_sketch import made

DIM = 1536
CLIPS = 3000


class Noted(Tiers):
    """Tells when it is maintained."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(Matrix(DIM))
        self.error = error
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.times = 0

    def maintain(
        self,
        stop: Callable[[], bool],
        gpu: Gpu | None = None,
        approximation: Approximation | None = None,
    ) -> None:
        self.times += 1
        self.begun.set()
        assert self.may_end.wait(20)
        if self.error is not None:
            raise self.error


def test_what_is_wanted_twice_before_it_is_begun_is_done_once() -> None:
    upkeep, first, second = Upkeep(), Noted(), Noted()
    upkeep.want(first)
    assert first.begun.wait(20)
    for _ in range(3):
        upkeep.want(second)
    first.may_end.set()
    second.may_end.set()
    assert second.begun.wait(20)
    upkeep.close()
    assert (first.times, second.times) == (1, 1)
    upkeep.want(first)
    assert first.times == 1, "nothing begins after the end"


def test_an_error_is_told_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    upkeep, broken, sound = Upkeep(), Noted(MemoryError("no room for codes")), Noted()
    broken.may_end.set()
    sound.may_end.set()
    with caplog.at_level(logging.ERROR, "memdb.engine"):
        upkeep.want(broken)
        upkeep.want(sound)
        assert sound.begun.wait(20)
        upkeep.close()
    assert "no room for codes" in caplog.text


def test_it_waits_where_there_is_no_thread_to_be_had(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asks is answered, and nothing is in the way of the end."""

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    upkeep, chore = Upkeep(), Noted()
    chore.may_end.set()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "memdb.engine"):
        patch.setattr(threading.Thread, "start", refused)
        for _ in range(3):
            upkeep.want(chore)
    assert caplog.text.count("upkeep waits") == 1
    upkeep.want(chore)
    assert chore.begun.wait(20)
    upkeep.close()
    assert chore.times == 1


def test_what_failed_is_not_tried_with_every_question(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    matrix = Matrix(DIM)
    matrix.append(rng.standard_normal((SKETCH_ROWS_MIN, DIM)).astype(np.float32))
    index, upkeep, tried = Tiers(matrix, bytes_min=0), Upkeep(), threading.Event()
    index.is_quick(matrix.rows, None, QUESTIONS_MIN)
    index.maintain(lambda: False)
    matrix.append(rng.standard_normal((BLOCK_ROWS, DIM)).astype(np.float32))
    assert index.is_due

    def fails(*_: object) -> bool:
        tried.set()
        raise MemoryError("no room for codes")

    monkeypatch.setattr(Sketch, "extend", fails)
    upkeep.want(index)
    assert tried.wait(20)
    upkeep.close()
    assert not index.is_due
    index.is_quick(matrix.rows, None, REST_QUESTIONS + QUESTIONS_MIN - 1)
    assert not index.is_due
    index.is_quick(matrix.rows, None, 1)
    assert index.is_due


def test_a_gpu_hears_of_rows_whose_codes_are_those_of_before() -> None:
    matrix = matrix_of(made("scenes", PLACE_ROWS_MIN, 128, seed=1))
    before = Tiers(matrix, bytes_min=0)
    before.maintain(lambda: False)
    learned = before.learned
    assert learned is not None
    gpu = Gpu(Twin(), 1 << 30)
    index, upkeep = Tiers(matrix, bytes_min=0), Upkeep(gpu, Approximation(matrix.rows))
    index.learn(learned)
    upkeep.introduce(index)
    assert not index.is_due, "nobody asks"
    index.is_quick(matrix.rows, None, QUESTIONS_MIN)
    assert index.is_due
    index.maintain(lambda: False, gpu, Approximation(matrix.rows))
    assert gpu.bytes_used == 2 * matrix.rows * 128
    assert not index.is_due


def test_questions_bring_codes_and_answers_stay_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scenes = rng.standard_normal((10, DIM)).astype(np.float32)
    vectors = scenes[rng.integers(10, size=CLIPS)] + 0.5 * rng.standard_normal((CLIPS, DIM))
    questions = vectors[::250].astype(np.float32)
    with memdb.open(tmp_path) as db:
        db.create_space("s", dim=DIM)
        user = db.user("u")
        camera = user.stream("cam", space="s")
        second = 1_000_000_000
        clips = [
            Clip(seq=seq, start_ns=seq * second, end_ns=(seq + 1) * second, global_memory=vector)
            for seq, vector in enumerate(vectors.astype(np.float16))
        ]
        for begin in range(0, CLIPS, 500):
            camera.write_many(clips[begin : begin + 500])
        before = [user.ground(question, limit=7) for question in questions]
        until = time.monotonic() + 60
        with db._users.use("u") as memory:
            (partition,) = memory.view.partitions.values()
        while not partition.tiers.coded_rows:
            assert time.monotonic() < until, "no codes came"
            user.ground(questions[0])
            time.sleep(0.01)
        after = [user.ground(question, limit=7) for question in questions]
        as_of = [user.ground(question, limit=7, as_of=3) for question in questions]
    assert _told(after) == _told(before)
    with memdb.open(tmp_path) as db:
        user = db.user("u")
        assert _told([user.ground(question, limit=7) for question in questions]) == _told(before)
        again = [user.ground(question, limit=7, as_of=3) for question in questions]
        assert _told(again) == _told(as_of)


def _told(answers: list[memdb.Grounding]) -> list[list[tuple[str, float]]]:
    return [[(hit.clip.id, hit.score) for hit in answer.hits] for answer in answers]
