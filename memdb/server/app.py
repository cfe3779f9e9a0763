"""The server put together, from start to stop.

::

    open the database ─▶ bind ─▶ serve ─▶ SIGTERM: health NOT_SERVING, streams and new calls told
                                       ─▶ notice_s ─▶ no new calls
                                       ─▶ calls finish, at most grace_s; a verification, a backup or a
                                          sweep that goes on then is given up ─▶ close the database, which
                                          writes checkpoints, until grace_s + 3 s or another signal

Durability never rests on this order: an acknowledged clip is on disk.  Should a call hang, the
process ends at grace_s + 5 s all the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from grpc_health.v1 import health_pb2

from memdb.config import Config, ServerConfig
from memdb.deadline import Deadline
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.warmed import Warmed
from memdb.errors import InvalidArgument
from memdb.eventlog import event_log
from memdb.server.backup_dir import check_backup_dir
from memdb.server.call_metrics import FAILED, CallMetrics
from memdb.server.calls import HEALTH, Calls
from memdb.server.clip_service import ClipService
from memdb.server.database_service import DatabaseService
from memdb.server.edge import Handler
from memdb.server.edges import check_edge, make_edge, make_shelf, why_python
from memdb.server.grounding_service import GroundingService
from memdb.server.health import HealthService
from memdb.server.heartbeat import Heartbeat
from memdb.server.listener import bind, channel_options, check_bindable, check_listen
from memdb.server.memory_service import MemoryService
from memdb.server.metrics import Gauge, Metric, metrics_text
from memdb.server.metrics_file import check_metrics_file, write_metrics
from memdb.server.open_calls import HEALTH_CALLS_MAX, REFUSED_MAX
from memdb.server.port_file import check_port_file, write_port_file
from memdb.server.process import begin_collecting
from memdb.server.recall_metrics import RecallMetrics
from memdb.server.resources import Resources
from memdb.server.standby import opened_in_turn
from memdb.server.standing_service import StandingService
from memdb.server.user_service import UserService
from memdb.store.directory import key_ring
from memdb.store.directory_lock import DirectoryLock
from memdb.store.masterkey import read_master_key
from memdb.types.retention import SweepReport
from memdb.v1 import (
    clip_service_pb2,
    database_service_pb2,
    grounding_service_pb2,
    memory_service_pb2,
    standing_service_pb2,
    user_service_pb2,
)

T = TypeVar("T")

NOTICE_S: Final = 0.25
"""How long a server that is to stop still answers, that it is (``SHUTTING_DOWN``), before it takes no calls."""
HARD_EXIT_S: Final = 5.0
"""How long after the grace period the process ends without further ado."""
HARD_EXIT_STATUS: Final = 70
HURRY_S: Final = 3.0
"""How long after the grace period no checkpoint is written any more: well before the process ends without them."""
METRICS_INTERVAL_S: Final = 10.0
TEND_INTERVAL_S: Final = 10.0

log = event_log("memdb.server")


class Server:
    """A database behind an address; lives on one event loop."""

    def __init__(self, database: EmbeddedDatabase, config: ServerConfig) -> None:
        check_listen(config)
        self._config = config
        self._resources = Resources.make(database, config)
        self.heartbeat = Heartbeat()
        self._shelf = make_shelf(config, database)
        self._noting: asyncio.Task[None] | None = None
        handlers, services = self._handlers()
        self._edge = make_edge(
            config,
            handlers,
            channel_options(config),
            config.calls_max + HEALTH_CALLS_MAX + REFUSED_MAX,
            services,
            self._shelf,
        )

    @property
    def edge(self) -> str:
        """The name of its edge."""
        return self._edge.name

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is known of its loop and its calls."""
        calls = CallMetrics(self._resources.open_calls, self._resources.budget)
        native = Gauge("memdb_native_edge", "Whether the native edge takes calls: 1, or 0.")
        native.value = self.edge == "native"
        ready = () if self._shelf is None else (self._shelf,)
        return (*self.heartbeat.metrics, native, calls, FAILED, *ready)

    async def start(self) -> str:
        """Bind and serve; returns the address, with the port that was taken.

        Raises as `memdb.server.listener.bind`.
        """
        address = bind(self._edge, self._config)
        await self._edge.start()
        self.heartbeat.start()
        if self._shelf is not None:
            self._noting = asyncio.create_task(self._shelf.keep_noting())
        return address

    async def stop(self, grace_s: float | None = None, *, notice_s: float = 0.0) -> None:
        """Refuse new calls, let those that run end within the grace period, end the others.

        notice_s: for so long they are told why, and that nothing was done.  Then gRPC cuts off what is on its way,
        and no client can know whether that was done.
        """
        self._resources.drain.begin()
        if self._shelf is not None:
            self._shelf.close()
        if self._noting is not None:
            self._noting.cancel()
        self.heartbeat.stop()
        await asyncio.sleep(notice_s)
        await self._edge.stop(self._config.grace_s if grace_s is None else grace_s)
        self._resources.drain.end()
        # A commit that was cut off from its caller still ends before the database closes.
        await asyncio.to_thread(self._resources.pools.shutdown)

    async def in_writing_thread(self, work: Callable[[], T]) -> T:
        """The result of work that commits, on a thread of the pool of commits, in its turn."""
        return await self._resources.pools.write.run_in_turn(work)

    async def in_reading_thread(self, work: Callable[[], T]) -> T:
        """The result of work that reads, on a thread of the pool of reads, in its turn."""
        return await self._resources.pools.read.run_in_turn(work)

    def _handlers(self) -> tuple[list[Handler], list[str]]:
        """What answers the methods of all services, and their names."""
        resources = self._resources
        database = resources.database
        asked = None if self._shelf is None else self._shelf.was_asked
        calls = Calls(resources)
        services: list[tuple[Any, str, object]] = [
            (clip_service_pb2, "ClipService", ClipService(resources)),
            (grounding_service_pb2, "GroundingService", GroundingService(resources, asked)),
            (memory_service_pb2, "MemoryService", MemoryService(resources)),
            (standing_service_pb2, "StandingService", StandingService(resources)),
            (user_service_pb2, "UserService", UserService(resources)),
            (
                database_service_pb2,
                "DatabaseService",
                DatabaseService(database, self._config.backup_dir),
            ),
        ]
        names = [f"{module.DESCRIPTOR.package}.{name}" for module, name, _ in services]
        services.append(
            (health_pb2, "Health", HealthService(names, resources.drain, database.user_state))
        )
        handlers: list[Handler] = []
        for module, name, implementation in services:
            descriptor = module.DESCRIPTOR.services_by_name[name]
            handlers += calls.handlers(descriptor, implementation)
        return handlers, [*names, HEALTH]


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT.

    Prints one JSON line with the bound address on stdout, and writes the address to
    ``server.port_file``, once the server answers.  Raises `InvalidArgument`, `FailedPrecondition`
    (``DIRECTORY_LOCKED``, ``FORMAT_NEWER``, and as `memdb.server.listener.bind`) when it cannot start.
    """
    if not config.server.data:
        raise InvalidArgument("no data directory given", reason="BAD_CONFIG", field="server.data")
    # All again when it is bound; here because opening a large database takes a while, and makes a directory
    # where there is none.
    check_listen(config.server)
    check_edge(config.server)
    check_bindable(config.server, may_be_taken=config.server.standby)
    check_port_file(config.server)
    check_metrics_file(config.server)
    check_backup_dir(config.server)

    def opened(warmed: Warmed | None = None, lock: DirectoryLock | None = None) -> EmbeddedDatabase:
        return EmbeddedDatabase(
            config.server.data,
            config=config.engine,
            index=config.index,
            embed_texts=False,
            warmed=warmed,
            lock=lock,
        )

    found = opened_in_turn(_standby_of(config), opened) if config.server.standby else opened()
    if found is not None:
        with found as database:
            asyncio.run(_serve(database, config.server))
    log.info("stopped")


def _standby_of(config: Config) -> ServerConfig:
    """What one is told that stands by.  Raises what is wrong with the master key, which it loads."""
    is_encrypted = bool(config.engine.master_key_file)
    if is_encrypted:
        key_ring(read_master_key(config.engine.master_key_file))
    # Where no checkpoint would be taken none is read ahead: an encrypted user has none.
    reads = config.index.checkpoint_rows and not is_encrypted
    return config.server if reads else replace(config.server, standby_bytes_max=0)


async def _serve(database: EmbeddedDatabase, config: ServerConfig) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def signalled() -> None:
        if stopping.is_set():
            database.hurry()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    server = Server(database, config)
    address = await server.start()
    try:
        # Before the line: who reads that may look for the file.
        await asyncio.to_thread(write_port_file, config, address)
        ready = {"event": "listening", "address": address, "pid": os.getpid()}
        print(json.dumps(ready), flush=True)
    except Exception:  # also where nobody takes the line
        await server.stop()
        raise
    begin_collecting()
    told = {"address": address, "data": config.data, "edge": server.edge}
    if (why := why_python(config)) is not None:
        told["no_native_edge"] = why
    log.info("listening", extra={"fields": told})
    # Clients connect meanwhile; where it cannot be had, nobody is to be served.
    loading = asyncio.create_task(asyncio.to_thread(database.load))
    loading.add_done_callback(partial(_set_if_it_failed, stopping))
    housekeeping = [
        asyncio.create_task(_sweep(database, server, config.sweep_interval_s)),
        asyncio.create_task(_scrub(database, server, config.scrub_bytes_per_s)),
        asyncio.create_task(_tend(database, server)),
        asyncio.create_task(
            _tell_metrics(
                (*server.metrics, RecallMetrics(database.recall_counts)), config.metrics_file
            )
        ),
    ]
    await stopping.wait()
    for task in housekeeping:
        task.cancel()
    log.info("stopping", extra={"fields": {"grace_s": config.grace_s}})
    threading.Thread(target=_hard_exit, args=(config.grace_s,), daemon=True).start()
    loop.call_later(config.grace_s + HURRY_S, database.hurry)
    await server.stop(notice_s=NOTICE_S)
    # Here and not by who opened it: signals are heard.
    await asyncio.to_thread(database.close)
    await loading


def _set_if_it_failed(event: asyncio.Event, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        event.set()


async def _sweep(database: EmbeddedDatabase, server: Server, interval_s: int) -> None:
    """Give up what policies say, over and over; a sweep that fails is logged and tried again."""
    deadline = Deadline()
    while interval_s:
        await asyncio.sleep(interval_s)
        try:
            report = await server.in_writing_thread(partial(deadline.within, database.sweep))
        except asyncio.CancelledError:
            deadline.leave()  # the next start has the rest
            raise
        except Exception:  # or nothing would be given up any more, and nobody would know
            log.exception("a sweep failed")
            continue
        if report != SweepReport():
            log.info("swept", extra={"fields": asdict(report)})


async def _scrub(database: EmbeddedDatabase, server: Server, bytes_per_s: int) -> None:
    """Check what is stored, second by second; what is found is logged where it is found."""
    while bytes_per_s:
        await asyncio.sleep(1.0)
        try:
            await server.in_reading_thread(lambda: database.scrub(bytes_per_s))
        except Exception:  # as in a sweep
            log.exception("a scrub failed")


async def _tend(database: EmbeddedDatabase, server: Server) -> None:
    """Have checkpoints written of users that grew and are asked no more: a crash would find none."""
    while True:
        await asyncio.sleep(TEND_INTERVAL_S)
        try:
            await server.in_reading_thread(database.tend)
        except Exception:  # or none would be written any more; the next look may do better
            log.exception("users could not be tended")


async def _tell_metrics(metrics: Sequence[Metric], path: str) -> None:
    """Write the metrics, over and over; a disk that is full for a while ends nothing."""
    while path:
        text = metrics_text(metrics)
        try:
            await asyncio.to_thread(write_metrics, Path(path), text)
        except OSError as error:
            log.warning("the metrics could not be written", exc_info=error)
        await asyncio.sleep(METRICS_INTERVAL_S)


def _hard_exit(grace_s: float) -> None:
    threading.Event().wait(grace_s + HARD_EXIT_S)
    log.error("did not stop in time")
    os._exit(HARD_EXIT_STATUS)
