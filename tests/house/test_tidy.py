"""Tracked files say nothing about the machine they were written on and carry no leftovers."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = {"memdb", "perception", "reasoner", "clients", "bench", "scripts"}
GENERATED = ("memdb", "v1")
BYTES_MAX = 1_000_000
"""No weights, media or data directories under version control."""

# Spelled in pieces, so that this file does not find itself.
FORBIDDEN = {
    "path of a machine": re.compile(
        r"(?<![\w.-])/(?:"
        + "|".join(["ho" + "me", "Us" + "ers", "ro" + "ot", "wo" + "rk"])
        + r")/\w"
    ),
    "registry address": re.compile(
        r"py" + r"pi\.org|pythonho" + r"sted\.org|registry\.npm" + r"js|[\w.]+/simple/"
    ),
    "pip index in a lock": re.compile(
        r"^\s*--(?:extra-)?index-" + r"url\b|^\s*--find-" + r"links\b", re.MULTILINE
    ),
    "leftover": re.compile(
        r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|breakpoint" + r"\(\)|^<{7} |^>{7} ", re.MULTILINE
    ),
    "pickle": re.compile(r"^\s*(?:import|from) (?:cloud)?pick" + r"le\b", re.MULTILINE),
    "bare type: ignore": re.compile(r"# type: igno" + r"re(?!\[)"),
    "bare noqa": re.compile(r"# no" + r"qa(?!:)"),
}


def tracked() -> list[Path]:
    """Files git knows of; skips where the tree is not a git checkout."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_contains(what: str) -> None:
    found = []
    for path in tracked():
        # Compressed bytes spell anything.
        if path.relative_to(ROOT).parts[:2] == GENERATED or path.suffix in {".binpb", ".png"}:
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            if FORBIDDEN[what].search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert found == []


def test_tracked_files_are_small() -> None:
    assert [str(path) for path in tracked() if path.stat().st_size > BYTES_MAX] == []


def test_python_modules_say_what_they_are_for() -> None:
    """Every module of the product opens with a docstring."""
    missing = []
    for path in tracked():
        parts = path.relative_to(ROOT).parts
        if path.suffix != ".py" or parts[0] not in PRODUCT or parts[:2] == GENERATED:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        if tree.body and ast.get_docstring(tree) is None:
            missing.append("/".join(parts))
    assert missing == []


def test_contract_and_stubs_pair_up() -> None:
    """Each `.proto` has its messages generated, and no stub outlives its source."""
    protos = {path.stem for path in (ROOT / "proto/memdb/v1").glob("*.proto")}
    stubs = {path.stem.removesuffix("_pb2") for path in (ROOT / "memdb/v1").glob("*_pb2.py")}
    assert protos
    assert protos == stubs
