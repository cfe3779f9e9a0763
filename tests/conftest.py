"""What a process of the suite keeps for its whole life is not looked through for garbage again and again; the figures
of the crash tests are told by the process that shares the tests out; and Ctrl-C means what it does in a terminal."""

from __future__ import annotations

import gc
import signal
from typing import Final

import pytest

THRESHOLDS: Final = 20_000, 20, 50
"""What a test makes is mostly gone with it: looking for cycles with every 700 objects that stay, as by default, was a
fourteenth of the time of the state machines."""


def pytest_collection_finish() -> None:
    """Modules, tests and all that they made: a million objects, and more with torch."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def _mind_ctrl_c() -> None:
    """A shell that starts the suite in the background has it ignore SIGINT, and all that it starts as well."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_mind_ctrl_c()


def pytest_configure(config: pytest.Config) -> None:
    """It collects none, and so did not know of that folder's figures, nor tell what was NOT TESTED."""
    if config.getoption("dist", "no") == "no" or hasattr(config, "workerinput"):
        return
    from tests.crash import conftest

    if not config.pluginmanager.is_registered(conftest):
        config.pluginmanager.register(conftest)
