"""A metrics file that could not be written is refused before anything is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memdb import InvalidArgument
from memdb.config import ServerConfig
from memdb.server.metrics_file import check_metrics_file, write_metrics


@pytest.mark.parametrize("name", ["m" * 300, "none/m", "file/m", "a\0b", "taken", "", "~/m"])
def test_one_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / f"taken.{os.getpid()}.new").mkdir()
    (tmp_path / "file").write_text("kept")
    path = name if name.startswith("~") else f"{tmp_path}/{name}"
    with pytest.raises(InvalidArgument) as refused:
        check_metrics_file(ServerConfig(data=str(tmp_path / "db"), metrics_file=path))
    assert (refused.value.reason, refused.value.field) == ("BAD_CONFIG", "server.metrics_file")


@pytest.mark.parametrize("where", ["m", "db/m"])
def test_one_that_is_not_refused_is_written(tmp_path: Path, where: str) -> None:
    config = ServerConfig(data=str(tmp_path / "db"), metrics_file=str(tmp_path / where))
    check_metrics_file(config)
    (tmp_path / "db").mkdir()
    write_metrics(Path(config.metrics_file), "a 1\n")
    assert (tmp_path / where).read_text() == "a 1\n"
