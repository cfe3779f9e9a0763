"""Text and truth values of numpy, and of classes made from those of Python, are stored as the plain ones."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pytest

from memdb import Retention
from memdb.types.database import Database, Stream, User

pytestmark = pytest.mark.congruence


class Name(StrEnum):
    SPEECH = "speech"


@pytest.mark.parametrize("name", [np.str_("speech"), Name.SPEECH], ids=["numpy", "enum"])
def test_the_name_of_a_snapshot(db: Database, user: User, name: str) -> None:
    user.put("diet", 1)

    snapshot = user.snapshot(name, ttl_s=600)

    assert (type(snapshot.name), snapshot.name) == (str, "speech")
    assert user.get("diet", as_of="speech") == user.get("diet", as_of=snapshot) == 1


def test_a_legal_hold(db: Database, door: Stream) -> None:
    door.create()

    door.set_retention(Retention(hold=np.bool_(True)))  # type: ignore[arg-type]

    assert door.retention() == Retention(hold=True)
