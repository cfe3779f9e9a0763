"""The engine's state machine over gRPC: a real `memdb serve` in a process of its own, which is stopped, and
killed between calls and in the middle of one, while its clock jumps by years; and whose plain questions are answered
without Python where it has the native edge.
"""

from __future__ import annotations

import contextlib
import copy
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from memdb import Ack, Clip, MemdbError, Unavailable
from memdb_client import connect
from tests.crash.file_clock import FileClock
from tests.crash.processes import ForkedServer, ServerNursery
from tests.e2e.ready import GROUND, for_python, plain
from tests.property.conftest import MACHINE_TIMEOUT_S, machine_settings
from tests.property.model import Content, Refused, Stored, named_vector
from tests.property.strategies import (
    EPOCH_NS,
    SPACES,
    STREAMS,
    contents,
    streams,
    times,
    users,
)
from tests.property.test_engine_machine import CONFIG, EngineMachine

pytestmark = [pytest.mark.property, pytest.mark.timeout(MACHINE_TIMEOUT_S)]

ENVIRONMENT = {
    f"MEMDB_ENGINE__{name.upper()}": str(getattr(CONFIG, name))
    for name in ("map_bytes_initial", "disk_free_bytes_min")
}
KILLED = -signal.SIGKILL
ASKED = 24
"""Times that a question is asked: after four the user is laid ready, in the background."""


class ServerMachine(EngineMachine):
    """`EngineMachine`, its database behind an address."""

    nursery: ServerNursery
    server: ForkedServer

    def _clock(self) -> Any:
        return FileClock(self.folder / "clock", EPOCH_NS)

    def _open(self) -> Any:
        self.server = ForkedServer(
            self.nursery,
            self.folder / "data",
            self.folder / "s",
            self.folder / "clock",
            MEMDB_ENGINE__OPEN_USERS_MAX=str(self.open_users_max),
            **ENVIRONMENT,
        )
        return connect(self.server.address)

    def _close(self) -> None:
        self.db.close()
        assert self.server.kill(signal.SIGTERM) == 0

    def _leave(self) -> None:
        # A stop in order is `reopen`'s; here it would only take its time.
        self.db.close()
        self.server.kill()

    def _write(
        self, user: str, stream: str, space: str, clips: list[tuple[int, int, Content]]
    ) -> list[Ack | MemdbError]:
        ahead = copy.deepcopy(self._model(user))
        if not any(
            isinstance(wanted, Refused)
            for wanted in ahead.write(stream, space, clips, self.clock.now_ns())
        ):
            return super()._write(user, stream, space, clips)
        # The client tells of the first that is refused, and nothing of the others.
        return [
            outcome
            for clip in clips
            for outcome in super(ServerMachine, self)._write(user, stream, space, [clip])
        ]

    def _send(
        self,
        user: str,
        stream: str,
        space: str,
        sent: list[Clip],
        wanted: list[Stored | Refused],
    ) -> list[Ack | MemdbError]:
        handle = self.db.user(user).stream(stream, space=space)
        try:
            return list(handle.write_many(sent)) if len(sent) > 1 else [handle.write(sent[0])]
        except Unavailable:
            raise
        except MemdbError as error:
            return [error]

    @rule()
    @precondition(lambda self: self._knows() != self._came_back)
    def kill(self) -> None:
        """All that was answered is there when it comes back."""
        before = self._answers()
        self.db.close()
        assert self.server.kill() == KILLED
        self._comes_up()
        assert self._answers() == before
        self._came_back = self._knows()

    @rule(
        user=users,
        stream=streams,
        seq=st.integers(0, 11),
        content=contents,
        after_us=st.integers(0, 3000),
    )
    @precondition(lambda self: bool(self.models))
    def kill_in_a_write(
        self, user: str, stream: str, seq: int, content: Content, after_us: int
    ) -> None:
        """Nobody knows whether it was written; sent again, it is there once."""
        model, space = self._model(user), STREAMS[stream]
        clip = content.clip(0, seq, SPACES[space])
        ahead = copy.deepcopy(model)
        (wanted,) = ahead.write(stream, space, [(0, seq, content)], self.clock.now_ns())
        if isinstance(wanted, Refused):
            if not model.revision:
                del self.models[user]  # nothing was written
            return
        told: list[Ack] = []
        handle = self.db.user(user).stream(stream, space=space)

        def write() -> None:
            with contextlib.suppress(Unavailable):
                told.append(handle.write(clip))

        writing = threading.Thread(target=write)
        writing.start()
        time.sleep(after_us / 1e6)
        self.server.kill()
        self.db.close()
        writing.join()
        self._comes_up()
        ack = self.db.user(user).stream(stream, space=space).write(clip)
        (stored,) = model.write(stream, space, [(0, seq, content)], self.clock.now_ns())
        assert isinstance(stored, Stored)
        assert ack.revision == stored.revision
        assert ack.duplicate or not (stored.duplicate or told)
        assert not told or (told[0].clip_id, told[0].revision) == (ack.clip_id, ack.revision)
        for version in model.history(stream, 0, seq):
            version.clip_id = ack.clip_id

    @rule(
        user=users,
        vector=st.integers(-6, 6),
        limit=st.sampled_from((1, 4, 32)),
        start=st.none() | times,
        chosen=st.sampled_from(([], ["porch"], ["yard", "porch"])),
        content=contents,
    )
    def ask_over_and_over(
        self,
        user: str,
        vector: int,
        limit: int,
        start: int | None,
        chosen: list[str],
        content: Content,
    ) -> None:
        """Whoever answers, the answer is the same bytes, or the same error."""
        seqs = [v.seq for v in self._model(user).versions if (v.stream, v.epoch) == ("porch", 0)]
        following = max(seqs, default=-1) + 1
        self._write(
            user, "porch", STREAMS["porch"], [(0, following, replace(content, sealed=True))]
        )
        feature = named_vector(vector, SPACES["cos"].dim).astype("float32")
        question = plain(user, feature, limit=limit, start_ns=start, streams=chosen)
        with grpc.insecure_channel(self.server.address) as channel:
            call: Any = channel.unary_unary(GROUND)

            def told(data: bytes) -> bytes:
                try:
                    return bytes(call(data, timeout=60))
                except grpc.RpcError as error:
                    failed: Any = error
                    return f"{failed.code()} {failed.details()}".encode()

            wanted = told(for_python(question))
            for _ in range(ASKED):
                assert told(question) == wanted
            assert told(for_python(question)) == wanted


@pytest.fixture(scope="module", autouse=True)
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where the servers come from."""
    with ServerNursery(tmp_path_factory.mktemp("nursery") / "log") as found:
        ServerMachine.nursery = found
        yield


TestServerMachine = ServerMachine.TestCase
TestServerMachine.settings = machine_settings(1)
