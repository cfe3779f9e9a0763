"""Arguments at the door: odd ones are refused with a typed error, and never read beyond need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from memdb import InvalidArgument
from memdb.errors import VALUE_TEXT_MAX, quote
from memdb.types import arguments
from memdb.types.arrays import as_vector
from memdb.types.checks import check_flag, check_many, check_number
from memdb.types.clip import Clip, Keyframe, SoundEvent, Utterance
from memdb.types.json_value import value_from_json, value_to_json
from memdb.types.limits import VALUE_BYTES_MAX
from memdb.types.operation import WriteClip, payload_bytes
from memdb.types.word_question import checked_word_question

HUGE = 10**5000


class Mute:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(HUGE, id="huge"),
        (HUGE,),
        Mute(),
        {Mute(): 1},
        "\ud800",
        b"\xff",
        pytest.param("x" * 10**6, id="long"),
        [0] * 10**5,
        None,
    ],
)
def test_an_error_can_quote_anything(value: object) -> None:
    text = quote(value)
    assert len(text) <= VALUE_TEXT_MAX
    assert text.isprintable()
    assert str(InvalidArgument("no", field="f", value=value))


def test_a_list_is_read_no_further_than_needed() -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "a"

    with pytest.raises(InvalidArgument) as refused:
        check_many(endless(), str, "about", 64)
    assert (refused.value.reason, refused.value.value) == ("TOO_LARGE", "65")
    assert taken == 65


@pytest.mark.parametrize("values", [None, 5, "text", b"bytes", np.array(3)])
def test_no_list(values: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_many(values, str, "about", 64)
    assert (refused.value.reason, refused.value.field) == ("BAD_TYPE", "about")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(10**400, id="big"),
        pytest.param(-(10**400), id="small"),
        pytest.param(HUGE, id="huge"),
        float("nan"),
        float("inf"),
        True,
        "1",
    ],
)
def test_no_number(number: object) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_number(number, "score")
    assert (refused.value.reason, refused.value.field) == ("OUT_OF_RANGE", "score")


def test_numbers_of_numpy_are_numbers() -> None:
    assert check_number(np.float32(0.5), "score", 0.0, 1.0) == 0.5
    assert type(check_number(np.int8(1), "score")) is float
    assert check_flag(np.bool_(True), "follow") is True
    with pytest.raises(InvalidArgument):
        check_number(0, "ratio", 0.0, 1.0, above=True)


def test_a_lease_lasts_at_least_a_millisecond() -> None:
    assert arguments.checked_ttl_s(0.001) == 0.001
    for ttl_s in (1e-12, 0, -1):
        with pytest.raises(InvalidArgument):
            arguments.checked_ttl_s(ttl_s)


@pytest.mark.parametrize("value", [{1: 2}, {"a": [{"b": {None: 1}}]}, [({True: 1},)]])
def test_keys_that_json_would_turn_into_text_are_refused(value: object) -> None:
    with pytest.raises(InvalidArgument) as refused:
        value_to_json(value)
    assert (refused.value.reason, refused.value.field) == ("BAD_VALUE", "value")


def test_a_value_has_its_limit_as_text() -> None:
    assert value_from_json(value_to_json("x" * (VALUE_BYTES_MAX - 2))) == "x" * (
        VALUE_BYTES_MAX - 2
    )
    with pytest.raises(InvalidArgument) as refused:
        value_from_json(json.dumps("x" * VALUE_BYTES_MAX))
    assert refused.value.reason == "TOO_LARGE"


def test_a_commit_counts_all_that_a_clip_carries() -> None:
    clip = Clip(
        seq=0,
        start_ns=0,
        end_ns=1,
        global_memory=np.ones(8, np.float32),
        transcript=(Utterance(0, 1, "é" * 1000, speaker="s"),),
        transcript_features=np.ones((1, 100), np.float32),
        events=(SoundEvent(0, 1, "bark", 0.5),),
        keyframes=(Keyframe(0, b"jpeg"),),
        labels={"zone": "porch"},
    )
    carried = 32 + 2001 + 400 + 4 + 4 + 9
    assert payload_bytes(WriteClip("s", None, clip, None, b"")) == carried + 1024


def test_bounds_are_told_in_digits() -> None:
    with pytest.raises(InvalidArgument, match=r"from 0\.001 to 2592000 "):
        check_number(-1, "ttl_s", 0.001, 30 * 86_400)


def test_words_where_a_feature_is_wanted_are_told_where_they_go() -> None:
    with pytest.raises(InvalidArgument, match="in words is asked by text=") as refused:
        checked_word_question(None, None, None, "top", "where is the parcel?")
    assert (refused.value.reason, refused.value.field) == ("BAD_DTYPE", "question_feature")


def test_doubles_are_told_what_to_make_of_them() -> None:
    with pytest.raises(InvalidArgument, match=r"\.astype\(numpy\.float32\)"):
        as_vector(np.zeros(3), "question_feature")
