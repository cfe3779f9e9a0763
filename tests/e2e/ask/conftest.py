"""A real server that holds what cameras saw and heard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import memdb_client
from memdb import Clip, Unavailable
from perception.encoders.text import BUNDLED_DIM, BUNDLED_MODEL, BundledTextEncoder
from reasoner.demo.processes import Children, free_port, listens, wait_until
from tests.e2e.ask.scenes import SCENES, clip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that holds `SCENES` for user alice; each clip takes ten seconds."""
    encoder = BundledTextEncoder()
    try:
        encoder.encode(["warm"])
    except Unavailable as error:
        pytest.skip(f"the bundled weights cannot be fetched: {error}")
    folder, port = tmp_path_factory.mktemp("ask"), free_port()
    address = f"127.0.0.1:{port}"
    with Children(folder) as children:
        arguments = ["serve", "--data", str(folder / "data"), "--listen", address]
        children.start("memdb", arguments, log="server.log")
        assert wait_until(lambda: listens(port), 30), children.log_tail("server.log")
        with memdb_client.connect(address) as db:
            db.create_space("bundled", dim=BUNDLED_DIM, model=BUNDLED_MODEL)
            db.create_space("other", dim=4)
            user = db.user("alice")
            user.configure(text_space="bundled")
            for camera, scenes in SCENES.items():
                clips = [clip(seq, encoder, *scene) for seq, scene in enumerate(scenes)]
                user.stream(camera, space="bundled").write_many(clips)
            odd = Clip(seq=0, start_ns=0, end_ns=1, global_memory=encoder.encode(["x"])[0][:4])
            db.user("mixed").stream("a", space="other").write(odd)
            db.user("mixed").stream("b", space="bundled").write(
                clip(0, encoder, "a cat asleep on a chair", ())
            )
            db.create_space("bundled-2", dim=BUNDLED_DIM, model=BUNDLED_MODEL)
            db.user("torn").stream("a", space="bundled-2").create()
            db.user("torn").stream("b", space="bundled").create()
        yield address
