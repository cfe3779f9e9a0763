"""Lines about how far a camera is."""

from __future__ import annotations

import pytest

from perception.camera import CameraReport
from perception.meter import PROGRESS_EVERY_S_MAX, QUIET_EVERY_S, Meter
from perception.sources.base import NS_PER_S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [0.0]
    monkeypatch.setattr("perception.meter.time.monotonic", lambda: now_s[0])
    return now_s


def test_a_line_before_the_first_clip_and_fewer_later(clock: list[float]) -> None:
    lines: list[tuple[float, str]] = []
    report = CameraReport("porch")
    meter = Meter(report, 0, 0.0, lambda line: lines.append((clock[0], line)))
    for second in range(301):
        clock[0] = float(second)
        report.progress.frames, report.progress.media_ns = second, second * NS_PER_S
        meter.show_sometimes()
    times = [at for at, _ in lines]
    assert times[:3] == [2.0, 4.0, 6.0]
    assert times[-1] - times[-2] == PROGRESS_EVERY_S_MAX
    assert "media     2.0 s" in lines[0][1]


def test_a_camera_that_shows_nothing_new_is_told_now_and_then(clock: list[float]) -> None:
    lines: list[tuple[float, str]] = []
    report = CameraReport("porch")
    meter = Meter(report, 0, 0.0, lambda line: lines.append((clock[0], line)))
    report.progress.frames = 1
    while clock[0] < 2 + 2 * QUIET_EVERY_S:
        clock[0] += 0.5
        meter.show_sometimes()
    assert [at for at, _ in lines] == [2.0, 62.0, 122.0]
    assert lines[1][1].endswith("nothing new for 60 s")
