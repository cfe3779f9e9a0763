"""The generator of the sync twins."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[3] / "clients" / "python" / "tools" / "unasync.py"


@pytest.fixture(scope="module")
def unasync() -> ModuleType:
    spec = importlib.util.spec_from_file_location("unasync", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("source", "twin"),
    [
        ("async def f():\n    return await g()\n", "def f():\n    return g()\n"),
        ("async with a as b, c:\n    pass\n", "with a as b, c:\n    pass\n"),
        ("x = [y async for y in z]\n", "x = [y for y in z]\n"),
        ("from p._async_user import AsyncUser\n", "from p._user import User\n"),
        ("class _AsyncCall: ...\n", "class _Call: ...\n"),
        ("import grpc.aio\n", "import grpc\n"),
        ("grpc.aio.Channel, other.aio\n", "grpc.Channel, other.aio\n"),
        ("from m import _acompat as compat\n", "from m import _compat as compat\n"),
        ("async def __aenter__(self): ...\n", "def __enter__(self): ...\n"),
        ("raise StopAsyncIteration\n", "raise StopIteration\n"),
        (
            '"""Prose may await; `AsyncUser` is code."""\n',
            '"""Prose may await; `User` is code."""\n',
        ),
        ("a = 1  # async only\nb = 2\n", "b = 2\n"),
        ("if a:\n    # sync: a.open()\n    b = 2\n", "if a:\n    a.open()\n    b = 2\n"),
        ("f(\n    await g(\n        1,\n    ),\n)\n", "f(\n    g(\n        1,\n    ),\n)\n"),
    ],
)
def test_rule(unasync: ModuleType, source: str, twin: str) -> None:
    assert unasync.to_sync(source) == twin


def test_twins_are_what_their_sources_give(unasync: ModuleType) -> None:
    sources = sorted(unasync.PACKAGE.glob("_async_*.py"))
    assert len(sources) == 17
    stale = [
        s.name for s in sources if unasync.twin_of(s).read_text("utf-8") != unasync.generate(s)
    ]
    assert stale == []


def test_the_hand_written_pair_has_the_same_names(unasync: ModuleType) -> None:
    from memdb_client import _acompat, _compat

    def names(module: ModuleType) -> set[str]:
        return {
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", module.__name__) == module.__name__
            and not name.startswith("_")
        } - {"annotations", "TypeAlias"}

    assert {"CANCELLED", "Condition", "is_cancelling", "join", "open_channel", "spawn"} <= names(
        _acompat
    )
    skip = {"asyncio", "threading", "time", "grpc", "CHANNEL_OPTIONS"}
    assert names(_acompat) - skip == names(_compat) - skip
