"""The example in the client's docstring works against a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

import memdb_client
from tests.congruence.server import ServerThread

pytestmark = pytest.mark.congruence


def test_the_example_of_the_package_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert memdb_client.__doc__ is not None
    block = memdb_client.__doc__.split("::\n\n", 1)[1].split("\n\n``connect_async``")[0]
    example = "\n".join(line[4:] for line in block.splitlines())
    assert "localhost:7700" in example

    with ServerThread(tmp_path) as server:
        exec(compile(example.replace("localhost:7700", server.address), "example", "exec"), {})

    stream, _, score = capsys.readouterr().out.split()
    assert stream == "front-door"
    assert float(score) == pytest.approx(1, abs=1e-6)
