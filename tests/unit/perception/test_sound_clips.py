"""The rule by which sound is cut into clips."""

from __future__ import annotations

from collections.abc import Iterable

from perception.sound_clips import SoundCutter
from perception.sources.base import NS_PER_S

Stretches = Iterable[tuple[float, float]]


def cut(stretches: Stretches, until_s: float, start_s: float = 0.0) -> list[float]:
    """Where clips end, in seconds, when each stretch is told as soon as it has ended."""
    cutter = SoundCutter(_ns(start_s))
    found: list[int] = []
    for begin_s, end_s in stretches:
        found += cutter.ends(_ns(begin_s))
        cutter.spoken(_ns(begin_s), _ns(end_s))
    return [end / NS_PER_S for end in [*found, *cutter.ends(_ns(until_s))]]


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)


def test_silence_is_cut_after_sixteen_seconds() -> None:
    assert cut([], 50) == [16, 32, 48]


def test_speech_after_a_pause_begins_a_clip() -> None:
    assert cut([(5, 6), (6.5, 8), (9, 10)], 20) == [5, 9]


def test_no_clip_is_shorter_than_three_seconds() -> None:
    assert cut([(2.9, 3.5), (7, 8), (9.9, 10)], 20) == [7]


def test_a_sentence_is_whole_where_it_fits() -> None:
    talk = [(0, 6), (6.5, 12), (12.5, 17)]
    assert cut(talk, 28) == [12.5]


def test_one_that_does_not_fit_is_parted() -> None:
    assert cut([(2, 17), (17.2, 18)], 31) == [16]


def test_what_may_still_be_said_is_waited_for() -> None:
    cutter = SoundCutter(0)
    cutter.spoken(_ns(0), _ns(6))
    # Somebody speaks since 8 s.
    assert cutter.ends(_ns(8)) == []
    cutter.spoken(_ns(8), _ns(17))
    assert cutter.ends(_ns(17)) == [_ns(8)]


def test_cutting_goes_on_at_any_clip() -> None:
    talk = [(1, 4), (4.5, 9), (9.2, 14), (14.3, 20), (23, 31), (31.2, 45), (45.9, 47), (60, 61)]
    whole = cut(talk, 80)
    assert len(whole) > 5
    for number, end_s in enumerate(whole):
        assert cut(talk, 80, end_s) == whole[number + 1 :]
