"""The model of a disk that the power loss tests rest on: what is synced stays, the rest may."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash.power.disk import SECTOR, Disk, Fate
from tests.crash.power.log import Event

pytestmark = pytest.mark.crash

LOST = Fate(0.0, 0.0, ordered=True, seed=0)
DONE = Fate(1.0, 1.0, ordered=True, seed=0)
NAMES = Fate(0.0, 1.0, ordered=True, seed=0)


def event(kind: str, fd: int = -1, path: str = "", **more: object) -> Event:
    fields = {"aux": 0, "offset": 0, "other": "", "data": b""} | more
    return Event(kind=kind, fd=fd, path=path, **fields)  # type: ignore[arg-type]


def made(path: str, fd: int, flags: int = 0) -> Event:
    return event("O", fd, path, aux=os.O_CREAT | os.O_RDWR | flags)


def after(where: Path, fate: Fate, *events: Event) -> dict[str, bytes]:
    """What is on the disk after a crash."""
    disk = Disk("/r")
    for one in events:
        disk.apply(one)
    disk.materialise(where, fate)
    found = {}
    for path in where.rglob("*"):
        found[str(path.relative_to(where))] = path.read_bytes() if path.is_file() else b"/"
    return found


SYNC_ROOT = (event("O", 9, "/r"), event("S", 9))


def test_a_name_needs_its_directory_synced_and_bytes_their_file(tmp_path: Path) -> None:
    file = (made("/r/a", 3), event("W", 3, data=b"x" * 600))
    assert after(tmp_path / "1", LOST, *file) == {}
    assert after(tmp_path / "2", LOST, *file, event("S", 3)) == {}
    assert after(tmp_path / "3", LOST, *file, *SYNC_ROOT) == {"a": b""}
    assert after(tmp_path / "4", LOST, *file, event("S", 3), *SYNC_ROOT) == {"a": b"x" * 600}
    assert after(tmp_path / "5", DONE, *file) == {"a": b"x" * 600}
    assert after(tmp_path / "6", NAMES, *file) == {"a": b""}


def test_a_synced_write_stays_and_takes_earlier_ones_of_its_sector_along(tmp_path: Path) -> None:
    events = (
        made("/r/a", 3),
        event("W", 3, data=b"a" * (3 * SECTOR)),
        event("O", 4, "/r/a", aux=os.O_WRONLY | os.O_DSYNC),
        event("W", 4, offset=SECTOR + 10, data=b"b" * 10),
        event("W", 3, offset=SECTOR, data=b"c" * 4),
        *SYNC_ROOT,
    )
    (content,) = after(tmp_path / "1", LOST, *events).values()
    assert content[SECTOR : 2 * SECTOR] == b"a" * 10 + b"b" * 10 + b"a" * (SECTOR - 20)
    assert content == bytes(SECTOR) + content[SECTOR : 2 * SECTOR] + bytes(SECTOR)


def test_sectors_are_torn_apart_and_never_within(tmp_path: Path) -> None:
    events = (
        made("/r/a", 3),
        event("W", 3, data=b"a" * (8 * SECTOR)),
        event("S", 3),
        event("W", 3, data=b"b" * (8 * SECTOR)),
        *SYNC_ROOT,
    )
    seen = set()
    for seed in range(30):
        fate = Fate(0.5, 0.0, ordered=False, seed=seed)
        (content,) = after(tmp_path / str(seed), fate, *events).values()
        sectors = [content[at : at + SECTOR] for at in range(0, 8 * SECTOR, SECTOR)]
        assert set(sectors) <= {b"a" * SECTOR, b"b" * SECTOR}
        seen.add("".join(chr(sector[0]) for sector in sectors))
    assert len(seen) > 20, "any subset, in any order"
    assert any("ab" in torn for torn in seen)
    assert any("ba" in torn for torn in seen)


def test_a_rename_is_one_step_between_directories_too(tmp_path: Path) -> None:
    events = (
        event("M", path="/r/d"),
        made("/r/a", 3),
        event("W", 3, data=b"old"),
        event("S", 3),
        *SYNC_ROOT,
        event("R", path="/r/a", other="/r/d/b"),
    )
    assert after(tmp_path / "1", LOST, *events) == {"a": b"old", "d": b"/"}
    assert after(tmp_path / "2", DONE, *events) == {"d": b"/", "d/b": b"old"}
    synced = (*events, event("O", 5, "/r/d"), event("S", 5))
    assert after(tmp_path / "3", LOST, *synced) == {"d": b"/", "d/b": b"old"}


def test_what_was_cut_off_does_not_come_back(tmp_path: Path) -> None:
    events = (
        made("/r/a", 3),
        event("W", 3, data=b"a" * 1000),
        event("T", 3, offset=10),
        event("T", 3, offset=700),
        *SYNC_ROOT,
    )
    assert after(tmp_path / "1", DONE, *events) == {"a": b"a" * 10 + bytes(690)}
