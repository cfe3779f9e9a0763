"""Log lines are one JSON object each, whatever a value holds."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from memdb.server.logs import JsonFormatter, configure_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    asyncio_level = logging.getLogger("asyncio").level
    buffer = io.StringIO()
    configure_logging("info", buffer)
    yield buffer
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(asyncio_level)


def test_a_line_is_one_object(stream: io.StringIO) -> None:
    logging.getLogger("x").info("done", extra={"fields": {"clips": 3}})
    logging.getLogger("x").debug("not shown")
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert record | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "x",
        "event": "done",
        "clips": 3,
    }


def test_control_characters_never_reach_the_terminal(stream: io.StringIO) -> None:
    hostile = 'a\n{"level":"error"}\r\x1b[2J\x00\x7f\x9b\u2028\u202e\ud800'
    # Not pytest's own: its report of a text with half a pair cannot go from one process to another.
    root = logging.getLogger()
    root.handlers[:] = [one for one in root.handlers if isinstance(one.formatter, JsonFormatter)]
    logging.getLogger("x").warning("refused %s", hostile, extra={"fields": {"value": hostile}})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert all(32 <= ord(char) < 127 for char in text[:-1])
    assert json.loads(text)["value"] == hostile


def test_tracebacks_stay_on_the_line(stream: io.StringIO) -> None:
    try:
        raise RuntimeError("boom\nboom")
    except RuntimeError:
        logging.getLogger("x").exception("failed")
    assert stream.getvalue().count("\n") == 1
    assert "boom" in json.loads(stream.getvalue())["traceback"]


def test_debug_is_ours_and_not_that_of_each_step_of_grpc(stream: io.StringIO) -> None:
    configure_logging("debug", stream)
    logging.getLogger("memdb.server").debug("call failed")
    logging.getLogger("grpc._cython.cygrpc").debug("[_cygrpc] Loaded running loop")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "call failed"
