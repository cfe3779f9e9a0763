"""A backup directory that is none and cannot become one is refused at the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb import InvalidArgument
from memdb.config import ServerConfig
from memdb.server.backup_dir import archive_path, check_backup_dir


@pytest.mark.parametrize("name", ["file", "file/in", "lost", "b" * 300, "a\0b", "~/backups"])
def test_one_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidArgument) as refused:
        check_backup_dir(ServerConfig(backup_dir=name))
    assert (refused.value.reason, refused.value.field) == ("BAD_CONFIG", "server.backup_dir")


@pytest.mark.parametrize("name", ["", "there", "linked", "there/later/on"])
def test_one_that_is_there_or_can_be_made_is_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "there")
    before = sorted(tmp_path.iterdir())
    check_backup_dir(ServerConfig(backup_dir=name and str(tmp_path / name)))
    assert sorted(tmp_path.iterdir()) == before


def test_a_home_directory_that_no_shell_has_seen_is_not_made_below_it(tmp_path: Path) -> None:
    for field in ("path", "parent"):
        with pytest.raises(InvalidArgument, match="expanduser") as refused:
            archive_path(str(tmp_path), "~/monday", field)
        assert (refused.value.reason, refused.value.field) == ("BAD_PATH", field)
    assert archive_path(str(tmp_path), "./~/monday", "path") == tmp_path / "~" / "monday"
    (tmp_path / "~").mkdir()
    assert archive_path(str(tmp_path), "~/monday", "path") == tmp_path / "~" / "monday"
