"""Every command that talks to a server can do so where it speaks TLS, and says in one line why it cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

import memdb_client
from memdb import Unavailable
from perception.cli import EXIT_UNAVAILABLE, EXIT_WEIGHTS
from perception.weights import fetch
from tests.forked.command import run_command
from tests.unit.perception.films import flat, write_film

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ASK: Final = ("reasoner.cli", "--user", "nobody", "--timeout", "5", "was there a cat?")
IMPORT: Final = ("perception.import_ixc", "--user", "a", "--stream", "door", "--space", "s")
USERS: Final = ("memdb.cli.main", "users")
MAKE: Final = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
    "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout {0}.key -out {0}.pem"
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificates with the openssl command")
    directory = tmp_path_factory.mktemp("tls")
    for name in ("ours", "other"):
        subprocess.run(MAKE.format(name).split(), cwd=directory, check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def address(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server that speaks TLS, and has no user yet."""
    command = (
        f"-m memdb.cli.main serve --data {tmp_path_factory.mktemp('served')} --listen localhost:0"
    )
    command += f" --tls-cert {certificates / 'ours.pem'} --tls-key {certificates / 'ours.key'}"
    server = subprocess.Popen([sys.executable, *command.split()], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    with server:
        port = json.loads(server.stdout.readline())["address"].rpartition(":")[2]
        yield f"localhost:{port}"
        server.terminate()


def run(module: str, *arguments: str, address: str) -> tuple[int, str]:
    """(exit status, stderr) of a command that an interpreter starts: gRPC is to say nothing of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--server", address],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    return done.returncode, done.stderr


def forked(module: str, *arguments: str | Path, address: str) -> tuple[int, str]:
    """The same of one that may load torch, and has no error to tell."""
    done = run_command(module, *arguments, "--server", address)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def memories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for `memdb-import-ixc`: two clips of a session."""
    torch = pytest.importorskip("torch", reason="the files are torch's")
    path: Path = tmp_path_factory.mktemp("ixc") / "temp_glb.pth"
    torch.save(torch.arange(1.0, 9.0).reshape(2, 4), path)
    return path


def test_asking_and_importing_over_tls(address: str, certificates: Path, memories: Path) -> None:
    try:
        fetch("minilm-l6-v2")  # or that is told as well
    except Unavailable as error:
        pytest.skip(f"the bundled weights cannot be fetched: {error}")
    trusted = ("--tls", str(certificates / "ours.pem"))
    assert run(*USERS, *trusted, address=address) == (0, "")
    # It was asked: the server says that there is no such user.
    status, told = forked(*ASK, *trusted, address=address)
    assert (status, told.count("\n")) == (1, 1)
    assert "USER_NOT_FOUND" in told
    assert forked(*IMPORT, memories, *trusted, address=address) == (0, "")


def test_a_camera_over_tls(address: str, certificates: Path, tmp_path: Path) -> None:
    film = write_film(tmp_path / "porch.mp4", [(flat(200, 30, 30), 4.0)])
    given = ("--user", "alice", "--camera", f"porch={film}", "--no-audio")
    status, told = forked(
        "perception.cli", *given, "--tls", str(certificates / "ours.pem"), address=address
    )
    if status == EXIT_WEIGHTS:
        pytest.skip("the bundled weights cannot be had here")
    assert status == 0, told
    with memdb_client.connect(address, tls=certificates / "ours.pem") as db:
        assert len(db.user("alice").clips(stream="porch")) == 1
    status, told = run("perception.cli", *given, address=address)
    assert (status, told.count("\n")) == (EXIT_UNAVAILABLE, 1)
    assert "--tls" in told


@pytest.mark.parametrize("command", [USERS, ASK], ids=["memdb", "memdb-ask"])
def test_without_it_one_line_names_the_option(
    command: tuple[str, ...], address: str, certificates: Path
) -> None:
    others = (("--tls", str(certificates / "other.pem")), ("--tls", "system"))
    # All at once: each waits for as long as a server is waited for.
    with ThreadPoolExecutor() as pool:
        plain = pool.submit(run, *command, address=address)
        of_others = [pool.submit(run, *command, *other, address=address) for other in others]
    status, told = plain.result()
    assert (status, told.count("\n")) == (1, 1)
    assert "it may speak TLS" in told
    assert "--tls" in told
    for one in of_others:
        status, told = one.result()
        assert (status, told.count("\n")) == (1, 1), told
        assert "may be of another authority" in told


def test_a_file_without_a_certificate_is_told_at_once(address: str, certificates: Path) -> None:
    for name in ("ours.key", "absent.pem"):
        status, told = run(*USERS, "--tls", str(certificates / name), address=address)
        assert (status, told.count("\n")) == (2, 1)
        assert "BAD_TLS" in told
