"""The model of a block device that `test_block_loss.py` rests on: what is flushed stays, any part of the rest may."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.block.device import SECTOR, Device, Fate
from tests.crash.block.log import Event

pytestmark = pytest.mark.crash

FLUSH = Event("S", 0, b"")
LOST = Fate(0.0, torn=True, seed=0)
DONE = Fate(1.0, torn=True, seed=0)


def written(sector: int, letters: str) -> Event:
    """One letter fills one sector."""
    return Event("W", sector * SECTOR, b"".join(letter.encode() * SECTOR for letter in letters))


def after(where: Path, fate: Fate, *events: Event, together: tuple[range, ...] = ()) -> str:
    """What is on the medium after a crash, a letter for each sector."""
    image = where / "image"
    image.write_bytes(bytes(8 * SECTOR))
    device = Device.of(image, together)
    for event in events:
        device.apply(event)
    device.materialise(image, fate)
    content = image.read_bytes()
    sectors = [content[at : at + SECTOR] for at in range(0, len(content), SECTOR)]
    assert all(len(set(sector)) == 1 for sector in sectors), "a sector is never torn"
    return "".join(chr(sector[0] or ord(".")) for sector in sectors)


def test_what_was_flushed_stays_and_the_rest_may(tmp_path: Path) -> None:
    events = (written(0, "ab"), FLUSH, written(1, "c"), written(6, "d"))
    assert after(tmp_path, LOST, *events) == "ab......"
    assert after(tmp_path, DONE, *events) == "ac....d."
    assert after(tmp_path, LOST, *events, FLUSH) == "ac....d."
    assert after(tmp_path, Fate(0.0, torn=False, seed=0), *events) == "ab......"
    assert after(tmp_path, Fate(1.0, torn=False, seed=0), *events) == "ac....d."


def test_sectors_are_torn_apart_in_any_order_and_writes_are_dropped_whole(tmp_path: Path) -> None:
    events = (written(0, "aaaaaaaa"), FLUSH, written(0, "bbbb"), written(4, "cccc"))
    torn = {after(tmp_path, Fate(0.5, torn=True, seed=seed), *events) for seed in range(60)}
    assert len(torn) > 40
    assert any("ab" in found for found in torn)
    assert any("ba" in found for found in torn)
    whole = {after(tmp_path, Fate(0.5, torn=False, seed=seed), *events) for seed in range(60)}
    assert whole == {"aaaaaaaa", "bbbbaaaa", "aaaacccc", "bbbbcccc"}


def test_a_sector_goes_through_its_versions_in_order(tmp_path: Path) -> None:
    events = (written(0, "a"), written(0, "b"), written(0, "c"))
    found = {after(tmp_path, Fate(0.1, torn=True, seed=seed), *events)[0] for seed in range(60)}
    assert found == set(".abc")


def test_a_superblock_goes_as_one(tmp_path: Path) -> None:
    events = (written(0, "aaaaaaaa"), FLUSH, written(0, "bbbbbbbb"))
    for seed in range(60):
        fate = Fate(0.5, torn=True, seed=seed)
        found = after(tmp_path, fate, *events, together=(range(2, 4),))
        assert found[2] == found[3]
