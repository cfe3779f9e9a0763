"""Processes that were forked in the middle of a call.

gRPC makes itself ready for a fork by itself, but not while another thread is in the middle of a call: what the child
has then are locks that nobody gives back, and whatever it asks, over an old connection or a new one, may wait for
ever, whatever its deadline.  So such a child is told at once; what gRPC does in it by itself, which may end it, nobody
can mend.
"""

from __future__ import annotations

import os
import sys
import threading
from types import FrameType
from typing import Final

from memdb.errors import FailedPrecondition

_CALLS: Final = "grpc/_channel.py"
_CALL: Final = "_blocking"
"""The function in which a thread is that waits for the answer to a call."""


class _Forks:
    """What is known of the forks of this process."""

    def __init__(self) -> None:
        self.is_calling = False
        self.is_broken = False

    def before(self) -> None:
        """Note whether another thread makes a call."""
        mine = threading.get_ident()
        self.is_calling = any(
            _makes_call(frame) for thread, frame in sys._current_frames().items() if thread != mine
        )

    def in_child(self) -> None:
        """This process is the child."""
        self.is_broken = self.is_broken or self.is_calling


_forks: Final = _Forks()
os.register_at_fork(before=_forks.before, after_in_child=_forks.in_child)


def check_fork() -> None:
    """Raise `FailedPrecondition` (``FORKED``) in a process that cannot make calls."""
    if _forks.is_broken:
        raise FailedPrecondition(
            "this process was forked while another thread made a call, which gRPC does not survive: "
            "start processes by spawn or forkserver",
            reason="FORKED",
            value=os.getpid(),
        )


def _makes_call(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code.co_name == _CALL and code.co_filename.endswith(_CALLS):
            return True
        frame = frame.f_back
    return False
