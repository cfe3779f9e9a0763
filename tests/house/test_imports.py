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


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("memdb", {"lmdb", "faiss", "grpc", "google"} | MODELS),
        ("memdb_client", {"lmdb", "faiss"} | MODELS),
        ("memdb.cli.main", {"lmdb", "faiss", "grpc"} | MODELS),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_importing_stays_light(module: str, never: set[str]) -> None:
    assert loaded_by(module) & never == set()
