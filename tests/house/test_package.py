"""What pyproject.toml promises is there: commands, entry points, and a lock that agrees."""

import ast
import importlib
import re
import sys
import tomllib
from importlib.metadata import entry_points, packages_distributions
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
OURS = {"memdb", "memdb_client", "memdb_edge", "perception", "reasoner", "bench", "tests"}
EXTRAS_OF = {
    "memdb": ["server", "export", "encryption"],
    "clients/python/memdb_client": [],
    "perception": ["perception", "openclip"],
    "reasoner": ["reasoner", "perception", "openclip"],
}
"""The extras whose dependencies a package may import, besides the base install."""


def requirements(extras: list[str] | None = None) -> list[Requirement]:
    """The base dependencies and those of `extras` (all of them when not given)."""
    optional: dict[str, list[str]] = PROJECT["optional-dependencies"]
    names = optional if extras is None else extras
    lines = [*PROJECT["dependencies"], *(line for name in names for line in optional[name])]
    return [r for r in map(Requirement, lines) if canonicalize_name(r.name) != PROJECT["name"]]


NOT_LOCKED = {"faiss-gpu"}
"""Owns the module of faiss-cpu, which is locked: one environment cannot have both."""


def imported_by(folder: str) -> dict[str, str]:
    """One importing file by each third-party top-level module that `folder` imports."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                found.setdefault(name.partition(".")[0], str(path.relative_to(ROOT)))
    return {n: where for n, where in found.items() if n not in OURS | sys.stdlib_module_names}


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
        if canonicalize_name(requirement.name) not in NOT_LOCKED
        and not requirement.specifier.contains(
            versions.get(canonicalize_name(requirement.name), "0")
        )
    ]
    assert unmet == []


@pytest.mark.parametrize("folder", EXTRAS_OF)
def test_every_import_is_declared(folder: str) -> None:
    """Nothing works only because another extra happened to bring it."""
    declared = {canonicalize_name(r.name) for r in requirements(EXTRAS_OF[folder])}
    owners = packages_distributions()
    undeclared = {
        module: where
        for module, where in imported_by(folder).items()
        if not declared & {canonicalize_name(owner) for owner in owners.get(module, [])}
    }
    assert undeclared == {}


def test_a_gpu_takes_the_place_of_faiss_and_of_nothing_else() -> None:
    extras = PROJECT["optional-dependencies"]
    cpu, gpu = ({str(Requirement(line)) for line in extras[name]} for name in ("server", "gpu"))
    assert {Requirement(line).name for line in cpu ^ gpu} == {"faiss-cpu", "faiss-gpu"}


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
    # Of these the client has classes, and `memdb` the protocols that they keep (test_interface.py).
    shared -= {"Database", "User", "Stream", "IngestWriter", "Standing"}
    assert {"Clip", "Grounding", "MemdbError", "InvalidArgument"} <= shared
    assert [n for n in sorted(shared) if getattr(memdb, n) is not getattr(memdb_client, n)] == []
