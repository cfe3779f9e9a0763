"""What the shelf takes for a question: never what Python refuses, and never for another one than Python does.

Bytes that were put together field by field, and those of questions that were broken anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memdb import Clip, MemdbError
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.question import checked_question
from memdb.server.shelf import Shelf
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2
from memdb.wire.plain_question import asked_question, plain_question

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

from tests.unit.server.ready import Python, lay_ready, made_shelf, parts_of

DIM = 3
CLIPS = 12
SECOND_NS = 10**9
BROKEN = 2000
FEATURE = np.array([0.6, -0.5, 0.1], np.float32).tobytes()


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shelf, Python]]:
    """A user that lies ready with all parts of its clips, and without any."""
    numbers = np.random.default_rng(3)
    with EmbeddedDatabase(tmp_path_factory.mktemp("questions") / "data") as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        for name in ("door", "yard"):
            user.stream(name, space="cam").write_many(
                [
                    Clip(
                        seq=seq,
                        start_ns=seq * SECOND_NS,
                        end_ns=(seq + 1) * SECOND_NS,
                        global_memory=numbers.standard_normal(DIM).astype(np.float32),
                    )
                    for seq in range(CLIPS)
                ]
            )
        shelf, python = made_shelf(db), Python(db)
        for whole in (True, False):
            parts = parts_of(global_memory=whole, keyframes=whole)
            lay_ready(db, shelf, "alice", parts)
        assert shelf.native.users == 2
        yield shelf, python
        python.close()


def answered(answer: Callable[[bytes], bytes], data: bytes) -> bytes | str:
    try:
        return answer(data)
    except MemdbError as error:
        return error.reason


def test_a_second_user_that_is_empty(ready: tuple[Shelf, Python]) -> None:
    question = b"\n\x05alice\x12\x0e\n\x0c\x9a\x99\x19?\0\0\0\xbf\xcd\xcc\xcc="
    assert answered(ready[1].answer_read, question + b"\n\0") == "BAD_MESSAGE"


def check(ready: tuple[Shelf, Python], data: bytes) -> bool:
    shelf, python = ready
    found = shelf.native.answer(data)
    wanted = answered(python.answer, data)
    assert found is None or found == wanted, data
    # Python reads plain ones by hand, too.
    assert answered(python.answer_read, data) == wanted, data
    return found is not None


def varint(value: int, longer: int = 0) -> bytes:
    """The least bytes, and so many more that say nothing."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(longer):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def tagged(field: int, kind: int, longer: int = 0) -> bytes:
    return varint(field << 3 | kind, longer)


def text(field: int, value: bytes, longer: int = 0, tag_longer: int = 0) -> bytes:
    return tagged(field, 2, tag_longer) + varint(len(value), longer) + value


def number(field: int, value: int, longer: int = 0) -> bytes:
    return tagged(field, 0) + varint(value, longer)


def zigzag(value: int) -> int:
    return (value << 1 ^ value >> 63) & (2**64 - 1)


WHOLE = text(1, b"alice") + text(2, text(1, FEATURE))
few = st.sampled_from([0, 0, 0, 0, 1, 3, 4, 5, 8, 9])
names = st.sampled_from([b"door", b"yard", b"none", b"", b"\xff", b"door\x00"])
times = st.sampled_from(
    [
        *range(0, CLIPS * SECOND_NS, SECOND_NS),
        -1,
        1,
        2**62,
        2**62 + 1,
        -(2**62),
        2**63 - 1,
        -(2**63),
    ]
).map(zigzag)
numbers = st.sampled_from(
    [0, 1, 2, 3, 64, 65, 1000, 1001, 2**31, 2**32, 2**32 + 4, 2**63, 2**64 - 1]
)
words = st.sampled_from([b"", b"top", b"none", b"idf", b"recent", b"uniform", b"tokens", b"topp"])
vectors = st.sampled_from([FEATURE, FEATURE, bytes(12), b"", FEATURE[:-1], FEATURE + bytes(4)])
fields = st.one_of(
    st.builds(text, st.just(1), st.sampled_from([b"alice", b"bob", b"", b"\xc3("]), few, few),
    st.builds(text, st.just(2), st.builds(text, st.just(1), vectors, few, few), few, few),
    st.builds(text, st.just(2), st.builds(text, st.integers(2, 4), vectors), few),
    st.builds(text, st.just(4), names, few, few),
    st.builds(number, st.sampled_from([3, 23, 25, 26, 11, 12, 15, 19, 22]), numbers, few),
    st.builds(number, st.sampled_from([5, 6]), times, few),
    st.builds(text, st.sampled_from([9, 13, 21, 14, 18, 24, 7, 17, 20, 27]), words, few, few),
    st.builds(number, st.integers(1, 40), numbers),
    st.builds(text, st.integers(1, 40), words),
    st.builds(
        lambda field, kind, rest: tagged(field, kind) + rest,
        st.integers(0, 40),
        st.integers(0, 7),
        st.binary(max_size=9),
    ),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(fields, max_size=6), st.integers(0, 6), st.booleans())
@example([text(4, b"door", 0, 5)], 0, True)  # a tag of six bytes
@example([text(4, b"door", 5)], 0, True)
@example([number(3, 20), number(3, 0)], 6, True)
@example([text(1, b"bob")], 6, True)  # who is asked is whom it names last, which is refused
@example([text(1, b"alice"), text(2, text(1, FEATURE) + text(2, bytes(6)))], 0, False)
@example([text(1, b"alice"), text(2, text(1, FEATURE) + text(1, FEATURE))], 0, False)
def test_fields_that_were_put_together(
    ready: tuple[Shelf, Python], parts: list[bytes], place: int, is_whole: bool
) -> None:
    if is_whole:
        parts = [*parts[:place], WHOLE, *parts[place:]]
    check(ready, b"".join(parts))


def plain(draw: random.Random) -> bytes:
    """A question that the shelf answers."""
    asked = pb.GroundRequest(
        user="alice",
        question_feature=types_pb2.Vector(f32=FEATURE),
        limit=draw.choice([0, 1, 20, 64]),
        policy=draw.choice(["", "top"]),
        fallback=draw.choice(["", "none"]),
        weighting=draw.choice(["", "idf"]),
        exact=draw.random() < 0.3,
        streams=draw.choice([[], ["door"], ["yard", "door"]]),
    )
    if draw.random() < 0.5:
        asked.start_ns = draw.choice([0, SECOND_NS, 5 * SECOND_NS - 1])
    if draw.random() < 0.5:
        asked.end_ns = draw.choice([5 * SECOND_NS, 5 * SECOND_NS + 1, 2**62])
    asked.without_global_memory = asked.without_keyframes = draw.random() < 0.5
    return asked.SerializeToString()


def broken(draw: random.Random, data: bytes) -> bytes:
    """Changed somewhere."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        place = draw.randrange(len(changed) + 1)
        if not changed or draw.random() < 0.2:
            changed[place:place] = draw.randbytes(draw.randint(1, 3))
        elif draw.random() < 0.2:
            del changed[place:]
        elif draw.random() < 0.2:
            del changed[place : place + draw.randint(1, 3)]
        elif draw.random() < 0.2:
            changed += changed[place : place + draw.randint(1, 20)]
        else:
            place = min(place, len(changed) - 1)
            changed[place] ^= draw.choice([1, 2, 4, 8, 16, 32, 64, 128, 255])
    return bytes(changed)


def test_questions_that_are_broken(ready: tuple[Shelf, Python]) -> None:
    draw = random.Random(20261129)
    answered_of = 0
    for _ in range(BROKEN):
        data = plain(draw)
        assert check(ready, data)
        answered_of += check(ready, broken(draw, data))
    # Most are refused, and some are other questions.
    assert BROKEN // 50 < answered_of < BROKEN // 2


def test_fields_in_any_order(ready: tuple[Shelf, Python]) -> None:
    parts = [
        text(1, b"alice"),
        text(2, text(1, FEATURE)),
        number(3, 7),
        text(4, b"door"),
        number(5, zigzag(SECOND_NS)),
        number(6, zigzag(8 * SECOND_NS)),
        text(9, b"top"),
        text(13, b"none"),
        text(21, b"idf"),
        number(23, 1),
        number(25, 0),
        number(26, 0),
    ]
    draw = random.Random(7)
    for _ in range(100):
        draw.shuffle(parts)
        assert check(ready, b"".join(parts))


WITHOUT_PARTS = {"without_global_memory": True, "without_keyframes": True}
"""Together: alice lies ready with all parts of her clips, and without any."""
SAMPLES: dict[str, dict[str, Any]] = {
    "limit": {"limit": 7},
    "streams": {"streams": ["door"]},
    "start_ns": {"start_ns": SECOND_NS},
    "end_ns": {"end_ns": 5 * SECOND_NS},
    "as_of": {"as_of": types_pb2.AsOf(revision=1)},
    "min_score": {"min_score": 0.1},
    "policy": {"policy": "ixc-live"},
    "question_tokens": {"question_tokens": types_pb2.Matrix(rows=1, dim=DIM, f32=FEATURE)},
    "rerank": {"rerank": 3},
    "with_short_memory": {"with_short_memory": True},
    "fallback": {"fallback": "recent"},
    "space": {"space": "cam"},
    "min_revision": {"min_revision": 1},
    "min_relevance": {"min_relevance": 0.1},
    "calendar": {"calendar": pb.CalendarFilter(weekdays=[0])},
    "text": {"text": "a dog"},
    "explain": {"explain": True},
    "fusion": {"fusion": pb.Fusion(weights={"labels": 1.0})},
    "weighting": {"weighting": "uniform"},
    "with_coverage": {"with_coverage": True},
    "cursor": {"cursor": ""},
    "exact": {"exact": True},
    "without_global_memory": WITHOUT_PARTS,
    "without_keyframes": WITHOUT_PARTS,
    "labels": {"labels": [types_pb2.LabelFilter(key="zone", values=["porch"])]},
}
"""Of each field that a question may have beside who is asked and what, something other than its default."""
DEFAULTS: dict[str, Any] = {
    "limit": 4,
    "streams": None,
    "start_ns": None,
    "end_ns": None,
    "min_score": None,
    "policy": "top",
    "question_tokens": None,
    "rerank": 0,
    "with_short_memory": False,
    "raw_short_memory": True,
    "fallback": "none",
    "space": None,
}
"""Of what `checked_question` must be given."""
READ_BY_THE_EDGE = {
    *("limit", "streams", "start_ns", "end_ns", "exact"),
    *("without_global_memory", "without_keyframes"),
}
"""Fields of which `edge/src/question.cc` takes more than the default."""


def test_each_field_of_a_question_is_tried() -> None:
    assert {*SAMPLES, "user", "question_feature"} == set(pb.GroundRequest.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("field", SAMPLES)
def test_who_reads_less_reads_nothing_else(ready: tuple[Shelf, Python], field: str) -> None:
    """What is plain is told in three places: what the edge answers goes in one go in the engine, and what does so is
    plain where requests are read by hand."""
    shelf, _ = ready
    request = pb.GroundRequest(
        user="alice", question_feature=types_pb2.Vector(f32=FEATURE), **SAMPLES[field]
    )
    data = request.SerializeToString()
    assert (shelf.native.answer(data) is not None) == (field in READ_BY_THE_EDGE)
    asked = asked_question(request)
    assert (plain_question(data) is not None) == asked.is_plain
    if field in ("as_of", "cursor", "min_revision"):  # the engine has them beside the question
        assert not asked.is_plain
        return
    if field in ("rerank", "fusion"):  # refused where there are no tokens, and no words
        return
    options: dict[str, Any] = {**DEFAULTS, **asked.options}
    options["rerank"] = int(field == "question_tokens")
    fits = checked_question(asked.feature, **options).fits_one_go
    assert fits >= (field in READ_BY_THE_EDGE)
    assert asked.is_plain >= fits


def test_several_questions_that_are_broken(ready: tuple[Shelf, Python]) -> None:
    shelf, python = ready
    draw = random.Random(11)
    options = pb.GroundRequest(limit=3, streams=["door"], start_ns=SECOND_NS).SerializeToString()
    answered_of = 0
    for _ in range(BROKEN // 2):
        count = draw.choice([1, 2, 5])
        longer = draw.choice([0, 0, 0, 1, 4, 5])
        features = np.random.default_rng(count).standard_normal((count, DIM)).astype(np.float32)
        rows = number(1, count, longer) + number(2, DIM) + text(3, features.tobytes(), longer)
        data = text(1, b"alice") + text(2, rows, 0, longer) + text(3, options)
        for one in (data, broken(draw, data)):
            found = shelf.native.answer_many(one)
            assert found is None or found == answered(python.answer_many, one), one
            answered_of += found is not None
    assert answered_of > BROKEN // 3
