"""What a server tells of its calls: how many, how many are open, how many failed and as what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import memdb_client
from memdb.server.metrics import metrics_text
from tests.e2e.serving import Served, serving


def read(served: Served) -> dict[str, float]:
    """Every number by its name and labels."""
    text = metrics_text(served.server.metrics)
    return {name: float(value) for name, value in re.findall(r"(?m)^(memdb_\S+) (\S+)$", text)}


def test_calls_are_counted_and_failed_ones_by_their_code(tmp_path: Path) -> None:
    failed = 'memdb_calls_failed_total{code="NOT_FOUND"}'
    with serving(tmp_path / "data") as served, memdb_client.connect(served.address) as db:
        before = read(served)
        db.create_space("small", dim=2)
        with pytest.raises(memdb_client.NotFound):
            db.space("large")
        after = read(served)
    assert after["memdb_calls_total"] - before["memdb_calls_total"] == 2
    assert after[failed] - before.get(failed, 0) == 1
    assert after["memdb_request_bytes_held"] == 0


def test_an_open_stream_is_an_open_call(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as served, memdb_client.connect(served.address) as db:
        db.create_space("small", dim=2)
        alice = db.user("alice")
        alice.configure(text_space="small")
        changes = alice.watch()
        assert next(changes).kind == "settings"
        assert read(served)["memdb_calls_open"] >= 1
