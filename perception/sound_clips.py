"""Where one clip of sound alone ends and the next begins.

A clip lasts 3 to 16 seconds, as one of pictures does (`perception.clips`), but for the last.  A stretch of speech
begins a new clip where the present one has at least 3 s, and either nobody spoke for a second before it, or it would
end beyond the clip's 16 s.  Where no such stretch comes, the clip ends after 16 s, which parts the sentence that runs
over it.

The decision depends on the present clip's start and on the stretches of speech, never on earlier clips: cutting can
begin anew at any clip's start.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from perception.sources.base import NS_PER_S

CLIP_MIN_NS: Final = 3 * NS_PER_S
CLIP_MAX_NS: Final = 16 * NS_PER_S
PAUSE_NS: Final = NS_PER_S
"""So long a silence parts what belongs together."""


class SoundCutter:
    """Applies the rule to one stream of sound; times are media time."""

    def __init__(self, start_ns: int) -> None:
        """start_ns: of the first clip to be cut."""
        self.start_ns = start_ns
        """Of the present clip."""
        self._speech: deque[tuple[int, int, bool]] = deque()
        """Start, end, and whether a pause came before; those that may yet begin a clip."""
        self._spoken_until_ns: int | None = None

    def spoken(self, start_ns: int, end_ns: int) -> None:
        """Take the next stretch of speech, also of before the first clip."""
        before, self._spoken_until_ns = self._spoken_until_ns, end_ns
        if start_ns > self.start_ns:
            is_after_pause = before is None or start_ns - before >= PAUSE_NS
            self._speech.append((start_ns, end_ns, is_after_pause))

    def ends(self, known_ns: int) -> list[int]:
        """Where the present clip ends, and those after it, as far as it can be told.

        known_ns: every stretch that begins before this was given.
        """
        found: list[int] = []
        while (end_ns := self._end(known_ns)) is not None:
            self.start_ns = end_ns
            while self._speech and self._speech[0][0] <= end_ns:
                self._speech.popleft()
            found.append(end_ns)
        return found

    def _end(self, known_ns: int) -> int | None:
        latest_ns = self.start_ns + CLIP_MAX_NS
        for start_ns, end_ns, is_after_pause in self._speech:
            if start_ns >= latest_ns:
                break
            if start_ns - self.start_ns >= CLIP_MIN_NS and (is_after_pause or end_ns > latest_ns):
                return start_ns
        return latest_ns if known_ns >= latest_ns else None
