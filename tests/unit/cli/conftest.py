"""A directory for the commands that open one, and commands run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memdb.cli.main import main
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from tests.memory import folder_in_memory

CONFIG = EngineConfig(map_bytes_initial=1 << 20)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """(exit status, stdout, stderr)."""
    status = main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory."""
    with folder_in_memory() as made:
        yield made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A database with one value."""
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.user("alice").put("diet", "fish")
    return tmp_path / "data"
