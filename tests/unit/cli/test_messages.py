"""What a command says at a prompt when it cannot do what was asked, and its exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import memdb
import perception.cli
import perception.import_ixc
import reasoner.cli
from memdb import Clip
from memdb.cli import source
from memdb.cli.main import main
from memdb.engine.database import EmbeddedDatabase
from tests.congruence.server import ServerThread
from tests.unit.cli.conftest import CONFIG, run

NOBODY = "127.0.0.1:1"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A database with clips 1 and 4 of a stream, from noon of 2026-01-05 on."""
    noon = 1_767_614_400 * 10**9
    feature = np.ones(2, np.float32)
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.create_space("s", dim=2)
        stream = db.user("alice").stream("porch", space="s")
        for seq in (1, 4):
            start = noon + seq * 10**9
            stream.write(Clip(seq=seq, start_ns=start, end_ns=start + 10**9, global_memory=feature))
    return tmp_path / "data"


@pytest.mark.parametrize(
    "command",
    [
        ("serve",),
        ("gaps", "--user", "alice"),
        ("gaps", "here", "--data", "there", "--user", "alice"),
        ("backup", "--to", "archive"),
        ("backup", "here", "--server", NOBODY, "--to", "archive"),
    ],
)
def test_a_command_line_that_is_wrong_gives_status_2_and_one_line(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, told = run(capsys, *command)
    assert (status, out, told.count("\n")) == (2, "", 1)
    assert "BAD_USAGE" in told


def test_a_server_that_does_not_answer_is_named_soon(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "ANSWER_S", 0.3)
    for command in (("backup", "--to", "a"), ("gaps", "--user", "alice")):
        status, out, told = run(capsys, *command, "--server", NOBODY)
        assert (status, out, told.count("\n")) == (1, "", 1)
        assert "no server answers there" in told
        assert NOBODY in told


def test_what_to_do_is_said(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedDatabase(data, config=CONFIG):
        status, _, told = run(capsys, "verify", data)
    assert (status, "DIRECTORY_LOCKED" in told, "--server" in told) == (1, True, True)
    monkeypatch.setenv("MEMDB_SERVER__GRACE", "30")
    status, _, told = run(capsys, "config", "print")
    assert (status, "UNKNOWN_KEY" in told, "memdb config print" in told) == (2, True, True)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("gaps", "DATA", "--user", "a b"), "BAD_ID"),  # status 1 would say that there are gaps
        (("gaps", "DATA", "--user", "alice", "--stream", "a/b"), "BAD_ID"),
        (("gaps", "DATA", "--user", "bob"), "USER_NOT_FOUND"),
        (("gaps", "DATA", "--user", "alice", "--stream", "roof"), "STREAM_NOT_FOUND"),
        (("drill", "nowhere", "DATA"), "NOT_AN_ARCHIVE"),
        (("users", "--server", "nohost"), "BAD_ADDRESS"),
        (("users", "--server", NOBODY, "--tls", "/nowhere.pem"), "BAD_TLS"),
        (("verify", "--server", NOBODY, "--token", ""), "BAD_TOKEN"),
        # Passed over, it would leave an archive in clear that is taken for an encrypted one.
        (
            ("backup", "--server", NOBODY, "--to", "a", "--master-key-file", "k"),
            "memdb serve --master",
        ),
        (("compact", "DATA", "--user", "é"), "BAD_ID"),
        (("backup", "DATA", "--to", ""), "BAD_PATH"),
        (("serve", "--data", "DATA", "--listen", "localhost"), "BAD_ADDRESS"),
        (("serve", "--data", "DATA", "--listen", "0.0.0.0:0"), "TLS_REQUIRED"),
        (
            ("retention", "DATA", "--user", "alice", "--stream", "porch", "--max-clips", "0"),
            "OUT_OF",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_wrong_value_gives_status_2_and_one_line(
    command: tuple[str, ...], reason: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [data if word == "DATA" else word for word in command]
    status, out, told = run(capsys, *given)
    assert (status, out, told.count("\n"), reason in told) == (2, "", 1, True)


class Missing:
    """Finds nothing in the place of a module, as if what it imports were not installed."""

    def __init__(self, module: str, needs: str) -> None:
        self.module = module
        self.needs = needs

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self.module:
            raise ModuleNotFoundError(f"No module named {self.needs!r}", name=self.needs)


@pytest.mark.parametrize(
    ("module", "needs", "extra", "command"),
    [
        ("memdb.engine.drill", "msgspec", "server", ("backup", "--to", "a0", "--drill")),
        (
            "memdb.portable.exporter",
            "pyarrow",
            "export",
            ("export", "--user", "alice", "--to", "a0"),
        ),
    ],
)
def test_an_extra_that_is_missing_is_named_before_anything_is_written(
    module: str,
    needs: str,
    extra: str,
    command: tuple[str, ...],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ServerThread(data, backup_dir=str(tmp_path)) as server:
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setattr(sys, "meta_path", [Missing(module, needs), *sys.meta_path])
        status, out, told = run(capsys, *command, "--server", server.address)
    wanted = f'memdb: {needs} is not installed: this needs the extra "memdb[{extra}]"\n'
    assert (status, out, told) == (1, "", wanted)
    assert not (tmp_path / "a0").exists()


def test_gaps_by_either_name_of_the_directory_and_in_words(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = (
        "porch  epoch 0  0..0  [, 2026-01-05T12:00:01.000Z)  missing\n"
        "porch  epoch 0  2..3  [2026-01-05T12:00:02.000Z, 2026-01-05T12:00:04.000Z)  missing\n"
    )
    assert run(capsys, "gaps", data, "--user", "alice") == (1, expected, "")
    assert run(capsys, "gaps", "--data", data, "--user", "alice") == (1, expected, "")
    status, out, _ = run(capsys, "gaps", data, "--user", "alice", "--json")
    assert (status, out.count("\n"), '"start_ns": null' in out) == (1, 2, True)


def test_each_command_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {
        "memdb": main,
        "memdb-ask": reasoner.cli.main,
        "memdb-ingest": perception.cli.main,
        "memdb-import-ixc": perception.import_ixc.main,
    }
    for name, command in commands.items():
        with pytest.raises(SystemExit) as ended:
            command(["--version"])
        assert ended.value.code == 0
        assert capsys.readouterr().out == f"{name} {memdb.__version__}\n"


def test_the_package_is_the_command() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "memdb", "--version"], capture_output=True, text=True, check=True
    )
    assert told.stdout == f"memdb {memdb.__version__}\n"
