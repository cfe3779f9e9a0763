"""Defaults, file, environment, flags: the later wins, and nothing unknown passes."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from memdb.cli.main import main
from memdb.config import Config, EngineConfig, ServerConfig, load_config, to_toml
from memdb.errors import InvalidArgument, NotFound


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "memdb.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_defaults() -> None:
    assert load_config() == Config()


def test_the_later_source_wins(tmp_path: Path) -> None:
    file = written(
        tmp_path, '[server]\nlisten = "a:1"\ndata = "f"\ngrace_s = 1\n[engine]\nopen_users_max = 3'
    )
    environment = {
        "MEMDB_SERVER__LISTEN": "b:2",
        "MEMDB_SERVER__REFLECTION": "true",
        "MEMDB_SERVER__GRACE_S": "2.5",
        "MEMDB_ENGINE__MAP_BYTES_MAX": str(1 << 35),
        "MEMDB_FAILPOINTS": "not.ours=exit",
        "OTHER__KEY": "x",
    }
    config = load_config(file, environment, {"server.listen": "c:3"})
    assert config.server.listen == "c:3"
    assert config.server.data == "f"
    assert config.server.grace_s == 2.5
    assert config.server.reflection is True
    assert (config.engine.open_users_max, config.engine.map_bytes_max) == (3, 1 << 35)


@pytest.mark.parametrize(
    ("text", "environment", "key"),
    [
        ("[server]\nlistne = 1", {}, "server.listne"),
        ("[sever]\nlisten = 1", {}, "sever"),
        ("listen = 1", {}, "listen"),
        ("", {"MEMDB_SERVER__LISTNE": "x"}, "MEMDB_SERVER__LISTNE"),
        ("", {"MEMDB_NOWHERE__X": "x"}, "MEMDB_NOWHERE__X"),
    ],
)
def test_unknown_keys_are_errors(
    tmp_path: Path, text: str, environment: dict[str, str], key: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load_config(written(tmp_path, text), environment)
    assert (caught.value.reason, caught.value.field) == ("UNKNOWN_KEY", key)


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("server.listn", "; is it server.listen?"),
        ("MEMDB_SERVER__GRACE", "; is it MEMDB_SERVER__GRACE_S?"),
        ("servr", "; is it server?"),
        ("listen", "; is it server.listen?"),
        ("server.colour", "key"),
    ],
)
def test_an_unknown_key_is_told_with_the_one_that_is_like_it(
    tmp_path: Path, given: str, advice: str
) -> None:
    path = tmp_path / "memdb.toml"
    section, _, name = given.rpartition(".")
    path.write_text(f"[{section}]\n{name} = 1\n" if section else f"{given} = 1\n")
    environment = {}
    if given.startswith("MEMDB_"):
        path.write_text("")
        environment = {given: "1"}
    with pytest.raises(InvalidArgument) as caught:
        load_config(str(path), environment)
    assert caught.value.message.endswith(advice)


@pytest.mark.parametrize(
    ("variable", "value", "kind"),
    [
        ("MEMDB_SERVER__REFLECTION", "yes", "expected true or false"),
        ("MEMDB_SERVER__GRACE_S", "soon", "expected a number"),
        ("MEMDB_SERVER__READ_THREADS", "1.5", "expected a whole number"),
    ],
)
def test_a_value_of_the_wrong_kind_says_what_is_expected(
    variable: str, value: str, kind: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load_config(None, {variable: value})
    assert caught.value.message == kind


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server.grace_s", "soon"),
        ("server.grace_s", -1.0),
        ("server.grace_s", float("nan")),
        ("server.read_threads", 0),
        ("server.read_threads", True),
        ("server.read_threads", 1.5),
        ("server.sweep_interval_s", -1),
        ("server.scrub_bytes_per_s", -1),
        ("server.reflection", "maybe"),
        ("server.listen", 7700),
        ("server.log_level", "loud"),
        ("engine.open_users_max", "many"),
        ("engine.open_users_max", 0),
        ("engine.map_bytes_initial", 0),
        ("engine.map_bytes_initial", 2**63),
        ("engine.map_bytes_max", 1 << 10),
        ("engine.disk_free_bytes_min", -1),
        ("index.device", "tpu"),
        ("index.gpu_index", "hnsw"),
        ("index.gpu_bytes_max", -1),
    ],
)
def test_bad_values_name_their_key(key: str, value: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load_config(overrides={key: value})
    assert (caught.value.reason, caught.value.field) == ("BAD_CONFIG", key)


@pytest.mark.parametrize("value", [None, "many", True, 1.5])
def test_an_engine_made_in_code_is_checked_as_well(value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        EngineConfig(map_bytes_initial=value)
    assert (caught.value.reason, caught.value.field) == ("BAD_CONFIG", "engine.map_bytes_initial")


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(InvalidArgument, match=r"server\.tls_key"):
        ServerConfig(tls_cert="cert.pem")


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load_config(str(tmp_path / "none.toml"))
    with pytest.raises(InvalidArgument):
        load_config(written(tmp_path, "[server"))


def test_printed_configuration_reads_back_and_explains_every_key(tmp_path: Path) -> None:
    config = load_config(overrides={"server.data": 'a "b"\\c é', "server.grace_s": 3.0})
    text = to_toml(config)
    assert load_config(written(tmp_path, text)) == config
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if " = " in line and not line.startswith("#"):
            assert lines[number - 1].startswith("# "), line
    assert tomllib.loads(text) == asdict(config)


def test_config_print(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("MEMDB_SERVER__LISTEN", "127.0.0.1:9")
    assert main(["config", "print", "--data", "d"]) == 0
    shown = tomllib.loads(capsys.readouterr().out)
    assert (shown["server"]["listen"], shown["server"]["data"]) == ("127.0.0.1:9", "d")


def test_a_refused_configuration_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("MEMDB_SERVER__LISTNE", "x")
    assert main(["config", "print"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("memdb: UNKNOWN_KEY")
    assert captured.err.count("\n") == 1
