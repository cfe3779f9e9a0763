"""Bytes (or calls, or threads) that many may take of one amount, so that nobody takes what is left for others.

Of what an owner takes the first lot is let in while there is room at all; more only while the owner has at most
`SHARE` times what is then left.  So one alone may take three quarters, two that take all they can three
sevenths each, and whoever comes next still finds room: without an amount set aside for each, or a count of who
there is.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

SHARE: Final = 3


class Shares:
    """What owners hold of ``bytes_max``; what is nobody's ("") has no share but the whole."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held: defaultdict[str, int] = defaultdict(int)
        self.total = 0

    def fits(self, owner: str, size: int) -> bool:
        """Whether the owner may take so much more."""
        left = self._bytes_max - self.total - size
        if left < 0:
            return False
        held = self._held.get(owner, 0) if owner else 0
        return not held or held + size <= SHARE * left

    def take(self, owner: str, size: int) -> None:
        """It is the owner's, whether or not it fits."""
        self.total += size
        self._held[owner] += size

    def give(self, owner: str, size: int) -> None:
        """It is nobody's any more."""
        self.total -= size
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]
