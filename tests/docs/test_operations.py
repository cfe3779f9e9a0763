"""docs/operations.md shows the configuration that is in force by default, and names errors that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memdb.cli.main import main
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
