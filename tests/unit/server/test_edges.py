"""Which edge a server has, and why it has no native one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memdb import FailedPrecondition, native
from memdb.config import ServerConfig
from memdb.server.edges import check_edge, why_python
from tests.both_edges import NEEDS_NATIVE


@pytest.fixture
def _of_another_release(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    native.why_absent.cache_clear()
    monkeypatch.setattr(native, "INTERFACE", 0)
    yield
    native.why_absent.cache_clear()


@NEEDS_NATIVE
def test_whoever_may_have_it_is_told_why_not() -> None:
    assert why_python(ServerConfig()) is None
    for edge in ("native", "python"):
        assert why_python(ServerConfig(edge=edge)) is None
    for config, why in (
        (ServerConfig(reflection=True), "reflection"),
        (ServerConfig(tls_cert="c", tls_key="k"), "TLS"),
    ):
        assert why in str(why_python(config))


@NEEDS_NATIVE
@pytest.mark.usefixtures("_of_another_release")
def test_one_of_another_release_is_told_as_that() -> None:
    assert "another release" in str(why_python(ServerConfig()))
    check_edge(ServerConfig())
    with pytest.raises(FailedPrecondition, match="another release") as refused:
        check_edge(ServerConfig(edge="native"))
    assert (refused.value.reason, refused.value.field) == ("NO_NATIVE_EDGE", "server.edge")
