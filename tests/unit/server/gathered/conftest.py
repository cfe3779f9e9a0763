"""A bench for what several streams have ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memdb.engine.database import EmbeddedDatabase
from tests.unit.server.gathered.bench import DIM, Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    with EmbeddedDatabase(tmp_path / "db") as database:
        database.create_space("p", dim=DIM)
        made = Bench(database)
        yield made
        await asyncio.to_thread(made.resources.pools.shutdown)
