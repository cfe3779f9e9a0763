"""Ctrl-C while a command loads: exit status 130, and not a word."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from memdb.interrupts import INTERRUPTED, loading
from tests.e2e.test_server_process import command

pytestmark = pytest.mark.e2e

CHILD = """
import argparse, contextlib, json, os, pathlib, signal, sys, typing

class Interrupt:
    '''Interrupts this process when a module is looked for.'''
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from {cli} import main
sys.exit(main({arguments!r}))
"""
COMMANDS = {
    "memdb.cli.main": ["serve", "--data", "{data}", "--listen", "127.0.0.1:0"],
    "perception.cli": ["--server", "127.0.0.1:1", "--user", "a", "--camera", "a={data}"],
    "reasoner.cli": ["--server", "127.0.0.1:1", "--user", "a", "what?"],
}
COMMANDS["perception.import_ixc"] = [
    "{data}",
    *["--server", "x:1", "--user", "a", "--stream", "s", "--space", "s"],
]
NEEDS = {"perception.cli": ("onnxruntime", "av"), "reasoner.cli": ("torch",)}


@pytest.mark.parametrize(
    ("cli", "module"),
    [
        # In the order in which they are come by.
        *(
            ("memdb.cli.main", module)
            for module in (
                "memdb.cli.source",
                "numpy",
                "numpy._core._multiarray_umath",
                "google.protobuf.message",
                "lmdb",
                "memdb.server.app",
            )
        ),
        *(
            ("perception.cli", module)
            for module in (
                "memdb.errors",
                "numpy._core._multiarray_umath",
                "grpc._cython",
                # Makes an ImportError of an interrupt.
                "onnxruntime.capi.onnxruntime_pybind11_state",
                "perception.agent",
            )
        ),
        ("perception.import_ixc", "numpy"),
        *(("reasoner.cli", module) for module in ("memdb.errors", "numpy", "memdb_client")),
    ],
)
def test_an_interrupt_while_loading_is_quiet(cli: str, module: str, tmp_path: Path) -> None:
    for needed in NEEDS.get(cli, ()):
        pytest.importorskip(needed)
    arguments = [text.format(data=tmp_path / "data") for text in COMMANDS[cli]]
    child = CHILD.format(module=module, cli=cli, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "")
    assert not (tmp_path / "data").exists()


def test_an_interrupt_that_nobody_asked_for_is_let_be(tmp_path: Path) -> None:
    """As of a shell's background job, which is not to end with what runs before it."""
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$0" "$@"', *command("verify", tmp_path / "none")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    with loading():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    seen: list[object] = []

    def beside() -> None:
        with loading():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
