"""What holds of every test of the native edge."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_lost(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No event of a call was for nobody."""
    caplog.set_level(logging.ERROR)
    yield
    assert "not understood" not in caplog.text
    assert "Exception in callback" not in caplog.text
