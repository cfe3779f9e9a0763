"""Known ways to be wrong, and the test that must notice each.

A mutant is a copy of the source with one piece of text replaced.  Its test must pass on the source as
it is (the suite sees to that) and fail on the copy; a harness that would not notice is worth nothing.  Nor is a mutant
that merely breaks: it has to be a program, and where more than a comparison could fail, what is said has to be what
its fault does.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.forked.command import ForkedCommand
from tests.forked.process import nursery_of

pytestmark = pytest.mark.crash

ROOT = Path(__file__).parents[2]
ARGUMENTS = "-x", "-q", "-p", "no:cacheprovider"
DRAWN_FROM = 1
"""The seed of what fails."""
CAUGHT_WITHIN_S = 60
"""Of processor time, which another program's load makes little longer; of time that passes, ten times as much."""


@dataclass(frozen=True)
class Mutant:
    """One piece of text and what stands there instead."""

    file: str
    before: str
    after: str
    test: str
    """What must fail."""
    says: str = ""
    """What it has to say then."""
    needs: str = ""
    """A module that it is about, which need not be installed."""


MUTANTS = {
    "absences of one step told apart": Mutant(
        "memdb/engine/standing_follower.py",
        "            told[-1] = replace(told[-1], cursor=self.cursor.text(view.state.id_key))\n",
        "            whole = self.cursor.text(view.state.id_key)\n"
        "            told = [replace(one, cursor=whole) for one in told]\n",
        "tests/unit/engine/test_standing.py::test_from_every_cursor_the_rest_is_told",
    ),
    "product of matrices believed": Mutant(
        "memdb/engine/standing_questions.py",
        "        scores = exact_scores(vector_of(partition, row), self.matrix, candidates)\n",
        "        scores = self.matrix[candidates] @ vector_of(partition, row)\n",
        "tests/unit/engine/test_standing_score.py::test_a_threshold_taken_from_a_score_means_the_same_in_both",
    ),
    "sync off": Mutant(
        "memdb/store/opening.py",
        "            readahead=True,\n",
        "            readahead=True,\n            sync=False,\n",
        "tests/crash/test_syncs.py",
        says="the commit was not synced before it was acknowledged",
    ),
    "acknowledged before the commit": Mutant(
        "memdb/store/environment.py",
        "        self._writes.write_ready("
        "ready, change, bytes_hint, committing, refused, gives_up=gives_up)\n",
        "        later = lambda: self._writes.write_ready(\n"
        "            ready, change, bytes_hint, _nothing, refused, gives_up=gives_up\n"
        "        )\n"
        "        __import__('threading').Timer(0.2, later).start()\n"
        "        committing()\n",
        "tests/crash/test_syncs.py",
        says="the commit was not synced before it was acknowledged",
    ),
    "vector in a second transaction": Mutant(
        "memdb/store/environment.py",
        "        self._writes.write_ready("
        "ready, change, bytes_hint, committing, refused, gives_up=gives_up)\n",
        "        for vectors, told in ((False, _nothing), (True, committing)):\n"
        "            def put(txn):\n"
        "                for name, puts, _ in ready.tables:\n"
        "                    for key, value in puts.items() if (name == b'vectors') is vectors else ():\n"
        "                        txn.put(Table(name.decode()), key, value)\n"
        "                return True, None\n"
        "            self._writes.write(put, bytes_hint, told, gives_up=gives_up)\n",
        "tests/crash/test_embedded_kill.py::test_a_failpoint",
        says="has no global memory",
    ),
    "a number that is there taken for a new one": Mutant(
        "memdb/engine/reached.py",
        "        if seq <= newest:\n",
        "        if seq < newest:\n",
        "tests/unit/engine/test_reached.py",
    ),
    "checksum not checked": Mutant(
        "memdb/store/envelope.py",
        "            _xxh3(head[:_PREFIX_BYTES] + key + _packed(checksum)) == stated\n            and length",
        "            length",
        "tests/property/test_stored_bytes.py",
        says="DID NOT RAISE DataLoss",
    ),
    "checksums of values that are opened together not checked": Mutant(
        "memdb/store/opened.py",
        '        (heads["checksum"] == np.array(sums, np.uint64)).all()\n',
        "        True\n",
        "tests/unit/store/test_opened.py",
        says="DID NOT RAISE DataLoss",
    ),
    "checksum of short-term memory not checked": Mutant(
        "memdb/store/clips.py",
        "    elif xxhash.xxh3_64_intdigest(stored) != description.checksum:\n",
        "    elif False:\n",
        "tests/unit/engine/test_quarantine.py",
    ),
    "checksum of short-term memory that was read before not checked": Mutant(
        "memdb/store/clips.py",
        "    if xxhash.xxh3_64_intdigest(payload) != checksum:\n",
        "    if False:\n",
        "tests/unit/engine/test_clip_cache.py",
        says="DID NOT RAISE DataLoss",
    ),
    "relevance of the best scores alone": Mutant(
        "memdb/engine/relevance.py",
        "    if not best_first or passed.all() or len(rows) < limit:\n",
        "    if True:\n",
        "tests/unit/engine/test_relevance.py",
    ),
    "clocks that are never changed": Mutant(
        "memdb/types/local_time.py",
        "        if after == offset:\n",
        "        if True:\n",
        "tests/property/test_calendar.py",
    ),
    "no rename at creation": Mutant(
        "memdb/store/creation.py",
        '    temporary = parent / f".new-{path.name}-{secrets.token_hex(4)}"\n',
        "    temporary = path\n",
        "tests/crash/test_syncs.py",
        says="MISSING: a table is missing",
    ),
    "size limit trusted": Mutant(
        "memdb/codecs/frames.py",
        "    if header.content_size != size:\n",
        "    if False:\n",
        "tests/property/test_tensors.py",
        says="MemoryError",
    ),
    "tenant check skipped": Mutant(
        "memdb/store/idents.py",
        "        not hmac.compare_digest("
        "check, blake2b(body, key=key, digest_size=_CHECK_BYTES).digest())\n"
        "        or body[0] != kind\n",
        "        body[0] != kind\n",
        "tests/property/test_stored_bytes.py",
        says="test_an_id_gives_back_its_number_to_its_user_only",
    ),
    "erased pages kept": Mutant(
        "memdb/store/compact.py",
        "    new.rename(old)\n",
        "    new.unlink()\n",
        "tests/crash/test_erase.py::test_erased_markers_are_in_no_file",
    ),
    "a backup acknowledged before its name is durable": Mutant(
        "memdb/store/appearing.py",
        "        sync_directory(target.parent)\n    except OSError as error:\n        # Power",
        "        pass\n    except OSError as error:\n        # Power",
        "tests/crash/test_power_loss.py::test_what_was_acknowledged_outlives_power_loss",
        says="archive a0 is gone",
    ),
    "wall clock believed": Mutant(
        "memdb/engine/retention_clock.py",
        "            reach_ns = state.sweep_ns + self._allowed(state.user, steady_ns)\n",
        "            reach_ns = wall_ns\n",
        "tests/unit/engine/test_retention_clock.py",
    ),
    "differences told at once": Mutant(
        "memdb/engine/verify.py",
        "    with memory.held_back(), memory.environment.read() as txn:\n",
        "    with memory.environment.read() as txn:\n",
        "tests/unit/engine/test_verify.py::test_a_commit_that_is_not_shown_yet_is_no_difference",
    ),
    "removed clips still in hours and days": Mutant(
        "memdb/engine/pyramid.py",
        "            if len(gone):\n",
        "            if False:\n",
        "tests/unit/engine/test_pyramid.py",
    ),
    "a user never renewed": Mutant(
        "memdb/engine/commits.py",
        "            if not self._is_renewed:\n",
        "            if False:\n",
        "tests/compat/test_renewal.py",
    ),
    "content of a kept row not compared": Mutant(
        "memdb/engine/space_rows.py",
        "        same = self._content[theirs] == block.content[mine]\n",
        "        same = np.ones(len(mine), bool)\n",
        "tests/crash/test_checkpoint_damage.py",
    ),
    "blocks of a checkpoint not checked": Mutant(
        "memdb/index/checkpoint_reader.py",
        "        checksum.update(view)\n    if checksum.intdigest() != part.checksum:\n",
        "        checksum.update(view)\n    if False:\n",
        "tests/crash/test_checkpoint_damage.py",
    ),
    "blocks of a checkpoint that answers early not checked": Mutant(
        "memdb/index/checked_file.py",
        "        if found != part.checksum:\n",
        "        if False:\n",
        "tests/crash/test_checkpoint_damage.py",
    ),
    "lists of other rows used": Mutant(
        "memdb/engine/space_rows.py",
        "        learned: KeptLearned | None = None\n",
        "        learned: KeptLearned | None = kept and kept.learned\n",
        "tests/crash/test_lists_damage.py",
    ),
    "structure not looked at": Mutant(
        "memdb/store/structure.py",
        "    if found:\n",
        "    if False:\n",
        # Damage at random makes a process die in one case of ten: not in each quick tier.
        "tests/unit/store/test_structure.py",
    ),
    "what lies ready never taken back": Mutant(
        "memdb/engine/memory.py",
        "        lent, self._lent = self._lent, {}\n",
        "        lent, self._lent = {}, {}\n",
        "tests/unit/server/test_shelf_lent.py",
        needs="memdb_edge",
    ),
    "lent of another view": Mutant(
        "memdb/engine/memory.py",
        "                or self.view is not view\n",
        "",
        "tests/unit/server/test_shelf_lent.py",
        needs="memdb_edge",
    ),
}


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all mutants: the libraries, and what no mutant changes, are compiled once."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source, in which one mutant after the other has its turn."""
    source = tmp_path_factory.mktemp("source")
    for folder in ("memdb", "clients", "tests"):
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", source)
    return source


@pytest.fixture(scope="module")
def environment(source: Path, bytecode: Path) -> dict[str, str]:
    """Of a run: sizes of the quick tier, whatever this run's are."""
    return {
        **{name: text for name, text in os.environ.items() if not name.startswith("MEMDB_")},
        "PYTHONPATH": f"{source}:{source / 'clients' / 'python'}",
        "PYTEST_ADDOPTS": "",
        "MEMDB_CRASH_SEED": str(DRAWN_FROM),
        # Each process that the test starts takes what the first has compiled.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(bytecode),
    }


@pytest.fixture(scope="module")
def nursery(source: Path, environment: dict[str, str]) -> socket.socket:
    """Where runs come from."""
    return nursery_of("tests.crash.mutant_nursery", folder=source, **environment)


@contextmanager
def mutated(name: str, source: Path) -> Iterator[None]:
    """The source with one piece of text replaced, for as long."""
    mutant = MUTANTS[name]
    path = source / mutant.file
    text, times = path.read_text("utf-8"), path.stat()
    assert text.count(mutant.before) == 1, "the text to replace is no more there: mend the mutant"
    wrong = text.replace(mutant.before, mutant.after)
    compile(wrong, mutant.file, "exec")  # or whatever loads it fails, and nothing was noticed
    path.write_text(wrong, "utf-8")
    # Bytecode is told apart by seconds and size: each mutant of a file has a second of its own.
    second_ns = times.st_mtime_ns + (1 + list(MUTANTS).index(name)) * 10**9
    os.utime(path, ns=(second_ns, second_ns))
    try:
        yield
    finally:
        path.write_text(text, "utf-8")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        # What failed for this mutant is not asked of the next one first.
        shutil.rmtree(source / ".hypothesis", ignore_errors=True)


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.timeout(15 * CAUGHT_WITHIN_S)
def test_a_mutant_is_caught(
    name: str,
    source: Path,
    environment: dict[str, str],
    nursery: socket.socket,
    report: Callable[[str], None],
) -> None:
    mutant = MUTANTS[name]
    if mutant.needs:
        pytest.importorskip(mutant.needs)
    begin = time.monotonic()
    with mutated(name, source):
        run = ForkedCommand(
            "pytest",
            # Each time the same cases: whether a mutant is caught is no matter of luck.
            *(*ARGUMENTS, f"--hypothesis-seed={DRAWN_FROM}", mutant.test),
            folder=source,
            environment=environment,
            nursery=nursery,
        )
        try:
            shown, _ = run.communicate(10 * CAUGHT_WITHIN_S)
        finally:
            run.kill()
    passed, spent = time.monotonic() - begin, run.processor_s
    # 1: tests were run and some failed.
    assert run.wait() == 1, f"not caught by {mutant.test}:\n{shown[-2000:]}"
    assert mutant.says in shown, f"caught, but not for what it does:\n{shown[-2000:]}"
    if mutant.test.startswith("tests/crash/"):
        assert f"again: MEMDB_CRASH_SEED={DRAWN_FROM} " in shown, "nobody could run it again"
    report(f"mutant {name}: caught by {mutant.test} in {passed:.0f} s, {spent:.0f} of a core")
    assert spent < CAUGHT_WITHIN_S
