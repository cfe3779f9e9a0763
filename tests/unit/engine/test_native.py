"""The search of few rows in one call of the native edge: to the last bit that of the engine."""

from __future__ import annotations

import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb
from memdb import Clip, InvalidArgument, ResourceExhausted
from memdb import native as module
from memdb.engine import native, one_go
from memdb.types import arrays
from memdb.types.grounding import Grounding
from tests.both_edges import NEEDS_NATIVE

DIM = 48
SECOND_NS = 1_000_000_000

pytestmark = NEEDS_NATIVE


def fill(path: Path) -> None:
    rng = np.random.default_rng(4)
    with memdb.open(path) as database:
        database.create_space("s", dim=DIM, model="m@1")
        user = database.user("alice")
        for camera in range(3):
            stream = user.stream(f"camera-{camera}", space="s")
            vectors = rng.standard_normal((20, DIM)).astype(np.float32)
            vectors[7] = vectors[3]  # equal scores
            for seq, vector in enumerate(vectors):
                start_ns = (3 * seq + camera) * SECOND_NS
                # The last one grows: its first version is there no more.
                for sealed in (False, True) if seq == 19 else (True,):
                    stream.write(
                        Clip(
                            seq=seq,
                            start_ns=start_ns,
                            end_ns=start_ns + SECOND_NS,
                            global_memory=vector if sealed else -vector,
                            sealed=sealed,
                        )
                    )


def told(answer: Grounding) -> tuple[Any, ...]:
    """All of an answer, as it can be compared."""
    hits = [(hit.clip.id, hit.clip.revision, hit.score, hit.relevance) for hit in answer.hits]
    return hits, answer.revision, answer.gaps, answer.fallback, answer.abstained


def answers(path: Path, questions: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """To each question the answers when it was asked three times, the last of which counts."""
    with memdb.open(path) as database:
        user = database.user("alice")
        return [told([user.ground(**question) for _ in range(3)][-1]) for question in questions]


def test_answers_are_those_of_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "db")
    rng = np.random.default_rng(5)
    filters: list[dict[str, Any]] = [
        {},
        {"streams": ["camera-1"]},
        {"streams": ["camera-2", "camera-0"]},
        {"start_ns": 10 * SECOND_NS, "end_ns": 31 * SECOND_NS},
        {"end_ns": 1, "limit": 1},
    ]
    questions = [
        {"question_feature": vector, "limit": int(rng.integers(1, 70))} | chosen
        for chosen in filters
        for dtype in (np.float32, np.float16)
        for vector in rng.standard_normal((4, DIM)).astype(dtype)
    ]
    asked: list[int] = []
    best = one_go.Native.best

    def counted(self: one_go.Native, feature: Any, limit: int) -> Any:
        asked.append(limit)
        return best(self, feature, limit)

    monkeypatch.setattr(one_go.Native, "best", counted)
    found = answers(tmp_path / "db", questions)
    assert len(asked) >= len(questions), "it was the edge that searched"
    monkeypatch.setattr(one_go, "arithmetic", lambda: None)
    without = len(asked)
    assert found == answers(tmp_path / "db", questions)
    assert len(asked) == without
    assert any(len(hits) > 10 for hits, *_ in found)


def test_a_feature_without_a_direction_is_refused_all_the_same(tmp_path: Path) -> None:
    fill(tmp_path / "db")
    with memdb.open(tmp_path / "db") as database:
        user = database.user("alice")
        for _ in range(3):
            user.ground(np.ones(DIM, np.float32))
        with pytest.raises(InvalidArgument) as refused:
            user.ground(np.zeros(DIM, np.float32))
    assert refused.value.reason == "ZERO_VECTOR"


def test_a_write_is_in_the_next_answer(tmp_path: Path) -> None:
    fill(tmp_path / "db")
    wanted = np.random.default_rng(6).standard_normal(DIM).astype(np.float32)
    with memdb.open(tmp_path / "db") as database:
        user = database.user("alice")
        for seq in range(20, 25):
            for _ in range(4):
                user.ground(wanted)
            start_ns = 3 * seq * SECOND_NS
            clip = Clip(
                seq=seq, start_ns=start_ns, end_ns=start_ns + SECOND_NS, global_memory=wanted
            )
            ack = user.stream("camera-0", space="s").write(clip)
            answer = user.ground(wanted, limit=30)
            assert answer.revision == ack.revision
            assert sum(hit.score > 0.999 for hit in answer.hits) == seq - 19


def test_clips_that_were_found_before_are_those_of_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "db")
    wanted = np.random.default_rng(7).standard_normal(DIM).astype(np.float32)
    looked_up: list[int] = []
    kept_hits = one_go._kept_hits

    def counted(*arguments: Any) -> Any:
        looked_up.append(1)
        return kept_hits(*arguments)

    monkeypatch.setattr(one_go, "_kept_hits", counted)
    with memdb.open(tmp_path / "db") as database:
        user = database.user("alice")
        for with_vectors in (True, False, True, False):
            found = [user.ground(wanted, with_global_memory=with_vectors) for _ in range(4)]
            first = [hit.clip for hit in found[0].hits]
            assert all(told(one) == told(found[0]) for one in found)
            assert all([hit.clip for hit in one.hits] == first for one in found)
            assert all(bool(clip.global_memory.size) == with_vectors for clip in first)
        assert len(looked_up) == 4, "two of either parts, before they are found by row"
        with pytest.raises(ResourceExhausted):
            user.ground(wanted, answer_bytes_max=10)
        gone = found[0].hits[1].clip.id
        user.erase_clips(clip_ids=[gone])
        for _ in range(4):
            left = user.ground(wanted)
            assert gone not in [hit.clip.id for hit in left.hits]


@pytest.mark.parametrize("wrong", ["interface", "sums"])
def test_it_is_not_used_where_it_is_another(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module.why_absent.cache_clear()
    native.arithmetic.cache_clear()
    try:
        if wrong == "interface":
            monkeypatch.setattr(module, "INTERFACE", 0)
        else:
            monkeypatch.setattr(native, "mean_score", lambda mean, query: float(mean.sum()))
        assert module.is_installed() == (wrong != "interface")
        if wrong == "interface":
            assert (
                module.why_absent() == "it is of another release: pip install ./edge makes it anew"
            )
        assert native.arithmetic() is None
    finally:
        module.why_absent.cache_clear()
        native.arithmetic.cache_clear()


def test_it_is_not_used_where_it_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The gRPC of the system that it was built with has gone: that is said, and ends no start and no question."""
    gone = "libgrpc++.so.1.51: cannot open shared object file"
    (tmp_path / "memdb_edge.py").write_text(f"raise ImportError({gone!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module.MODULE)
    module.why_absent.cache_clear()
    native.arithmetic.cache_clear()
    try:
        assert not module.is_installed()
        assert module.why_absent() == f"it cannot be loaded: {gone}"
        assert native.arithmetic() is None
    finally:
        module.why_absent.cache_clear()
        native.arithmetic.cache_clear()
    (said,) = caplog.records
    assert said.getMessage() == f"the native edge cannot be loaded: not used: error {gone}"


@pytest.mark.parametrize("taking_away", ["erase_clips", "erase"])
def test_what_was_made_of_rows_goes_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taking_away: str
) -> None:
    """Nothing goes on to hold the rows, or the codes of them, that the native edge searched."""
    fill(tmp_path / "db")
    kept: list[weakref.ref[Any]] = []
    few = native.Arithmetic.few

    def noted(self: native.Arithmetic, *given: Any) -> Any:
        made = few(self, *given)
        codes = given[-1]
        if codes is not None:  # as those of few that are left
            # The memory itself: what was given are views of it.
            memory = given[1].base, codes.codes.base, codes.measures.base
            kept.extend(map(weakref.ref, (made, *memory)))
        return made

    monkeypatch.setattr(native.Arithmetic, "few", noted)
    with memdb.open(tmp_path / "db") as database:
        user = database.user("alice")
        for _ in range(3):
            first = user.ground(np.ones(DIM, np.float32), limit=3)
        assert [each() is not None for each in kept] == [True] * 4
        if taking_away == "erase":
            user.erase()
        else:
            # More than half: the index makes its rows anew.
            gone = [clip.id for clip in user.clips(limit=100)][:45]
            user.erase_clips(gone)
            for _ in range(3):
                answer = user.ground(np.ones(DIM, np.float32), limit=60)
            assert not {hit.clip.id for hit in answer} & set(gone)
        del first
        assert [each() for each in kept] == [None] * 4


@pytest.mark.parametrize(
    "size", [0, 1, 4097, 98_304, 1_000_000]
)  # the last beyond what keeps the lock
def test_elements_are_looked_through_as_numpy_does(size: int) -> None:
    import memdb_edge

    halves = np.full(size + 1, -np.finfo(np.float16).max, np.float16)
    # Also where elements lie at odd addresses.
    moved = np.frombuffer(b"x" + halves.tobytes(), np.float16, offset=1)
    assert memdb_edge.are_finite(halves)
    assert memdb_edge.are_finite(moved)
    for place in {0, size // 2, size}:
        for bad in (np.inf, -np.inf, np.nan, -np.nan):
            halves[place] = bad
            assert not memdb_edge.are_finite(halves)
            assert not memdb_edge.are_finite(halves.tobytes())
        halves[place] = 1.0
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    assert memdb_edge.are_finite(every[np.isfinite(every)])
    assert not any(
        memdb_edge.are_finite(every[i : i + 1]) for i in np.flatnonzero(~np.isfinite(every))
    )
    with pytest.raises(ValueError, match="contiguous"):
        memdb_edge.are_finite(every[::2])
    with pytest.raises(TypeError):
        memdb_edge.are_finite(1.0)  # type: ignore[arg-type]  # on purpose


def test_who_has_a_stream_has_clips_looked_through_by_the_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import memdb_edge

    looked: list[int] = []

    def look(array: Any) -> bool:
        looked.append(array.size)
        return memdb_edge.are_finite(array)

    with memdb.open(tmp_path / "db") as database:
        database.user("alice").stream("door")
        assert arrays._look is memdb_edge.are_finite
        monkeypatch.setattr(arrays, "_look", look)
        memory = np.ones((64, 96), np.float16)
        for array in (memory, memory.T, np.asfortranarray(memory)):
            assert arrays.is_finite(array)
        memory[63, 95] = np.nan
        with pytest.raises(InvalidArgument) as refused:
            Clip(seq=0, start_ns=0, end_ns=1, global_memory=memory[0], short_memory=memory)
        assert refused.value.reason == "NOT_FINITE"
    assert looked == [6144, 6144, 6144, 6144]
