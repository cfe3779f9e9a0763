"""Hypothesis profiles (``MEMDB_HYPOTHESIS_PROFILE`` = fast, slow or full) and a directory in memory.

``MEMDB_SEQUENCES``: sequences of the engine's state machines in the profile full (default 10,000), of some 50
steps each: nine tenths in this process, a twentieth encrypted, a twentieth over gRPC; beside them three twentieths as
many of answers that lie ready.  ``MEMDB_CRASH_PART``: a part of
them (`tests.crash.part`).
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.crash.part import PART

COMMON = settings(
    deadline=None,  # one core may be busy with another suite
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("fast", COMMON, max_examples=60, stateful_step_count=30)
settings.register_profile("slow", COMMON, max_examples=2000, stateful_step_count=60)
SEQUENCES = int(os.environ.get("MEMDB_SEQUENCES", "10000"))
settings.register_profile("full", COMMON, max_examples=SEQUENCES, stateful_step_count=60)
"""Hypothesis varies what it drew by putting a part of a sequence in the place of another, its end too: a quarter are
shorter, and 60 steps at most are some 50 of each."""
PROFILE = os.environ.get("MEMDB_HYPOTHESIS_PROFILE", "fast")
settings.load_profile(PROFILE)

MACHINE_TIMEOUT_S = 4 * 3600 if PROFILE == "full" else 300
MEMORY = Path("/dev/shm")

lived: Counter[str] = Counter()
"""Sequences and steps of each state machine, in this process."""


def machine_settings(twentieths: int) -> settings:
    """For a state machine that lives through so many twentieths of the sequences of the profile."""
    current = settings()
    return settings(
        max_examples=max(10, PART.share(current.max_examples * twentieths // 20)),
        stateful_step_count=current.stateful_step_count,
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Say how to draw the same cases again."""
    seed = config.getoption("hypothesis_seed", None)
    if seed is None:
        seed = random.SystemRandom().randrange(2**32)
        config.option.hypothesis_seed = str(seed)
    return f"hypothesis: profile {PROFILE}, seed {seed} (again: --hypothesis-seed={seed})"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the state machines lived through."""
    if lived:
        terminalreporter.section("state machines")
        for what, count in sorted(lived.items()):
            terminalreporter.write_line(f"{what}: {count}")


def memory_folder() -> Path:
    """A new folder on a memory file system where there is one: these tests wait for no disk."""
    return Path(tempfile.mkdtemp(prefix="memdb-", dir=MEMORY if MEMORY.is_dir() else None))


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder, removed at the end."""
    made = memory_folder()
    yield made
    shutil.rmtree(made)
