"""When a call is tried again, how long, and what the caller then sees."""

from __future__ import annotations

import socket
import threading
import time
from itertools import islice

import pytest

from memdb.errors import DataLoss, InvalidArgument, Unavailable
from memdb.server.app import NOTICE_S
from memdb.types.database import Database
from memdb_client import _options, connect
from tests.unit.client.conftest import Connect
from tests.unit.client.peer import Peer, Script


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_unavailable_is_tried_again(db: Database, script: Script) -> None:
    script.error, script.failures = Unavailable("busy"), 3

    assert db.user("alice").stream("door").ledger().next_seq == 7
    assert script.calls == 4


def test_other_errors_are_not(db: Database, script: Script) -> None:
    script.error, script.failures = DataLoss("damaged", reason="CHECKSUM"), 1

    with pytest.raises(DataLoss) as caught:
        db.user("alice").stream("door").ledger()

    assert caught.value.reason == "CHECKSUM"
    assert caught.value.request_id == "req-1"
    assert script.calls == 1


def test_a_revision_not_reached_is_the_callers_to_wait_for(db: Database, script: Script) -> None:
    script.error, script.failures = Unavailable("later", reason="BEHIND"), 1

    with pytest.raises(Unavailable):
        db.user("alice").stream("door").ledger()

    assert script.calls == 1


def test_what_a_server_that_stops_has_not_begun_is_made_again(db: Database, script: Script) -> None:
    """Also what would take effect twice; but not before it has stopped."""
    script.error, script.failures = Unavailable("stopping", reason="SHUTTING_DOWN"), 1
    began_s = time.monotonic()

    db.user("alice").put("diet", "none")

    assert script.calls == 2
    assert time.monotonic() - began_s > NOTICE_S


def test_a_call_that_takes_effect_twice_is_not_repeated_once_sent(
    db: Database, script: Script
) -> None:
    script.error, script.failures = Unavailable("busy"), 1

    with pytest.raises(Unavailable):
        db.user("alice").put("diet", "none")

    assert script.calls == 1


def test_a_call_that_was_never_sent_is_repeated_whatever_it_does(
    connect_to: Connect, script: Script
) -> None:
    """No server yet: the first tries find no connection, and gRPC says so in words that we rely
    on.
    """
    port = free_port()
    answers: list[int] = []
    with connect_to(f"127.0.0.1:{port}", timeout_s=60.0) as db:
        caller = threading.Thread(target=lambda: answers.append(db.user("alice").put("diet", 1)))
        caller.start()
        time.sleep(0.5)
        with Peer(script, port):
            caller.join()

    assert answers == [1]
    assert script.calls == 1


@pytest.mark.timeout(60)  # or they never end
def test_the_deadline_ends_the_tries(connect_to: Connect) -> None:
    with (
        connect_to(f"127.0.0.1:{free_port()}", timeout_s=0.5) as db,
        pytest.raises(Unavailable),
    ):
        db.spaces()


def test_after_close_every_call_says_so(peer: Peer) -> None:
    db = connect(peer.address, timeout_s=5.0)
    user = db.user("alice")
    db.close()

    with pytest.raises(Unavailable) as caught:
        user.put("diet", 1)
    assert caught.value.reason == "CLOSED"


def test_pauses_double_to_their_maximum_and_spread() -> None:
    pauses = list(islice(_options.pauses_s(), 12))

    bounds = [min(_options.PAUSE_FIRST_S * 2**n, _options.PAUSE_MAX_S) for n in range(12)]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert len(set(pauses)) == 12


def test_the_token_travels_with_every_call(connect_to: Connect, peer: Peer, script: Script) -> None:
    with connect_to(peer.address, token="s3cret") as db:
        db.user("alice").put("diet", 1)

    assert script.metadata[0]["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"address": ""}, "address"),
        ({"token": "two\nlines"}, "token"),
        ({"token": ""}, "token"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": float("inf")}, "timeout_s"),
    ],
    ids=str,
)
def test_arguments_are_checked(options: dict[str, object], field: str) -> None:
    arguments: dict[str, object] = {"address": "localhost:1", "token": None, "tls": None}
    arguments = {**arguments, "timeout_s": 1.0, **options}

    with pytest.raises(InvalidArgument) as caught:
        _options.target(**arguments)  # type: ignore[arg-type]

    assert caught.value.field == field
    assert "lines" not in str(caught.value)


def test_tls_takes_a_ca_file_and_refuses_a_missing_one(tmp_path: object) -> None:
    for none in (f"{tmp_path}/none.pem", str(tmp_path), "\0", 5):
        with pytest.raises(InvalidArgument) as refused:
            _options.target("localhost:1", token=None, tls=none, timeout_s=1.0)  # type: ignore[arg-type]
        assert (refused.value.reason, refused.value.field) == ("BAD_TLS", "tls")
