"""What indexes want done that nobody waits for, on one thread for all users of a database."""

from __future__ import annotations

import logging
import threading
from collections import deque

from memdb.index.gpu import Gpu
from memdb.index.indexed import Approximation
from memdb.index.tiers import Tiers

log = logging.getLogger("memdb.engine")


class Upkeep:
    """Maintains what it is given, one after the other; its thread lives while there is something."""

    def __init__(self, gpu: Gpu | None = None, approximation: Approximation | None = None) -> None:
        self._gpu = gpu
        self._approximation = approximation
        self._lock = threading.Lock()
        self._waiting: deque[Tiers] = deque()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def want(self, tiers: Tiers) -> None:
        """Have ``tiers`` maintained soon; once, however often it is wanted before."""
        with self._lock:
            if self._stopped or tiers in self._waiting:
                return
            self._waiting.append(tiers)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="memdb-upkeep", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Leave the rest, and wait for what is being done."""
        with self._lock:
            self._stopped = True
            self._waiting.clear()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                tiers = self._waiting.popleft()
            try:
                tiers.maintain(lambda: self._stopped, self._gpu, self._approximation)
            except Exception:
                # Questions are answered without; whoever asks much more brings it here again.
                tiers.put_off()
                log.exception("an index could not be maintained")
