"""What approximate searches find is told as metrics, once something was compared."""

from __future__ import annotations

import time
from pathlib import Path

from memdb.index.recall import Recall, RecallCounts
from memdb.server.metrics import metrics_text
from memdb.server.recall_metrics import RecallMetrics
from tests.forked.command import ForkedCommand


def test_counts_and_their_share() -> None:
    recall = Recall()
    metrics = RecallMetrics(lambda: recall.counts)
    assert "memdb_approximate_recall" not in metrics_text([metrics])
    recall.add(approximate=512, compared=2, sought=20, found=19)
    text = metrics_text([metrics])
    assert "\nmemdb_approximate_questions_total 512\n" in text
    assert "\nmemdb_approximate_hits_sought_total 20\n" in text
    assert "# TYPE memdb_approximate_recall gauge\nmemdb_approximate_recall 0.95\n" in text
    assert RecallCounts(sought=20, found=19).recall == 0.95


def test_a_server_writes_them_into_its_file(tmp_path: Path) -> None:
    file = tmp_path / "memdb.prom"
    server = ForkedCommand(
        *("memdb.cli.main", "serve", "--data", str(tmp_path / "data")),
        *("--listen", "127.0.0.1:0", "--metrics-file", str(file)),
    )
    try:
        until = time.monotonic() + 120
        while not file.exists():
            assert time.monotonic() < until, "no metrics came"
            assert server.poll() is None
            time.sleep(0.05)
        assert "memdb_approximate_questions_total 0\n" in file.read_text()
    finally:
        server.terminate()
        server.communicate(timeout=60)
