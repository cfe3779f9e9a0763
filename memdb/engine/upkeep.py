"""What indexes want done that nobody waits for, on one thread for all users of a database."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from memdb.eventlog import event_log
from memdb.index.gpu import Gpu
from memdb.index.indexed import Approximation
from memdb.index.tiers import Tiers

log = event_log("memdb.engine")


class Chore(Protocol):
    """What can be maintained: the tiers of a matrix, the checkpoint of a user, the outline of its questions."""

    def maintain(
        self,
        stop: Callable[[], bool],
        gpu: Gpu | None = None,
        approximation: Approximation | None = None,
    ) -> None:
        """Do what there is to do; stop: asked whether to leave the rest to another time."""

    def put_off(self) -> None:
        """It failed, and is not to be tried again at once."""


class Upkeep:
    """Maintains what it is given, one after the other; its thread lives while there is something."""

    def __init__(self, gpu: Gpu | None = None, approximation: Approximation | None = None) -> None:
        self._gpu = gpu
        self._approximation = approximation
        self._lock = threading.Lock()
        self._waiting: deque[Chore] = deque()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def introduce(self, tiers: Tiers) -> None:
        """Let tiers that were just opened answer approximately, where they can, before they are first maintained.

        Where there is a GPU it is to hear of them first: it answers exactly, once it has the rows.
        """
        if self._gpu is not None:
            tiers.await_gpu()
        elif self._approximation is not None:
            tiers.indexed.approximate_by(self._approximation)

    def want(self, chore: Chore) -> None:
        """Have ``chore`` maintained soon; once, however often it is wanted before.

        Where there is no thread to be had it waits until something is wanted again: a question that wants it is
        answered all the same.
        """
        with self._lock:
            if self._stopped:
                return
            is_new = chore not in self._waiting
            if is_new:
                self._waiting.append(chore)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="memdb-upkeep", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    if is_new:
                        log.warning("upkeep waits for a thread", exc_info=error)
                    return
                self._thread = thread

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
                chore = self._waiting.popleft()
            try:
                chore.maintain(lambda: self._stopped, self._gpu, self._approximation)
            except Exception:
                # Questions are answered without; whoever asks much more brings it here again.
                chore.put_off()
                log.exception("an index could not be maintained")
