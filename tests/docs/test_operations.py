"""docs/operations.md shows the configuration that is in force by default, and names errors that there are."""

from __future__ import annotations

import argparse
import configparser
import re
import shlex
import signal
from pathlib import Path

import pytest

from memdb.cli.main import main
from memdb.cli.serve import add_options
from memdb.config import ServerConfig
from perception.cli import EXIT_CODES, EXIT_USAGE
from perception.command_line import parser as ingest_parser
from scripts.api.reasons import reasons

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def test_the_defaults_on_the_page_are_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "print"]) == 0
    assert capsys.readouterr().out.strip() in PAGE


def test_every_error_on_the_page_is_raised_as_the_class_it_says() -> None:
    folders = ("memdb", "clients/python/memdb_client", "perception", "reasoner")
    given = reasons(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| ([^|]+) \|", PAGE.split("## Errors")[1], re.MULTILINE)
    assert len(rows) > 40
    unknown = [
        reason
        for named, classes in rows
        for reason in re.findall(r"[A-Z_]+", named)
        if not any(reason in given.get(name, ()) for name in re.findall(r"[A-Z]\w+", classes))
    ]
    assert unknown == []


def units() -> list[configparser.SectionProxy]:
    """What is said of the services of systemd: of the server, of the cameras."""
    services = []
    for text in re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL):
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str  # type: ignore[method-assign,assignment]
        unit.read_string(text)
        services.append(unit["Service"])
    return services


def test_the_services_of_systemd_start_what_there_is() -> None:
    server, cameras = (shlex.split(service["ExecStart"]) for service in units())
    parser = argparse.ArgumentParser()
    add_options(parser)
    assert server[0].endswith("/memdb")
    assert server[1] == "serve"
    options = parser.parse_args(server[2:])
    assert (options.data, options.listen) == ("/var/lib/memdb/data", "127.0.0.1:7700")
    assert cameras[0].endswith("/memdb-ingest")
    assert vars(ingest_parser(EXIT_CODES).parse_args(cameras[1:]))["config"]


def test_the_services_of_systemd_know_the_exit_status() -> None:
    server, cameras = units()
    assert int(server["TimeoutStopSec"]) > ServerConfig().grace_s + 5
    assert {int(unit["RestartPreventExitStatus"]) for unit in (server, cameras)} == {EXIT_USAGE}
    assert int(cameras["SuccessExitStatus"]) == 128 + signal.SIGTERM
