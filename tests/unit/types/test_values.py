"""Values at the door: ids, times, arrays, each refused with its field and reason."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from memdb import InvalidArgument
from memdb.types.arrays import as_tokens, as_vector, is_finite
from memdb.types.ids import check_id
from memdb.types.limits import DIM_MAX, TIME_NS_MAX, TOKENS_MAX
from memdb.types.times import as_ns, as_text


@pytest.mark.parametrize("text", ["a", "A9", "front-door", "x_y.z-0", "0", "a" * 63])
def test_an_id(text: str) -> None:
    assert check_id(text, "user") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " a",
        "a ",
        ".",
        "..",
        "-a",
        "_a",
        "a/b",
        "a\\b",
        "a\x00",
        "a\n",
        "ä",
        "a" * 64,
        "%2e",
        None,
        7,
    ],
)
def test_no_id(text: object) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_id(text, "user")
    assert (refused.value.reason, refused.value.field) == ("BAD_ID", "user")


def test_times_are_exact_to_what_a_datetime_holds() -> None:
    moment = datetime(2026, 11, 23, 12, 0, 0, 123457, tzinfo=timezone(timedelta(hours=5)))
    assert as_ns(moment, "t") == 1_795_417_200_123_457_000
    assert as_ns(moment.astimezone(UTC), "t") == as_ns(moment, "t")
    assert as_ns(np.int64(5), "t") == 5  # type: ignore[arg-type]  # taken all the same
    assert as_text(1_795_417_200_123_457_000) == "2026-11-23T07:00:00.123Z"


@pytest.mark.parametrize(
    "time",
    [
        datetime(2026, 1, 1),  # noqa: DTZ001
        datetime(9999, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=14))),
        1.5,
        True,
        "now",
        None,
        TIME_NS_MAX + 1,
        pytest.param(10**5000, id="huge"),
    ],
)
def test_no_time(time: object) -> None:
    with pytest.raises(InvalidArgument) as refused:
        as_ns(time, "start_ns")  # type: ignore[arg-type]
    assert (refused.value.reason, refused.value.field) == ("TIME_RANGE", "start_ns")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.zeros((2, 3), np.float32), "BAD_SHAPE"),
        (np.zeros(0, np.float32), "EMPTY"),
        (np.zeros(DIM_MAX + 1, np.float32), "BAD_SHAPE"),
        (np.zeros(3, np.float64), "BAD_DTYPE"),
        (np.zeros(3, np.int8), "BAD_DTYPE"),
        (np.array([None, 1], object), "BAD_DTYPE"),
        (np.zeros(3, ">f4"), "BAD_DTYPE"),
        (np.array([1, np.nan], np.float32), "NOT_FINITE"),
        (np.array([1, np.inf], np.float16), "NOT_FINITE"),
        (np.array([-np.inf, 1], np.float16), "NOT_FINITE"),
        (np.array([np.nan, -1], np.float16), "NOT_FINITE"),
        (["a"], "BAD_DTYPE"),
        (["1"], "BAD_DTYPE"),
        ([True], "BAD_DTYPE"),
        ([10**400], "BAD_DTYPE"),
        ([[1], [2, 3]], "BAD_DTYPE"),
        ([1e300], "NOT_FINITE"),
        (np.ma.masked_array(np.zeros(3, np.float32), mask=[True, False, False]), "BAD_DTYPE"),
        (np.float32(3), "BAD_DTYPE"),
        ("vector", "BAD_DTYPE"),
        (None, "BAD_DTYPE"),
    ],
)
def test_no_vector(value: object, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        as_vector(value, "clip.global_memory")
    assert (refused.value.reason, refused.value.field) == (reason, "clip.global_memory")


@pytest.mark.parametrize("size", [1, 4096, 4097])
def test_float32_near_to_infinity_is_finite_and_what_is_not_is_refused(size: int) -> None:
    largest = float(np.finfo(np.float32).max)
    for at in {0, size // 2, size - 1}:
        array = np.full(size, 0.5, np.float32)
        for number in (largest, -largest, 2.0**127, -(2.0**126), 0.0, -0.0, 1e-45):
            array[at] = number
            assert is_finite(array)
            assert np.array_equal(as_vector(array, "v"), array)
        for number in (np.inf, -np.inf, np.nan, -np.nan):
            array[at] = number
            assert not is_finite(array)
            with pytest.raises(InvalidArgument, match="NaN or infinite"):
                as_vector(array, "v")


def test_rows_that_are_not_contiguous_become_so() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    column = rows[:, 1]
    made = as_vector(column, "v")
    rows[:] = 0
    assert made.tolist() == [1.0, 5.0, 9.0]
    assert made.flags.c_contiguous
    assert not made.flags.writeable
    kept = np.frombuffer(bytes(16) * 2, np.float32)[::2]
    assert as_vector(kept, "v").flags.c_contiguous


def test_every_float16_is_judged_as_numpy_judges_it() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    assert [is_finite(every[i : i + 1]) for i in range(0, 1 << 16, 7)] == np.isfinite(
        every[::7]
    ).tolist()
    assert is_finite(every[np.isfinite(every)])


@pytest.mark.parametrize("size", [7, 4096, 4097])  # the last of few, and the first of many
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_one_element_among_finite_ones_is_found(size: int, bad: float) -> None:
    array = np.full((2, size), -np.finfo(np.float16).max, np.float16)
    assert is_finite(array[0])
    assert is_finite(array.T[:, 0])
    for at in (0, size // 2, size - 1):
        array[0, at] = bad
        assert not is_finite(array[0])
        assert not is_finite(array.T[:, 0])
        array[0, at] = 1.0


def test_accepted_arrays_are_read_only_and_contiguous() -> None:
    vector = as_vector([1, 2, 3], "v")
    assert (vector.dtype.name, vector.flags.writeable) == ("float32", False)
    tokens = as_tokens(np.zeros((4, 8), np.float16)[:, ::2], "t")
    assert (tokens.shape, tokens.flags.c_contiguous) == ((4, 4), True)
    assert as_vector(np.zeros((1, 4), np.float32), "v").shape == (4,)
    with pytest.raises(InvalidArgument):
        as_tokens(np.zeros((TOKENS_MAX + 1, 1), np.float16), "t")


def test_what_the_owner_can_still_write_is_copied() -> None:
    owned = np.ones(4, np.float32)
    seen = owned.view()
    seen.flags.writeable = False
    shared = bytearray(np.ones(4, np.float32).tobytes())
    for given in (owned, seen, np.frombuffer(shared, np.float32)):
        taken = as_vector(given, "v")
        assert not np.shares_memory(taken, given)
        assert not taken.flags.writeable


def test_what_nobody_can_write_is_not_copied() -> None:
    frozen = np.ones(4, np.float32)
    frozen.flags.writeable = False
    received = np.frombuffer(bytes(16), np.float32)
    for given in (frozen, frozen[:2], received, as_vector(np.ones(4, np.float32), "v")):
        assert np.shares_memory(as_vector(given, "v"), given)


def test_an_array_is_checked_without_the_module_of_masked_ones() -> None:
    """It takes 10 ms of a process's first question, and of the first answer of a server."""
    look = (
        "import sys; import numpy as np; from memdb.types.arrays import as_vector; "
        "as_vector(np.ones(4, np.float32), 'v'); as_vector([1.0], 'v'); assert 'numpy.ma' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", look], check=True)
