"""What a command changes of the process that it runs in does not outlive the test that runs it in this one."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """``memdb serve`` sets up the log and the collector before it finds that it cannot serve, and puts nothing back."""
    root, asyncio = logging.getLogger(), logging.getLogger("asyncio")
    handlers, levels, thresholds = root.handlers[:], (root.level, asyncio.level), gc.get_threshold()
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    asyncio.setLevel(levels[1])
    gc.set_threshold(*thresholds)
