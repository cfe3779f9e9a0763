"""Real servers on loopback: in a thread, to be quick, and as a process, to be killed."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from memdb.config import EngineConfig, IndexConfig, ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.server.app import Server
from memdb.types.limits import MESSAGE_BYTES_MAX
from tests.forked.command import ForkedCommand

_T = TypeVar("_T")
STDERR = 2


class ServerThread:
    """Serves ``directory`` until it is closed."""

    def __init__(
        self,
        directory: Path,
        listen: str = "127.0.0.1:0",
        *,
        backup_dir: str = "",
        index: IndexConfig | None = None,
        engine: EngineConfig | None = None,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
    ) -> None:
        self._database = EmbeddedDatabase(directory, config=engine, index=index, embed_texts=False)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="server-loop")
        self._thread.start()
        config = ServerConfig(
            data=str(directory),
            listen=listen,
            backup_dir=backup_dir,
            message_bytes_max=message_bytes_max,
        )
        self._server, self.address = self._run(self._start(config))

    def close(self) -> None:
        """Stop as `memdb serve` does."""
        self._run(self._server.stop(5.0))
        self._database.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def _start(self, config: ServerConfig) -> tuple[Server, str]:
        server = Server(self._database, config)
        return server, await server.start()

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class ServerProcess:
    """`memdb serve` on ``directory``, until it is killed."""

    def __init__(self, directory: Path, listen: str = "127.0.0.1:0") -> None:
        # Logs go to the test's own stderr, which pytest shows when the test fails.
        self._process = ForkedCommand(
            "memdb.cli.main", "serve", "--data", directory, "--listen", listen, stderr=STDERR
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server did not start"
        self.address: str = json.loads(line)["address"]

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is said."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.communicate(timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()
