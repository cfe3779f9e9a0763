"""What a database says where an extra is not installed, asked in an interpreter that has no such module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TELLS = """
import sys
sys.modules[{module!r}] = None
import memdb
try:
    memdb.open({folder!r}, master_key_file={key!r})
except memdb.FailedPrecondition as error:
    print(error.reason, error.field, error, sep="|")
"""


@pytest.mark.parametrize(
    ("module", "field", "extra"),
    [
        ("lmdb", "path", "memdb[server]"),
        ("faiss", "path", "memdb[server]"),
        ("cryptography", "engine.master_key_file", "memdb[encryption]"),
    ],
)
def test_the_extra_is_named_and_nothing_is_made(
    tmp_path: Path, module: str, field: str, extra: str
) -> None:
    key = tmp_path / "master.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    folder = tmp_path / "data"
    code = TELLS.format(module=module, folder=str(folder), key=str(key))

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    reason, told_field, words = done.stdout.strip().split("|")
    assert (reason, told_field) == ("EXTRA_MISSING", field)
    assert words.startswith(f"EXTRA_MISSING: {module}")
    assert extra in words
    assert not folder.exists()
