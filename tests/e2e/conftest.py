"""Signals as a terminal leaves them, wherever the suite is started from."""

from __future__ import annotations

import signal

# A script's background job is told to ignore Ctrl-C, and so is everything that it starts: what the tests
# interrupt would not notice.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
