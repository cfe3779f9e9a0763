"""docs/storage-format.md says what the modules that write the bytes say."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb.codecs import grid, int4, planes, tensors
from memdb.index import checkpoint, kept_learned
from memdb.store import (
    archive,
    cipher,
    delta,
    directory,
    envelope,
    erased,
    former,
    idents,
    keycopies,
    keyring,
    masterkey,
    rotation,
    rows,
    schema,
    structure,
)

PAGE = (Path(__file__).parents[2] / "docs" / "storage-format.md").read_text()


def literal_blocks(docstring: str) -> list[str]:
    """The indented blocks that follow a line ending in ``::``."""
    blocks: list[str] = []
    current: list[str] | None = None
    for line in [*docstring.splitlines(), "end"]:
        if current is not None:
            if line.startswith("    ") or not line.strip():
                current.append(line[4:])
                continue
            blocks.append("\n".join(current).strip("\n"))
            current = None
        if line.rstrip().endswith("::"):
            current = []
    return blocks


@pytest.mark.parametrize(
    "module",
    [
        *(
            schema,
            envelope,
            rows,
            directory,
            cipher,
            masterkey,
            keyring,
            rotation,
            idents,
            erased,
            former,
            keycopies,
            structure,
        ),
        *(tensors, planes, grid, int4, archive, delta, checkpoint, kept_learned),
    ],
    ids=lambda module: module.__name__,
)
def test_every_layout_drawn_in_the_code_is_on_the_page(module: object) -> None:
    blocks = literal_blocks(module.__doc__ or "")
    assert blocks
    for block in blocks:
        assert block in PAGE


def test_every_table_is_on_the_page() -> None:
    for table in schema.Table:
        assert f"\n{table.value} " in PAGE


def test_the_page_names_the_format() -> None:
    assert f"Format number **{schema.FORMAT}**" in PAGE
