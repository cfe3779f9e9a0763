"""What pyproject.toml promises is there: commands, entry points, and a lock that agrees."""

import importlib
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import memdb
import memdb_client

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
COMMANDS: dict[str, str] = PROJECT["scripts"]


def requirements() -> list[Requirement]:
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for lines in extras.values() for line in lines)]
    return [r for r in map(Requirement, lines) if canonicalize_name(r.name) != PROJECT["name"]]


def locked() -> dict[str, str]:
    """Version by canonical name, over both files of requirements/."""
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "requirements").glob("*.txt"))
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("target", COMMANDS.values(), ids=COMMANDS.keys())
def test_command_exists(target: str) -> None:
    module, _, function = target.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_bundled_text_encoder_is_an_entry_point() -> None:
    (entry,) = entry_points(group="memdb.text_encoders", name="bundled")
    assert isinstance(entry.load(), type)


def test_every_requirement_is_locked_within_its_bounds() -> None:
    versions = locked()
    unmet = [
        str(requirement)
        for requirement in requirements()
        if not requirement.specifier.contains(
            versions.get(canonicalize_name(requirement.name), "0")
        )
    ]
    assert unmet == []


def test_floors_are_those_of_the_generated_code() -> None:
    """The stubs refuse to import on an older grpcio or protobuf: pyproject.toml asks for both."""
    stubs = sorted((ROOT / "memdb" / "v1").glob("*_pb2*.py"))
    floors = {
        r.name: spec.version
        for r in requirements()
        for spec in r.specifier
        if spec.operator == ">="
    }
    texts = [path.read_text("utf-8") for path in stubs]
    grpcio = {
        v for text in texts for v in re.findall(r"^GRPC_GENERATED_VERSION = '(.+)'", text, re.M)
    }
    protobuf = {
        v for text in texts for v in re.findall(r"^# Protobuf Python Version: (.+)$", text, re.M)
    }
    assert grpcio == {floors["grpcio"]}
    assert protobuf == {floors["protobuf"]}


@pytest.mark.parametrize("package", [memdb, memdb_client], ids=lambda package: package.__name__)
def test_public_names_exist_once(package: Any) -> None:
    names: list[str] = package.__all__
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(package, name)] == []


def test_values_and_errors_are_the_same_classes_in_both_packages() -> None:
    shared = set(memdb.__all__) & set(memdb_client.__all__)
    assert {"Clip", "Grounding", "MemdbError", "InvalidArgument"} <= shared
    assert [n for n in sorted(shared) if getattr(memdb, n) is not getattr(memdb_client, n)] == []
