"""Every command tells by example how it is used."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from memdb.cli.main import _parser


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its verbs."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from commands(verb)


@pytest.mark.parametrize("command", list(commands(_parser())), ids=lambda one: str(one.prog))
def test_help_has_an_example(command: argparse.ArgumentParser) -> None:
    told = command.format_help()
    _, _, examples = told.partition("\nexample:\n")
    assert f"  {command.prog.split()[0]} " in examples


@pytest.mark.parametrize("command", list(commands(_parser())), ids=lambda one: str(one.prog))
def test_help_says_what_the_command_is_for(command: argparse.ArgumentParser) -> None:
    """A sentence before all the options."""
    before, _, _ = command.format_help().partition("\npositional arguments:\n")
    before, _, _ = before.partition("\noptions:\n")
    told = before.rstrip().rpartition("\n\n")[2]
    assert (told[:1].isupper(), told[-1:]) == (True, "."), told
