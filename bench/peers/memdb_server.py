"""memdb over gRPC (`memdb serve`), and beside it an echo that carries as many bytes there and back."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing
from typing import Any, ClassVar

import grpc

import memdb_client
from bench.peers.memdb_clips import LIGHT, MemdbClips
from bench.peers.peer import ServerPeer
from bench.peers.process import Child
from bench.peers.rows import LIMIT, Question
from memdb.wire.grounding import ground_request, grounding_to_proto

_ECHO = "/bench.Echo/Echo"


class MemdbServer(MemdbClips, ServerPeer):
    """A thousand users."""

    title = "memdb over gRPC"
    form = "server"
    kinds: ClassVar[tuple[str, ...]] = ("user", "user_time", "echo")
    _echo: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.run(self._command())

    def stand_by(self) -> bool:
        log = self.folder.with_suffix(".standby.log")
        self._standby = Child([*self._command(), "--standby"], log)
        self._standby.ready(lambda: '"read ahead"' in log.read_text("utf-8"))
        return True

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "memdb.cli.main", "serve"),
            *("--data", str(self.folder / "data"), "--listen", f"127.0.0.1:{self.port}"),
        ]

    def answers(self) -> bool:
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=1)):
            return True

    def database(self) -> Any:
        return memdb_client.connect(f"127.0.0.1:{self.port}")

    def before_questions(self, connection: Any, question: Question) -> None:
        user = connection[0].user(self.owner(question))
        answer = user.ground(question.vector, limit=LIMIT, **LIGHT)
        request = ground_request(user.id, question.vector, limit=LIMIT, **LIGHT)
        self.settings["request_bytes"] = request.ByteSize()
        self.settings["answer_bytes"] = grounding_to_proto(answer).ByteSize()
        self._echo = subprocess.Popen(
            [sys.executable, "-m", "bench.limits", str(self.settings["answer_bytes"])],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._echo.stdout is not None
        self.settings["echo_port"] = int(self._echo.stdout.readline())

    def after_questions(self) -> None:
        if self._echo is not None:
            self._echo.kill()
            self._echo.communicate()
            self._echo = None

    def ask(self, connection: Any, question: Question) -> list[int]:
        if question.kind != "echo":
            return super().ask(connection, question)
        known = connection[1]
        if "echo" not in known:
            channel = grpc.insecure_channel(f"127.0.0.1:{self.settings['echo_port']}")
            known["channel"], known["echo"] = channel, channel.unary_unary(_ECHO)
            known["request"] = b"\x5a" * self.settings["request_bytes"]
        known["echo"](known["request"], wait_for_ready=True)
        return []

    def disconnect(self, connection: Any) -> None:
        if "channel" in connection[1]:
            connection[1]["channel"].close()
        super().disconnect(connection)


class MemdbServerBig(MemdbServer):
    """One user who has everything."""

    title = "memdb over gRPC, one big user"
    kinds = ("big", "echo")
    tensors = False  # as those of `MemdbServer`
    big = True
