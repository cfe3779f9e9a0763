"""Memory that is touched is free again afterwards."""

from __future__ import annotations

import psutil

from bench.touched import touch

SIZE = 64 << 20


def test_touched_memory_is_given_back() -> None:
    own = psutil.Process()
    touch(SIZE)
    before = own.memory_info().rss

    spent_us = touch(SIZE)

    assert spent_us > 0
    assert own.memory_info().rss < before + SIZE // 4
