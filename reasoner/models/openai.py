"""Any endpoint that speaks the OpenAI chat-completions protocol, through the official client.

Failures become memdb's own errors (``field`` is ``llm``):

    no connection, a 5xx answer   `Unavailable`          ``LLM_UNAVAILABLE``
    no whole answer in time       `DeadlineExceeded`     ``LLM_TIMEOUT``
    401                           `Unauthenticated`      ``LLM_UNAUTHENTICATED``
    403                           `PermissionDenied`     ``LLM_PERMISSION_DENIED``
    404                           `NotFound`             ``LLM_NOT_FOUND``
    429                           `ResourceExhausted`    ``LLM_OVERLOADED``
    any other 4xx                 `InvalidArgument`      ``LLM_REFUSED``
    an answer without text        `FailedPrecondition`   ``LLM_ANSWER``
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Self, cast

import openai

from memdb.errors import (
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
from memdb.types.checks import check_number

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

ANSWER_TOKENS_MAX: Final = 300
TIMEOUT_S_MAX: Final = 30 * 86_400.0
"""As of calls to memdb; what waits for a thread counts no time without end."""
RETRIES_MAX: Final = 1
KEY_VARIABLE: Final = "OPENAI_API_KEY"
_NO_KEY: Final = "none"
"""The client wants a key; local endpoints want none and ignore this one."""


class OpenAIModel:
    """A chat model behind a URL."""

    def __init__(
        self, url: str, model: str, *, timeout_s: float = 60.0, key: str | None = None
    ) -> None:
        """``url`` is the base of the API, usually ending in ``/v1``; ``timeout_s`` is for a whole answer, tried
        again or not; ``key`` defaults to ``$OPENAI_API_KEY``.

        Raises `InvalidArgument` for a URL that is not http(s), an empty model name or a timeout
        that is not above 0 and at most 30 days.
        """
        if not url.startswith(("http://", "https://")):
            raise InvalidArgument("an http or https URL", reason="BAD_URL", field="llm", value=url)
        if not model:
            raise InvalidArgument("the endpoint needs a model name", reason="EMPTY", field="model")
        check_number(timeout_s, "llm_timeout_s", 0.0, TIMEOUT_S_MAX, above=True)
        self.name = model
        self._url = url
        self._timeout_s = timeout_s
        self._client = openai.OpenAI(
            base_url=url,
            api_key=key or os.environ.get(KEY_VARIABLE) or _NO_KEY,
            timeout=timeout_s,
            max_retries=RETRIES_MAX,
        )

    def complete(self, messages: Sequence[dict[str, str]]) -> str:
        """The model's answer to a chat, without surrounding space.  Raises as the module says."""
        # In a thread: the client's own timeout is for each read, so that an endpoint that sends a byte now and
        # then, as one does that is overloaded, would be waited for without end.
        outcome: queue.SimpleQueue[str | BaseException] = queue.SimpleQueue()

        def ask() -> None:
            try:
                outcome.put(self._complete(messages))
            except BaseException as error:
                outcome.put(error)

        threading.Thread(target=ask, name="language-model", daemon=True).start()
        try:
            answer = outcome.get(timeout=self._timeout_s)
        except queue.Empty:
            raise self._too_late() from None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _complete(self, messages: Sequence[dict[str, str]]) -> str:
        try:
            completion = self._client.chat.completions.create(
                model=self.name,
                messages=cast("list[ChatCompletionMessageParam]", list(messages)),
                temperature=0.0,
                max_tokens=ANSWER_TOKENS_MAX,
            )
        except openai.APITimeoutError as error:
            raise self._too_late() from error
        except openai.APIStatusError as error:
            raise self._refusal(error.status_code) from error
        except openai.APIConnectionError as error:
            raise Unavailable(
                "the language model cannot be reached",
                reason="LLM_UNAVAILABLE",
                field="llm",
                value=self._url,
            ) from error
        except (openai.APIError, ValueError) as error:
            # Not the protocol: for example HTML from a proxy, or JSON of another shape.
            raise self._no_answer() from error
        # The client does not check the shape of what it received, so an endpoint can leave any of
        # it out.
        choices = getattr(completion, "choices", None)
        text = choices[0].message.content if choices and choices[0].message else None
        if not isinstance(text, str) or not text.strip():
            raise self._no_answer()
        return text.strip()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _refusal(self, status: int) -> MemdbError:
        kind, reason = {
            401: (Unauthenticated, "LLM_UNAUTHENTICATED"),
            403: (PermissionDenied, "LLM_PERMISSION_DENIED"),
            404: (NotFound, "LLM_NOT_FOUND"),
            408: (DeadlineExceeded, "LLM_TIMEOUT"),
            429: (ResourceExhausted, "LLM_OVERLOADED"),
        }.get(
            status,
            (Unavailable, "LLM_UNAVAILABLE") if status >= 500 else (InvalidArgument, "LLM_REFUSED"),
        )
        return kind(
            f"the language model answered HTTP {status}",
            reason=reason,
            field="llm",
            value=self._url,
        )

    def _too_late(self) -> MemdbError:
        return DeadlineExceeded(
            f"the language model gave no whole answer in {self._timeout_s:g} s",
            reason="LLM_TIMEOUT",
            field="llm",
            value=self._url,
        )

    def _no_answer(self) -> MemdbError:
        return FailedPrecondition(
            "the language model's answer has no text",
            reason="LLM_ANSWER",
            field="llm",
            value=self._url,
        )
