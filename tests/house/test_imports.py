"""What importing a package loads: no engine before it is asked for, and never a model."""

import subprocess
import sys

import pytest

MODELS = {
    "torch",
    "torchvision",
    "transformers",
    "open_clip",
    "onnxruntime",
    "faster_whisper",
    "av",
}
LOADED = "import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


def loaded_by(module: str) -> set[str]:
    """The top-level modules present in a fresh interpreter after `import module`."""
    output = subprocess.run(
        [sys.executable, "-c", LOADED.format(module=module)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    return set(output.split())


NEVER_LOADED = {
    "memdb": {"numpy", "lmdb", "faiss", "grpc", "google"} | MODELS,
    "memdb_client": {"lmdb", "faiss"} | MODELS,
    # The extra `export` brings none of them, and with a server it needs none.
    "memdb.portable.exporter": {"lmdb", "faiss", "msgspec", "Stemmer"} | MODELS,
    "memdb.portable.importer": {"lmdb", "faiss", "msgspec", "Stemmer"} | MODELS,
    # A process that a restore starts: numpy was most of its start.
    "memdb.store.assembly": {"numpy", "faiss", "grpc"} | MODELS,
    # What a command imports at its top is imported before it can be interrupted quietly.
    "memdb.cli.main": {"numpy", "lmdb", "faiss", "grpc"} | MODELS,
    "perception.cli": {"numpy", "memdb_client"} | MODELS,
    "reasoner.cli": {"numpy", "memdb_client", "perception"} | MODELS,
}


@pytest.mark.parametrize("module", NEVER_LOADED)
def test_importing_stays_light(module: str) -> None:
    assert loaded_by(module) & NEVER_LOADED[module] == set()


def test_a_server_starts_without_what_only_reflection_needs() -> None:
    output = subprocess.run(
        [sys.executable, "-c", "import sys, memdb.server.app; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout

    # grpc itself imports the packages `grpc_reflection` and `google.protobuf`, which are next to nothing.
    assert {"grpc_reflection.v1alpha", "google.protobuf.descriptor_pb2"}.isdisjoint(output.split())
