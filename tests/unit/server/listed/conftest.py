"""A user with lists, and a shelf on which it lies ready."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memdb.engine.database import EmbeddedDatabase
from memdb.index.kernel import inner_products_address
from tests.unit.engine.test_kept_lists import CONFIG, INDEX, ROWS, make_lists, opened, small, write
from tests.unit.index.test_indexed import structured

if TYPE_CHECKING:
    from memdb.server.shelf import Shelf


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database whose user has lists: made once, for it takes seconds."""
    data = tmp_path_factory.mktemp("listed") / "data"
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        with opened(data) as db:
            db.create_space("s", dim=structured(1, 0).shape[1])
            write(db, structured(ROWS, 1), 0)
            make_lists(db)
        yield data


@pytest.fixture
def db(listed: Path, tmp_path: Path) -> Iterator[EmbeddedDatabase]:
    shutil.copytree(listed, tmp_path / "data")
    with EmbeddedDatabase(
        tmp_path / "data", config=CONFIG, index=INDEX, embed_texts=False
    ) as opened:
        # What is due is done by the tests, where they say so.
        opened._users._upkeep.close()
        yield opened


@pytest.fixture
def shelf(db: EmbeddedDatabase) -> Shelf:
    # Not above: tests without the native edge are passed over by themselves.
    from memdb.server.shelf import Shelf
    from tests.unit.server.listed.asking import lay_ready, partition_of

    address = inner_products_address()
    assert address is not None
    made = Shelf(db, address)
    partition_of(db)  # only who is open is laid ready
    lay_ready(db, made)
    return made
