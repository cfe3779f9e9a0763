"""``memdb export`` and ``memdb import``: output, exit status, and what is said without the extra."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from memdb.cli.main import main
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase

CONFIG = EngineConfig(map_bytes_initial=1 << 20)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A database with one value."""
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.user("alice").put("diet", "fish")
    return tmp_path / "data"


def test_out_and_in_again(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")
    export = str(tmp_path / "export")
    assert main(["export", str(data), "--user", "alice", "--to", export]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == 1
    assert main(["import", export, str(data), "--user", "bob"]) == 0
    assert json.loads(capsys.readouterr().out)["values_written"] == 1
    with EmbeddedDatabase(data, config=CONFIG) as db:
        assert db.user("bob").get("diet") == "fish"
    assert main(["import", str(tmp_path / "nothing"), str(data)]) == 1
    assert "NOT_AN_EXPORT" in capsys.readouterr().err


def test_without_the_extra_the_command_says_what_is_missing(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("memdb.portable")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(data), "--user", "alice", "--to", "x"]) == 1
    assert "memdb[export]" in capsys.readouterr().err
