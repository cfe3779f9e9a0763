"""A peer that speaks the OpenAI chat-completions protocol over real HTTP on loopback.

It is no language model: it answers what it was told to, so that the client, the prompt and the
errors can be checked byte for byte and without weights.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass
class ChatPeer:
    """One endpoint; the fields say how it answers."""

    reply: str | None = "[1] says so."
    status: int = 200
    raw: bytes | None = None
    """Sent instead of a completion."""
    delay_s: float = 0.0
    byte_every_s: float = 0.0
    """Where it is more than 0 the answer comes a byte at a time."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._ending = threading.Event()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                peer.requests.append({"path": self.path, **json.loads(body)})
                peer.headers.append({name.lower(): text for name, text in self.headers.items()})
                peer._ending.wait(peer.delay_s)
                payload = peer.raw if peer.raw is not None else peer._completion()
                try:
                    self.send_response(peer.status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(payload)))
                    self.end_headers()
                    for piece in peer._pieces(payload):
                        self.wfile.write(piece)
                except OSError:
                    pass  # the client gave up, as the timeout test wants

            def log_message(self, format: str, *args: object) -> None:
                """Silence: the tests print for themselves."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Base of the API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def _pieces(self, payload: bytes) -> Iterator[bytes]:
        if not self.byte_every_s:
            yield payload
            return
        for byte in payload:
            yield bytes([byte])
            if self._ending.wait(self.byte_every_s):
                return

    def _completion(self) -> bytes:
        if self.status >= 400:
            return json.dumps({"error": {"message": "as told", "type": "test"}}).encode()
        message = {"role": "assistant", "content": self.reply}
        completion = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": "peer",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        return json.dumps(completion).encode()
