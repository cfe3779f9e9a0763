"""The log of acknowledgements: what it names is durable, in order, each sealed clip once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from memdb import Clip, FailedPrecondition, InvalidArgument
from perception.ack_log import AckLog


def clip(seq: int, *, sealed: bool = True) -> Clip:
    return Clip(seq=seq, start_ns=1, end_ns=2, global_memory=np.ones(2, "f"), sealed=sealed)


def test_a_line_per_sealed_clip_at_once(tmp_path: Path) -> None:
    path = tmp_path / "acks"
    with AckLog(path) as log:
        log.record("porch", clip(0, sealed=False))
        log.record("porch", clip(0))
        (line,) = path.read_text().splitlines()
        assert json.loads(line) == {
            "stream": "porch",
            "epoch": 0,
            "seq": 0,
            "start_ns": 1,
            "end_ns": 2,
        }


def test_a_later_run_appends(tmp_path: Path) -> None:
    for seq in range(2):
        with AckLog(tmp_path / "acks") as log:
            log.record("porch", clip(seq))
    assert len((tmp_path / "acks").read_text().splitlines()) == 2


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        AckLog(tmp_path / "nowhere" / "acks")
    assert caught.value.field == "ack-log"


def test_a_disk_that_takes_no_line_is_an_error_that_names_the_file() -> None:
    """Told once: closing the file has nothing left to write."""
    full = Path("/dev/full")
    with AckLog(full) as log, pytest.raises(FailedPrecondition) as caught:
        log.record("porch", clip(0))
    assert (caught.value.reason, caught.value.field, caught.value.value) == (
        "OUTPUT_LOST",
        "ack-log",
        str(full),
    )
    assert "No space left" in caught.value.message
