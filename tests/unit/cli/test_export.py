"""``memdb export`` and ``memdb import``: output, exit status, and what is said without the extra."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from memdb.cli.main import main
from memdb.engine.database import EmbeddedDatabase
from tests.unit.cli.conftest import CONFIG
from tests.unit.engine.conftest import clip


def test_out_and_in_again(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")
    export = str(tmp_path / "export")
    assert main(["export", str(data), "--user", "alice", "--to", export]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == 1
    assert main(["import", export, str(data), "--user", "bob"]) == 0
    assert json.loads(capsys.readouterr().out)["values_written"] == 1
    with EmbeddedDatabase(data, config=CONFIG) as db:
        assert db.user("bob").get("diet") == "fish"
    assert main(["import", export, str(tmp_path / "new")]) == 1
    told = capsys.readouterr().err
    assert "NOT_A_DATABASE" in told
    assert "`memdb serve --data DIR` makes one" in told
    assert main(["import", str(tmp_path / "nothing"), str(data)]) == 1
    assert "NOT_AN_EXPORT" in capsys.readouterr().err


def test_a_plain_directory_becomes_an_encrypted_one_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By what an export carries; there is no other way."""
    pytest.importorskip("pyarrow", reason="the extra memdb[export] is not installed")
    key = tmp_path / "master.key"
    key.touch(mode=0o600)
    key.write_bytes(b"m" * 32)
    configs = {
        "plain": CONFIG,
        "encrypted": replace(CONFIG, master_key_file=str(key)),
        "again": CONFIG,
    }
    with EmbeddedDatabase(tmp_path / "plain", config=CONFIG) as db:
        db.create_space("cam", dim=8)
        user = db.user("alice")
        user.put("diet", "fish")
        user.stream("door", space="cam").write_many([clip(seq) for seq in range(5)])
    for source, target in (("plain", "encrypted"), ("encrypted", "again")):
        export = str(tmp_path / f"export-of-{source}")
        options = {
            name: ["--master-key-file", str(key)] if config.master_key_file else []
            for name, config in configs.items()
        }
        arguments = ["--user", "alice", "--to", export]
        assert main(["export", str(tmp_path / source), *arguments, *options[source]]) == 0
        EmbeddedDatabase(tmp_path / target, config=configs[target]).close()
        assert main(["import", export, str(tmp_path / target), *options[target]]) == 0
    capsys.readouterr()
    found = {}
    for name, config in configs.items():
        with EmbeddedDatabase(tmp_path / name, config=config) as db:
            assert db.verify().ok
            found[name] = [db.user("alice").get("diet")] + [
                (one.seq, one.start_ns, one.global_memory.tobytes())
                for one in db.user("alice").clips()
            ]
    assert len(found["plain"]) == 6
    assert found["plain"] == found["encrypted"] == found["again"]


def test_without_the_extra_the_command_says_what_is_missing(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("memdb.portable")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(data), "--user", "alice", "--to", "x"]) == 1
    assert "memdb[export]" in capsys.readouterr().err
