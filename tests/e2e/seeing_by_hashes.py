"""`memdb-ingest`, which sees by hashes (`fakes.HashEncoder`), for tests of what surrounds a network."""

from __future__ import annotations

from perception import cli
from tests.unit.perception.fakes import HashEncoder


def main() -> int:
    vars(cli)["networks"] = lambda *_, **__: (HashEncoder(), None)
    return cli.main()
