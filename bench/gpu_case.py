"""What ways to search one matrix are measured with, and what was found of them so far."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from bench.report import median, percentile
from bench.workloads.tiers import Rows
from memdb.index.matrix import Matrix

LIMIT = 10
AT_ONCE = 64
_ASKED_MIN = 4
_ASKING_S = 10.0
"""For so long each way is asked one at a time, and by many at once, at most."""
_SAY_EVERY_S = 10.0

Ask = Callable[[Rows], set[int]]
Told = Callable[["Case"], None]


class Case:
    """A matrix, questions to it and the rows of the best answers to the first of them.

    seconds: after which nothing is begun any more; None for as long as it takes.  told: called after each way.
    """

    def __init__(self, seconds: float | None = None, told: Told = lambda _: None) -> None:
        self._begin_s = time.monotonic()
        self._end_s = float("inf") if seconds is None else self._begin_s + seconds
        self._told = told
        self._said_s = 0.0
        self.matrix: Matrix
        self.questions: Rows
        self.truth: list[set[int]]
        self.figures: dict[str, float] = {}
        self.left: dict[str, str] = {}
        """Ways that were not taken, and why."""

    @property
    def is_over(self) -> bool:
        """Whether its time is."""
        return time.monotonic() >= self._end_s

    def stop(self) -> bool:
        """The same, for what is made meanwhile; now and then it says that it goes on."""
        if time.monotonic() >= self._said_s + _SAY_EVERY_S:
            self.say("...")
        return self.is_over

    def say(self, what: str) -> None:
        """To who waits, on stderr."""
        self._said_s = time.monotonic()
        print(f"{self._said_s - self._begin_s:6.1f} s  {what}", file=sys.stderr, flush=True)

    def take(self, name: str, way: Callable[[], str | None]) -> None:
        """Measure one way, where there is time; the way: gives why it was not taken, None where it was."""
        self.say(name)
        before = set(self.figures)
        if self.is_over:
            why: str | None = "no time"
        else:
            try:
                why = way()
            except Exception as error:
                # Whatever it is, on a machine that nobody knows: the ways after it are measured all the same.
                why = f"{type(error).__name__}: {error}"
        if why is not None:
            self.left[name] = why
            self.say(f"{name}: {why}")
            # What was answered in another way would be told as its own.
            self.figures[f"{name}_recall"] = 0.0
        for figure, value in self.figures.items():
            if figure not in before:
                self.say(f"  {figure} = {value:g}")
        self._told(self)

    def ask(self, name: str, way: Ask) -> None:
        """Ask one at a time, and 64 at once."""
        alone, answers = _alone(way, self.questions)
        self.figures[f"{name}_questions"] = len(alone)
        self.spent(name, alone)
        together, rate = _together(way, self.questions)
        self.spent(f"{name}_64", together)
        self.figures[f"{name}_64_questions_per_s"] = rate
        self.found(name, answers)

    def spent(self, name: str, milliseconds: list[float]) -> None:
        """Figures of what questions took."""
        self.figures[f"{name}_p50_ms"] = median(milliseconds)
        self.figures[f"{name}_p99_ms"] = percentile(milliseconds, 99)

    def found(self, name: str, answers: list[set[int]]) -> None:
        """How much of the best answers there is in those of the first questions."""
        pairs = list(zip(answers, self.truth, strict=False))
        sought = sum(len(best) for _, best in pairs)
        self.figures[f"{name}_recall"] = sum(len(found & best) for found, best in pairs) / sought


def timed_s(call: Callable[[], object]) -> float:
    """Seconds of a call."""
    begin_s = time.perf_counter()
    call()
    return time.perf_counter() - begin_s


def timed(call: Callable[[], object], times: int) -> float:
    """Milliseconds of a call, the middle of so many."""
    spent = []
    for _ in range(times):
        begin_s = time.perf_counter()
        call()
        spent.append((time.perf_counter() - begin_s) * 1e3)
    return median(spent)


def _alone(way: Ask, questions: Rows) -> tuple[list[float], list[set[int]]]:
    """Milliseconds of each question, and the answers."""
    spent: list[float] = []
    answers: list[set[int]] = []
    end_s = time.perf_counter() + _ASKING_S
    for question in questions:
        begin_s = time.perf_counter()
        if len(spent) >= _ASKED_MIN and begin_s >= end_s:
            break
        answers.append(way(question))
        spent.append((time.perf_counter() - begin_s) * 1e3)
    return spent, answers


def _together(way: Ask, questions: Rows) -> tuple[list[float], float]:
    """Milliseconds of each of 64 threads' questions, and questions a second."""
    spent: list[float] = []
    errors: list[Exception] = []
    start = threading.Barrier(AT_ONCE + 1)

    def client(number: int) -> None:
        start.wait()
        try:
            for question in questions[number::AT_ONCE]:
                begin_s = time.perf_counter()
                way(question)
                spent.append((time.perf_counter() - begin_s) * 1e3)
                if begin_s >= end_s:
                    break
        except Exception as error:
            # Of a thread it would be lost.
            errors.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    begin_s = time.perf_counter()
    end_s = begin_s + _ASKING_S
    start.wait()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return spent, len(spent) / (time.perf_counter() - begin_s)
