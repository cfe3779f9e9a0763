"""A no in words."""

from __future__ import annotations

from datetime import UTC, datetime

from memdb import Gap, Grounding, StreamCoverage
from reasoner.abstention import describe_abstention

HOUR_NS = 3600 * 10**9
DAY_NS = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 10**9


def stretch(start: int, end: int) -> tuple[int, int]:
    return DAY_NS + start * HOUR_NS, DAY_NS + end * HOUR_NS


def camera(name: str, *stretches: tuple[int, int], zone: str = "UTC") -> StreamCoverage:
    hours = sum(end - start for start, end in stretches)
    listed = tuple(stretch(start, end) for start, end in stretches)
    return StreamCoverage(name, 10 * hours, zone, listed[0][0], listed[-1][1], hours, listed)


def no(*coverage: StreamCoverage, gaps: tuple[Gap, ...] = ()) -> str:
    return describe_abstention(Grounding((), 3, gaps=gaps, coverage=coverage, abstained=True))


def test_cameras_hours_and_gaps() -> None:
    gaps = (Gap("porch", 0, 5, 8), Gap("porch", 1, 2, 2), Gap("study", 0, 1, 1))

    assert no(camera("porch", (9, 17), (19, 20)), StreamCoverage("study", 0), gaps=gaps) == (
        "Nothing like that was seen; cameras and hours covered: porch 2026-01-05 09:00–17:00, 19:00–20:00"
        " (9 h, 90 clips); no clips of study; gaps: porch 5 clips, study 1 clips."
    )


def test_gaps_that_an_answer_does_not_name_are_counted() -> None:
    answer = Grounding((), 3, gaps=(Gap("porch", 0, 5, 8),), abstained=True, gaps_left_out=71_000)

    assert describe_abstention(answer).endswith("gaps: porch 4 clips, and 71000 more.")


def test_days_and_midnight_by_the_clock_of_the_camera() -> None:
    assert "porch 2026-01-05 20:00–24:00 (4 h" in no(camera("porch", (20, 24)))
    assert "porch 2026-01-05 20:00–2026-01-06 02:00, 2026-01-06 05:00–06:00 (7 h" in no(
        camera("porch", (20, 26), (29, 30))
    )
    assert "door 2026-01-06 01:30–02:30 Asia/Kolkata (1 h" in no(
        camera("door", (20, 21), zone="Asia/Kolkata")
    )
    # Known to the server alone.
    assert "door 2026-01-05 20:00–21:00 (1 h" in no(camera("door", (20, 21), zone="Mars/Olympus"))
    kolkata = camera("door", (20, 21), zone="Asia/Kolkata")
    nothing = Grounding((), 3, coverage=(kolkata,), abstained=True)
    assert "door 2026-01-05 21:00–22:00 Europe/Berlin (1 h" in (
        describe_abstention(nothing, "Europe/Berlin")
    )


def test_much_is_told_in_short() -> None:
    stretches = [(2 * hour, 2 * hour + 1) for hour in range(9)]
    many = [camera(f"c{number}", *stretches) for number in range(11)]

    text = no(*many)

    assert (
        "c0 …, 2026-01-05 10:00–11:00, 12:00–13:00, 14:00–15:00, 16:00–17:00 (9 h, 90 clips)"
        in text
    )
    assert "3 more cameras (27 h)" in text
    assert "c8" not in text


def test_nothing_at_all() -> None:
    assert no() == "Nothing like that was seen; cameras and hours covered: none; gaps: none."
