"""A server that stops while somebody has it go through everything."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from memdb import deadline
from memdb.errors import DeadlineExceeded
from memdb.v1 import database_service_pb2 as pb
from tests.e2e.serving import clip, serving

pytestmark = pytest.mark.e2e


def test_a_long_verification_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    ended: list[BaseException] = []
    checked = threading.Semaphore(0)

    def slowly(_: Any) -> Any:
        begun.set()
        until_s = time.monotonic() + 10
        try:
            while time.monotonic() < until_s:
                deadline.check()
                checked.release()
                time.sleep(0.001)  # it has work to do
        except DeadlineExceeded as error:
            ended.append(error)
            raise
        raise AssertionError("the server waited for it")

    monkeypatch.setattr("memdb.engine.database.verify_user", slowly)
    with serving(tmp_path / "db") as served:
        served.database.create_space("p", dim=8)
        served.database.user("alice").stream("cam", space="p").write(clip(0))
        call = served.databases.Verify.future(pb.VerifyRequest())
        assert begun.wait(30)
        call.cancel()
        # Behind it on the same connection: once this is answered the server knows that the caller has left.
        served.databases.ListSpaces(pb.ListSpacesRequest(), timeout=30)
        while checked.acquire(blocking=False):
            pass
        assert all(checked.acquire(timeout=10) for _ in range(5))  # it goes on for who has left
        assert ended == []
    assert len(ended) == 1
