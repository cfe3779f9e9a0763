"""Messages carry their fields; the server's log keeps both apart."""

from __future__ import annotations

import json
import logging

import pytest

from memdb.eventlog import event_log
from memdb.server.logs import JsonFormatter


def test_a_message_tells_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    log = event_log("memdb.engine")
    with caplog.at_level(logging.WARNING, "memdb"):
        log.warning("it rains", extra={"fields": {"user": "100% \n alice", "by_s": 3}})
        log.warning("it %% snows")
    first, second = caplog.records
    assert first.getMessage() == "it rains: user 100% \\n alice, by_s 3"
    assert second.getMessage() == "it %% snows"
    told = json.loads(JsonFormatter().format(first))
    assert (told["event"], told["user"], told["by_s"]) == ("it rains", "100% \n alice", 3)
