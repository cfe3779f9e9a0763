"""News that what a lock guards has changed."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress

import pytest

from memdb.news import News
from memdb_client import _compat as compat
from tests.unit.engine.test_interrupted import InterruptAsItReturns
from tests.unit.locks import in_a_wait, is_free


def test_with_it_is_with_its_lock() -> None:
    lock = threading.RLock()
    news = News(lock)
    called: list[str] = []
    sys.setprofile(lambda frame, event, _: called.append(event) if event == "call" else None)
    try:
        with news:
            pass
    finally:
        sys.setprofile(None)
    assert called == [], "no function of Python's"
    with news:
        assert not is_free(lock)
        news.notify_all()
        assert not news.wait(0.001)
    assert is_free(lock)
    with pytest.raises(RuntimeError):
        news.notify_all()


@pytest.mark.parametrize("kind", [News, compat.Condition])
def test_who_is_interrupted_has_given_the_lock_back(kind: type[News]) -> None:
    """Also of the client's, for which its own thread would wait, and the end for that."""
    for times in range(1, 60):
        lock = threading.RLock()
        news = kind(lock)
        interrupt = InterruptAsItReturns(in_a_wait, times)
        with interrupt.within(), suppress(KeyboardInterrupt), news:  # and nothing else
            news.wait_for(lambda: False, 0.01)
        assert is_free(lock)
        if not interrupt.came:
            return
    raise AssertionError("it came everywhere")
