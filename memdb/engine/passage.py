"""What must not be written where what is before it was refused: writes of one stream that wait for no outcome.

Who has several writes of a stream in the queue of commits at once says of each what it is behind.  A write that has no
room while the next, which is smaller, has would leave a hole, and the ledger says to go on behind that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Passage:
    """One such write."""

    __slots__ = ("behind", "error", "reached")

    def __init__(self, behind: Sequence[Passage] = ()) -> None:
        """behind: those in the queue before it, or done."""
        self.behind = behind
        self.error: Exception | None = None
        """What refused it; set before anything behind it can be written."""
        self.reached: Mapping[tuple[str, int], int] = {}
        """`memdb.engine.lateness.Newest` for what is behind it; set before it is in the queue."""

    def refusal(self) -> Exception | None:
        """What refused something before it."""
        return next((before.error for before in self.behind if before.error is not None), None)

    def pass_on(self) -> None:
        """It was written: what was before it is nobody's concern any more."""
        self.behind = ()
