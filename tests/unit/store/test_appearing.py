"""Directories that appear whole: what is in the way of one leaves nothing behind, or says so."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from memdb import Unavailable
from memdb.store.appearing import making


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_lock_that_is_refused_leaves_no_folder_and_no_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    before = open_files()
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(Unavailable), making(tmp_path / "made", ".memdb-backup-"):
        pass
    assert list(tmp_path.iterdir()) == []
    assert open_files() == before


def test_what_cannot_be_removed_now_is_told_and_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with making(tmp_path / "made", ".memdb-drill-") as (folder, _):
        (folder / "data.mdb").write_bytes(b"memory")
        monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    monkeypatch.undo()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "a copy is left for the next call to remove"
    ]
    assert folder.exists()
    with making(tmp_path / "made", ".memdb-drill-"):
        assert not folder.exists()
    assert list(tmp_path.iterdir()) == []
