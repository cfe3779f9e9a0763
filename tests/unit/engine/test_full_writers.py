"""Writers at a quota that fills, again and again: each goes on by the ledger, and leaves out none."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from memdb import Keyframe, ResourceExhausted
from memdb.engine import shared_ingest
from memdb.engine.database import EmbeddedDatabase
from tests.unit.engine.conftest import CONFIG, DIM, clip
from tests.unit.engine.test_writer import in_threads

CAMERAS = 5
SECONDS = 3.0


def test_no_number_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 3)
    ended: Counter[str] = Counter()
    until_s = time.monotonic() + SECONDS
    with EmbeddedDatabase(folder / "data", config=replace(CONFIG, map_bytes_max=3 << 20)) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)

        def film(rng: random.Random, camera: int) -> None:
            window = rng.choice((2, 8, 32))
            largest = rng.choice((0, 400_000))
            with user.stream(f"camera-{camera}", space="cam").ingest(window=window) as writer:
                first = writer.next_seq
                for seq in range(first, first + rng.randrange(1, 150)):
                    if rng.random() < 0.2:
                        writer.send(clip(seq, sealed=False))
                    size = rng.choice((1, 1, 1, 10_000, largest or 1))
                    writer.send(clip(seq, keyframes=(Keyframe(1, b"\xff" * size),)))
                    if rng.random() < 0.05:
                        writer.flush()

        def make_room(rng: random.Random) -> None:
            for info in user.streams():
                user.stream(info.name).erase(end_ns=rng.randrange(1, 1000) * 10**10)

        def work(number: int) -> None:
            rng = random.Random(number)
            while time.monotonic() < until_s:
                try:
                    if number < CAMERAS:
                        film(rng, number)
                    elif rng.random() < 0.9:
                        user.put(f"key-{number}", "x" * rng.choice((10, 10, 200_000)))
                        user.remove(f"key-{number}")
                    else:
                        make_room(rng)
                    ended["well"] += 1
                except ResourceExhausted as error:
                    ended[error.reason] += 1
                    time.sleep(rng.random() / 50)

        in_threads(CAMERAS + 2, work)
        assert ended["QUOTA"]
        for info in user.streams():
            assert user.stream(info.name).ledger().gaps == ()
        assert db.verify().ok
