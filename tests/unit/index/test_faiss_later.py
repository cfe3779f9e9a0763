"""FAISS is loaded when it is first asked for something, and no later than that it is missing is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import faiss
import pytest

from memdb.index import faiss_later, kernel
from tests.both_edges import NEEDS_NATIVE


def told(code: str) -> str:
    """What a program of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    return done.stdout


def test_what_it_has_is_faiss_own() -> None:
    assert faiss_later.fvec_inner_products_ny is faiss.fvec_inner_products_ny
    assert "fvec_inner_products_ny" in vars(faiss_later), "asked for once"
    assert Path(faiss.__file__).parent == faiss_later.FOLDER
    with pytest.raises(AttributeError):
        _ = faiss_later.no_such_function


def test_an_open_database_needs_none_before_the_first_question(tmp_path: Path) -> None:
    assert told(f"""
import sys
import numpy as np
import memdb
with memdb.open({str(tmp_path)!r}) as db:
    db.create_space("s", dim=4)
    cam = db.user("u").stream("cam", space="s")
    cam.write(memdb.Clip(seq=0, start_ns=0, end_ns=1, global_memory=np.ones(4, np.float32)))
with memdb.open({str(tmp_path)!r}) as db:
    before = "faiss" in sys.modules
    found = len(db.user("u").ground(np.ones(4, np.float32)))
    print(before, found, "faiss" in sys.modules)
""").split() == ["False", "1", "True"]


@NEEDS_NATIVE
def test_a_server_is_put_together_without_its_python(tmp_path: Path) -> None:
    """Nor that of gRPC."""
    assert told(f"""
import sys
from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.server.app import Server
with EmbeddedDatabase({str(tmp_path)!r}) as db:
    server = Server(db, ServerConfig(edge="native"))
    print(server.edge, "faiss" in sys.modules, "grpc" in sys.modules)
""").split() == ["native", "False", "False"]


def test_an_import_from_it_is_no_question() -> None:
    """Python asks a module that something is imported from whether it has parts."""
    assert told("""
import sys
from memdb.index.faiss_later import FOLDER
print("faiss" in sys.modules, hasattr(sys.modules["memdb.index.faiss_later"], "__path__"))
""").split() == ["False", "False"]


def test_one_that_is_missing_is_told_before_there_is_a_question() -> None:
    assert "No module named 'faiss'" in told("""
import sys
sys.modules["faiss"] = None
try:
    import memdb.engine.database
except ModuleNotFoundError as error:
    assert error.name == "faiss"
    print(error)
""")


def test_the_function_is_that_of_the_faiss_that_python_loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = kernel.inner_products_address()
    assert address is not None
    # Where there are several libraries, or none: what the process has loaded.
    package = faiss_later.FOLDER
    for names in ((), ("libfaiss_one.so", "libfaiss_two.so")):
        folder = tmp_path / str(len(names)) / "faiss"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()

        class Folder:
            """Lists those, and is where FAISS is."""

            parent = package.parent

            def glob(self, pattern: str, folder: Path = folder) -> list[Path]:
                return list(folder.glob(pattern))

        monkeypatch.setattr(faiss_later, "FOLDER", Folder())
        assert kernel.inner_products_address() == address
