"""More facts, and more versions of one, than a message holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from memdb.engine.user import EmbeddedUser
from memdb.types.limits import MESSAGE_BYTES_MAX, TEXT_CHARS_MAX
from memdb.v1 import memory_service_pb2 as pb
from memdb.v1.types_pb2 import AsOf
from memdb_client import connect
from tests.e2e.serving import Served, error_of, serving

pytestmark = pytest.mark.e2e

COUNT = MESSAGE_BYTES_MAX // (3 * TEXT_CHARS_MAX) + 20
"""Texts of three bytes a character that do not fit together."""


def text(number: int) -> str:
    return f"{number} ".ljust(TEXT_CHARS_MAX, "漢")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("facts")
    with serving(folder / "db") as running:
        user: EmbeddedUser = running.database.user("u")
        for number in range(COUNT):
            user.remember(text(number))
            user.put("version", user.remember(text(number), key="one").id)
        yield running


def test_all_come_by_pages(served: Served) -> None:
    with connect(served.address) as db:
        user = db.user("u")
        facts = user.facts()
        assert sorted(fact.text for fact in facts) == sorted(
            [text(COUNT - 1), *map(text, range(COUNT))]
        )
        history = user.history(user.get("version"))
        assert [version.text for version in history] == list(map(text, range(COUNT)))
        assert [v.superseded_revision for v in history[:-1]] == [v.revision for v in history[1:]]


def test_who_does_not_ask_for_pages_is_told_that_it_is_too_much(served: Served) -> None:
    # Not a part, which a client that knows of none would take for the whole.
    fact_id = served.database.user("u").get("version")
    for call, request in (
        (served.memory.ListFacts, pb.ListFactsRequest(user="u")),
        (served.memory.GetHistory, pb.GetHistoryRequest(user="u", fact_id=fact_id)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=30)
        assert error_of(caught.value).reason == "MESSAGE_TOO_LARGE"
        request.limit = 5
        assert len(call(request, timeout=30).facts) == 5


def test_pages_fit_what_a_client_takes_by_default(served: Served) -> None:
    page = served.memory.ListFacts(pb.ListFactsRequest(user="u", paged=True), timeout=30)
    assert page.more
    assert page.ByteSize() < 4 * 1024 * 1024
    assert page.revision == served.database.user("u").revision()


def test_a_moment_is_named_once(served: Served) -> None:
    user = served.database.user("u")
    then = user.snapshot("speech").revision
    page = served.memory.ListFacts(
        pb.ListFactsRequest(user="u", paged=True, as_of=AsOf(snapshot="speech")), timeout=30
    )
    # A snapshot may be moved before the next page is asked for.
    assert page.revision == then
