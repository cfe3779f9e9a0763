"""The language model's client against a real HTTP peer: the request, the answer, every failure."""

from __future__ import annotations

import socket

import pytest

from memdb import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    MemdbError,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from reasoner.models.openai import OpenAIModel
from tests.unit.reasoner.chat_peer import ChatPeer

CHAT = [{"role": "system", "content": "rules"}, {"role": "user", "content": "evidence, question"}]


def test_the_chat_goes_out_as_it_is_and_the_text_comes_back() -> None:
    with (
        ChatPeer(reply="  On the yard camera [1].\n") as peer,
        OpenAIModel(peer.url, "small", key="secret") as model,
    ):
        assert model.complete(CHAT) == "On the yard camera [1]."
    (request,) = peer.requests
    assert request["path"] == "/v1/chat/completions"
    assert (request["model"], request["messages"]) == ("small", CHAT)
    assert request["temperature"] == 0.0
    assert peer.headers[0]["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, InvalidArgument, "LLM_REFUSED"),
        (401, Unauthenticated, "LLM_UNAUTHENTICATED"),
        (403, PermissionDenied, "LLM_PERMISSION_DENIED"),
        (404, NotFound, "LLM_NOT_FOUND"),
        (429, ResourceExhausted, "LLM_OVERLOADED"),
        (500, Unavailable, "LLM_UNAVAILABLE"),
        (503, Unavailable, "LLM_UNAVAILABLE"),
    ],
)
def test_a_refusal_is_a_typed_error(status: int, kind: type[MemdbError], reason: str) -> None:
    with ChatPeer(status=status) as peer, OpenAIModel(peer.url, "small") as model:
        with pytest.raises(kind) as caught:
            model.complete(CHAT)
        assert (caught.value.reason, caught.value.field) == (reason, "llm")
        assert caught.value.value == peer.url


def test_no_answer_in_time() -> None:
    with ChatPeer(delay_s=30) as peer, OpenAIModel(peer.url, "small", timeout_s=0.2) as model:
        with pytest.raises(DeadlineExceeded) as caught:
            model.complete(CHAT)
        assert caught.value.reason == "LLM_TIMEOUT"


def test_an_answer_that_comes_byte_by_byte_is_not_waited_for_without_end() -> None:
    # Each byte comes in time, the whole would take half a minute.
    with (
        ChatPeer(byte_every_s=0.1) as peer,
        OpenAIModel(peer.url, "small", timeout_s=0.5) as model,
        pytest.raises(DeadlineExceeded, match=r"no whole answer in 0\.5 s"),
    ):
        model.complete(CHAT)


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused, and nobody else can take it
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with OpenAIModel(url, "small", timeout_s=5) as model:
            with pytest.raises(Unavailable) as caught:
                model.complete(CHAT)
            assert caught.value.reason == "LLM_UNAVAILABLE"


@pytest.mark.parametrize(
    "raw",
    [b"<html>a proxy</html>", b"", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b"[1, 2]"],
    ids=["html", "empty", "no choices", "none chosen", "no message", "a list"],
)
def test_an_answer_of_another_shape(raw: bytes) -> None:
    with ChatPeer(raw=raw) as peer, OpenAIModel(peer.url, "small") as model:
        with pytest.raises(FailedPrecondition) as caught:
            model.complete(CHAT)
        assert caught.value.reason == "LLM_ANSWER"


@pytest.mark.parametrize("reply", [None, "", "  \n"])
def test_an_answer_without_text(reply: str | None) -> None:
    with (
        ChatPeer(reply=reply) as peer,
        OpenAIModel(peer.url, "small") as model,
        pytest.raises(FailedPrecondition, match="LLM_ANSWER"),
    ):
        model.complete(CHAT)


@pytest.mark.parametrize(
    ("url", "name", "timeout_s", "field"),
    [
        ("ftp://host/v1", "small", 1.0, "llm"),
        ("", "small", 1.0, "llm"),
        ("http://host/v1", "", 1.0, "model"),
        ("http://host/v1", "small", 0.0, "llm_timeout_s"),
        ("http://host/v1", "small", float("nan"), "llm_timeout_s"),
        ("http://host/v1", "small", float("inf"), "llm_timeout_s"),  # no thread waits so long
    ],
)
def test_bad_options_name_themselves(url: str, name: str, timeout_s: float, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        OpenAIModel(url, name, timeout_s=timeout_s)
    assert caught.value.field == field
