"""`[engine] durability` is what the environment that is really open does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb
from memdb.config import EngineConfig, load_config
from memdb.errors import InvalidArgument
from memdb.store.creation import create_environment
from memdb.store.schema import CATALOG_TABLES


@pytest.mark.parametrize(
    ("durability", "metasync"), [("durable", True), ("relaxed", False)], ids=["durable", "relaxed"]
)
def test_the_flags_of_the_open_environment(tmp_path: Path, durability: str, metasync: bool) -> None:
    config = EngineConfig(durability=durability, map_bytes_initial=1 << 20)
    environment = create_environment(tmp_path / "e", CATALOG_TABLES, config, lambda txn: None)
    flags = environment._mapped.env.flags()
    environment.close()
    assert flags["metasync"] is metasync
    # Whatever the level: data pages are synced before a commit returns, and never written in place.
    assert flags["sync"] is True
    assert flags["writemap"] is False
    assert flags["map_async"] is False


def test_durable_is_the_default() -> None:
    assert EngineConfig().durability == "durable"


@pytest.mark.parametrize("name", ["none", "", "Durable", "nosync"])
def test_another_level_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load_config(None, {"MEMDB_ENGINE__DURABILITY": name})
    assert (caught.value.field, caught.value.reason) == ("engine.durability", "BAD_CONFIG")


@pytest.mark.parametrize("level", [np.ones(2), ["durable"], None, b"durable"])
def test_what_is_no_text_is_no_level(tmp_path: Path, level: Any) -> None:
    """An array is not compared with a name: that has no truth value."""
    with pytest.raises(InvalidArgument) as caught:
        memdb.open(tmp_path / "a", durability=level)
    assert (caught.value.reason, caught.value.field) == ("BAD_CONFIG", "engine.durability")
    assert not (tmp_path / "a").exists()


def test_an_embedded_program_names_its_level(tmp_path: Path) -> None:
    with memdb.open(tmp_path / "a") as db, memdb.open(tmp_path / "b", durability="relaxed") as fast:
        for opened, metasync in ((db, True), (fast, False)):
            opened.user("alice").put("n", 1)
            with opened._users.use("alice") as memory:
                assert memory.environment._mapped.env.flags()["metasync"] is metasync
    with pytest.raises(InvalidArgument) as caught:
        memdb.open(tmp_path / "c", durability="sometimes")
    assert caught.value.reason == "BAD_CONFIG"
    assert not (tmp_path / "c").exists()
