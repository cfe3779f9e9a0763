"""What the bench says of processor time."""

from __future__ import annotations

import os

from bench.server import processor_s


def test_a_millisecond_of_a_process_is_seen() -> None:
    """In steps of ten milliseconds, which is what /proc says, a short turn took none at all."""
    spent = []
    for _ in range(20):
        begin = processor_s(os.getpid())
        sum(range(20_000))
        spent.append(processor_s(os.getpid()) - begin)
    assert min(spent) > 0
