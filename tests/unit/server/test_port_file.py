"""A port file that could not be written is refused before anything is made, whatever the system says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb import InvalidArgument
from memdb.config import ServerConfig
from memdb.server.port_file import check_port_file, write_port_file


@pytest.mark.parametrize("name", ["p" * 300, "p" * 253, "p/" * 3000 + "p", "a\0b", "taken", ""])
def test_one_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken.new").mkdir()
    config = ServerConfig(data=str(tmp_path / "db"), port_file=f"{tmp_path}/{name}")
    with pytest.raises(InvalidArgument) as refused:
        check_port_file(config)
    assert (refused.value.reason, refused.value.field) == ("BAD_CONFIG", "server.port_file")


def test_one_that_is_not_refused_is_written(tmp_path: Path) -> None:
    config = ServerConfig(data=str(tmp_path / "db"), port_file=str(tmp_path / "port"))
    check_port_file(config)
    write_port_file(config, "127.0.0.1:7")
    assert (tmp_path / "port").read_text() == "127.0.0.1:7\n"
