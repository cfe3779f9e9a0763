"""The progress line of one camera."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from perception.camera import CameraReport
from perception.sources.base import NS_PER_S

PROGRESS_EVERY_S: Final = 2.0
PROGRESS_EVERY_S_MAX: Final = 10.0
"""A camera runs for months, and its log is kept."""
QUIET_EVERY_S: Final = 60.0
"""Between two lines while nothing is new."""
_WALL_S_MIN: Final = 1e-6
"""Rates are of no shorter time."""


class Meter:
    """Tells how far an epoch has come; from one thread at a time."""

    def __init__(
        self,
        report: CameraReport,
        from_ns: int,
        started_s: float,
        report_line: Callable[[str], None],
    ) -> None:
        """from_ns: media time at which the epoch began to be read.  started_s: when, of `time.monotonic`."""
        self._report = report
        self._from_ns = from_ns
        self._started_s = started_s
        self._report_line = report_line
        self._shown_s = self._changed_s = started_s
        self._told = (0, 0, 0, 0)

    def show_sometimes(self) -> None:
        """A line where the last is old enough, and where it would say the same, so that one sees that it does."""
        now_s, progress = time.monotonic(), self._report.progress
        every_s = min(max(PROGRESS_EVERY_S, (now_s - self._started_s) / 10), PROGRESS_EVERY_S_MAX)
        if now_s - self._shown_s < every_s:
            return
        news = (progress.frames, progress.media_ns, progress.clips, progress.acks)
        if news != self._told:
            self._told, self._changed_s = news, now_s
            self.show()
        elif now_s - self._shown_s >= QUIET_EVERY_S:
            self.show(f"  nothing new for {now_s - self._changed_s:.0f} s")

    def show(self, more: str = "") -> None:
        """A line now, with ``more`` at its end."""
        self._shown_s = time.monotonic()
        report, progress = self._report, self._report.progress
        wall_s = max(self._shown_s - self._started_s, _WALL_S_MIN)
        media_s = progress.media_ns / NS_PER_S
        played_s = max(0.0, (progress.media_ns - self._from_ns) / NS_PER_S)
        line = (
            f"{report.camera:16} clips {progress.clips:4}  acked {progress.acks:4}  "
            f"media {media_s:7.1f} s  {played_s / wall_s:5.1f}x  "
            f"{progress.frames / wall_s:5.1f} frames/s  utterances {progress.utterances:3}"
        )
        if progress.damaged:
            line += f"  damaged {progress.damaged}"
        if progress.left_out:
            line += f"  left out {progress.left_out}"
        if report.error is not None:
            line += f"  FAILED {report.error}"
        self._report_line(line + more)
