"""Backup and restore killed at every durability step, and a server killed in the middle of a backup
under load: an archive or a directory is whole or absent, and what runs is none the worse.

``MEMDB_BACKUP_KILLS``: kills at any moment, of restores and of servers (default 4; `make crash`: 40).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memdb import DataLoss, FailedPrecondition, NotFound, Unavailable
from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.drill import drill
from memdb.engine.restore import restore, verify_archive
from memdb_client import connect
from tests.crash.checks import Tally, check_user
from tests.crash.conftest import SEED
from tests.crash.load import DIM, SPACE, STREAMS, Record, running, versions_of
from tests.crash.processes import Program, Server

pytestmark = pytest.mark.crash

USERS = ("alice", "bob")
BACKUP = "tests.crash.backup_child"
BACKUP_POINTS = (
    "backup.user_before",
    "backup.file_before_sync",
    "backup.file_after_sync",
    "backup.user_after",
    "backup.before_catalog",
    "backup.before_manifest",
    "backup.before_rename",
    "backup.after_rename",
)
RESTORE_POINTS = (
    "restore.user_before",
    "restore.after_copy",
    "restore.user_after",
    "restore.before_sync",
    "restore.before_rename",
    "restore.after_rename",
)
WORKER_POINTS = ("assembly.after_apply", "assembly.before_sync")
"""In the process that walks environments: its death is an answer, not a crash."""
PAGE = 4096
KILLS = int(os.environ.get("MEMDB_BACKUP_KILLS", "4"))
"""At any moment, of a server that backs up and of a restore."""
DAMAGES = max(100, int(os.environ.get("MEMDB_DAMAGES", "0")) // 10)
"""Of archives."""
HITS = (1,) if KILLS < 20 else (1, 2)
"""At which pass the process dies."""
CONFIG = EngineConfig(map_bytes_initial=1 << 20)


def write(db: EmbeddedDatabase, first: int) -> None:
    """Eight clips more for every user."""
    for name in USERS:
        clips = [c for n in range(8) for c in versions_of(name, STREAMS[0], first + n)]
        db.user(name).stream(STREAMS[0], space=SPACE).write_many(clips)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database and the archives ``a0`` and ``a1``, which builds upon it."""
    folder = tmp_path_factory.mktemp("chain")
    with EmbeddedDatabase(folder / "data", config=CONFIG, embed_texts=False) as db:
        db.create_space(SPACE, dim=DIM)
        write(db, 0)
        db.backup(folder / "a0")
        write(db, 8)
        db.backup(folder / "a1", parent=folder / "a0")
    return folder


def child(*arguments: object, point: str = "") -> int:
    """Run the program; its status."""
    with Program(BACKUP, *map(str, arguments), MEMDB_FAILPOINTS=point) as process:
        return process.process.wait(60)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.mark.parametrize("hit", HITS)
@pytest.mark.parametrize("point", BACKUP_POINTS)
def test_a_backup_killed_anywhere_is_whole_or_absent(
    chain: Path, directory: Path, point: str, hit: int
) -> None:
    shutil.copytree(chain, directory / "c")
    folder = directory / "c"
    with EmbeddedDatabase(folder / "data", config=CONFIG, embed_texts=False) as db:
        write(db, 16)
    happens_once = point.endswith(("catalog", "manifest", "rename"))
    status = child(
        "backup", folder / "data", folder / "a2", folder / "a1", point=f"{point}=exit@{hit}"
    )
    assert status == (0 if hit == 2 and happens_once else 137)
    if (folder / "a2").exists():
        assert verify_archive(folder / "a2").ok
    else:
        (left,) = names(folder) - {"data", "a0", "a1"}
        if point != "backup.before_rename":
            with pytest.raises(NotFound):  # without a manifest it is no archive
                restore(folder / left, folder / "copy")
    # Again, to another name: the remains are gone, and nothing was harmed.
    assert child("backup", folder / "data", folder / "a3", folder / "a1") == 0
    assert names(folder) <= {"data", "a0", "a1", "a2", "a3"}
    restore(folder / "a3", folder / "copy")
    with EmbeddedDatabase(folder / "data", config=CONFIG, embed_texts=False) as db:
        assert db.verify().ok
        assert drill(folder / "a3", db, scratch=directory, questions=4).ok


@pytest.mark.parametrize("point", RESTORE_POINTS + WORKER_POINTS)
def test_a_restore_killed_anywhere_is_whole_or_absent(
    chain: Path, directory: Path, point: str
) -> None:
    status = child("restore", chain / "a1", directory / "copy", point=f"{point}=exit")
    assert status == (1 if point in WORKER_POINTS else 137)
    if point == "restore.after_rename":
        assert names(directory) == {"copy"}
    else:
        assert not (directory / "copy").exists()
        assert child("restore", chain / "a1", directory / "copy") == 0
        assert names(directory) == {"copy"}  # the remains are gone
    with (
        EmbeddedDatabase(chain / "data", config=CONFIG, embed_texts=False) as live,
        EmbeddedDatabase(directory / "copy", config=CONFIG, embed_texts=False) as copy,
    ):
        assert copy.verify().ok
        assert [copy.user(u).revision() for u in USERS] == [live.user(u).revision() for u in USERS]


@pytest.mark.timeout(1800)
def test_a_restore_killed_at_any_moment(
    chain: Path, directory: Path, report: Callable[[str], None]
) -> None:
    chosen = random.Random(SEED)
    command = BACKUP, "restore", str(chain / "a1")
    with Program(*command, str(directory / "timed")) as process:
        process.line()
        whole_s = time.monotonic() - process.began_s
    died = 0
    for kill in range(KILLS):
        target = directory / f"copy{kill}"
        with Program(*command, str(target)) as process:
            try:
                status = process.process.wait(whole_s * chosen.random())
            except subprocess.TimeoutExpired:
                status = process.kill()
        died += status == -signal.SIGKILL
        if target.exists():
            with EmbeddedDatabase(target, config=CONFIG, embed_texts=False) as copy:
                assert copy.verify().ok
                assert copy.users() == sorted(USERS)
    restore(chain / "a1", directory / "last")
    with EmbeddedDatabase(directory / "last", config=CONFIG, embed_texts=False) as copy:
        assert copy.verify().ok
    report(f"restores killed at any moment: {died}, nothing half made")


def damage(folder: Path, chosen: random.Random) -> str:
    """Damage one file of the archives below ``folder``; what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = chosen.choice(files)
    content = bytearray(file.read_bytes())
    kind = chosen.choice(("bit", "page", "cut", "longer", "gone", "other file"))
    match kind:
        case "bit":
            content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
        case "page":
            begin = chosen.randrange(len(content)) // PAGE * PAGE
            content[begin : begin + PAGE] = chosen.randbytes(len(content[begin : begin + PAGE]))
        case "cut":
            del content[chosen.randrange(len(content)) :]
        case "longer":
            content += b"\0"
        case "other file":
            content = bytearray(chosen.choice(files).read_bytes())
    if kind == "gone":
        file.unlink()
    else:
        file.write_bytes(content)
    return f"{kind} in {file.relative_to(folder)}"


@pytest.mark.timeout(1800)
def test_a_damaged_archive_is_refused_before_anything_is_made(
    chain: Path, directory: Path, report: Callable[[str], None]
) -> None:
    chosen = random.Random(SEED)
    whole = {
        path.relative_to(chain): path.read_bytes()
        for name in ("a0", "a1")
        for path in (chain / name).rglob("*")
        if path.is_file()
    }
    for name in ("a0", "a1"):
        shutil.copytree(chain / name, directory / name)
    refused = 0
    for _ in range(DAMAGES):
        done = damage(directory, chosen)
        same = all(
            (directory / path).is_file() and (directory / path).read_bytes() == content
            for path, content in whole.items()
        )
        if not same:
            with pytest.raises((DataLoss, FailedPrecondition, NotFound)):
                restore(directory / "a1", directory / "copy")
            refused += 1
        assert names(directory) == {"a0", "a1"}, done
        for path, content in whole.items():
            if not (directory / path).is_file() or (directory / path).read_bytes() != content:
                (directory / path).write_bytes(content)
    assert refused > DAMAGES * 0.9
    restore(directory / "a1", directory / "copy")
    report(f"damaged archives: {refused} refused, none restored")


@pytest.mark.timeout(1800)
def test_a_server_killed_while_it_backs_up_under_load(
    directory: Path, report: Callable[[str], None]
) -> None:
    chosen = random.Random(SEED)
    data, socket, backups = directory / "data", directory / "s", directory / "backups"
    backups.mkdir()
    records = {name: Record(name) for name in USERS}
    made: list[str] = []
    """Archives whose backup returned, oldest first."""
    whole = killed = 0
    settings = {"MEMDB_SERVER__BACKUP_DIR": str(backups)}
    for cycle in range(KILLS):
        with Server(data, socket, **settings) as server, connect(server.address) as db:
            db.create_space(SPACE, dim=DIM)
            with running(db, USERS[0], records[USERS[0]]), running(db, USERS[1], records[USERS[1]]):
                until = threading.Timer(
                    chosen.uniform(0.1, 1.2), server.process.send_signal, [signal.SIGKILL]
                )
                if made:
                    until.start()
                try:
                    for step in range(1000):
                        name = f"c{cycle}-{step}"
                        db.backup(name, parent=made[-1] if made and step % 4 else None)
                        made.append(name)
                        if len(made) == 1:
                            # On a busy machine none may end before its server: there is one to go on from.
                            until.start()
                except Unavailable:
                    killed += 1
                until.join()
                db.close()  # ends the calls that would wait for the server to come back
    tally = Tally()
    for archive in sorted(path for path in backups.iterdir() if not path.name.startswith(".")):
        assert verify_archive(archive).ok
        whole += 1
    assert {path.name for path in backups.iterdir()} >= set(made)
    with EmbeddedDatabase(data, embed_texts=False) as db:
        for name in USERS:
            check_user(db, records[name], tally, SEED, fresh=set())
        db.backup(backups / "last", parent=backups / made[-1])
        assert not any(name.startswith(".") for name in names(backups))
        assert db.verify().ok
        assert drill(backups / "last", db, scratch=directory, questions=8).ok
    assert tally.faults == []
    report(f"backups under load: {killed} servers killed, {whole} archives, all of them whole")
