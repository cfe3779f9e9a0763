"""One server for a module, and a look at it around each test: a refused call changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.serving import DIM, Served, clip, serving


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("malformed") / "db") as running:
        database = running.database
        database.create_space("p", dim=DIM)
        database.create_space("other", dim=DIM + 1)
        user = database.user("u")
        user.stream("cam", space="p").write(clip(0))
        user.configure(text_space="p")
        user.remember("the mug is blue", key="mug")
        database.user("stranger").stream("cam", space="p").write(clip(0))
        yield running


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    before = state(shared)
    yield shared
    assert state(shared) == before


def state(served: Served) -> Any:
    """What a refused call must not change."""
    users = served.database.users()
    return (
        users,
        [served.database.user(name).revision() for name in users],
        served.database.spaces(),
    )
