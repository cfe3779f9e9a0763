"""What takes calls, in both kinds: for tests that run over each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from memdb.config import ServerConfig
from memdb.native import is_installed
from memdb.server.edge import Edge, Handler
from memdb.server.edges import make_edge

NEEDS_NATIVE = pytest.mark.skipif(not is_installed(), reason="the native edge is not installed")
KINDS = ["python", pytest.param("native", marks=NEEDS_NATIVE)]


def edge_of(kind: str, handlers: Sequence[Handler] = (), options: Any = ()) -> Edge:
    """An edge that is not bound yet."""
    return make_edge(ServerConfig(edge=kind), handlers, options, 100, (), None)
