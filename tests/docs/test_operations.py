"""docs/operations.md shows the configuration that is in force by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def test_the_defaults_on_the_page_are_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "print"]) == 0
    assert capsys.readouterr().out.strip() in PAGE
