"""The spaces of an ingest."""

from __future__ import annotations

from pathlib import Path

import pytest

import memdb
from memdb.errors import AlreadyExists
from perception.spaces import IngestSpaces
from tests.unit.perception.fakes import HashEncoder


def test_a_space_of_another_encoder_is_told_with_what_this_one_makes(tmp_path: Path) -> None:
    with memdb.open(tmp_path / "data") as db:
        db.create_space("mine", dim=8, metric="cosine", model="theirs@1")
        spaces = IngestSpaces(db, db.user("alice"), HashEncoder(), "mine")
        with pytest.raises(AlreadyExists) as caught:
            spaces.prepare(with_video=True)
    made = HashEncoder().space
    assert caught.value.reason == "SPACE_EXISTS"
    assert "dim 8" in caught.value.message
    assert f"this encoder makes dim {made.dim}" in caught.value.message
    assert caught.value.message.endswith("--space names another")
