"""What the code says of a class or function: its signature, its fields and their docstrings."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Final, cast

WIDTH: Final = 100
"""Characters of a signature on one line."""


@dataclass(frozen=True, slots=True)
class Member:
    """A method, property or field of a class."""

    name: str
    signature: str
    """As it is called: without ``self``; of a field or property its type."""
    parameters: tuple[str, ...]
    doc: str
    is_field: bool


@dataclass(frozen=True, slots=True)
class Described:
    """A public class."""

    name: str
    doc: str
    bases: tuple[str, ...]
    members: tuple[Member, ...]
    """What is public, in the order of the source."""


def described(cls: type) -> Described:
    """What the source of a class says."""
    node = _parsed(cls)
    assert isinstance(node, ast.ClassDef), cls
    members: list[Member] = []
    following = [*node.body[1:], ast.Pass()]
    for item, after in zip(node.body, following, strict=True):
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if not item.name.startswith("_"):
                members.append(_method(item))
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            members.append(_field(item, _text(after)))
    bases = tuple(ast.unparse(base) for base in node.bases)
    return Described(cls.__name__, ast.get_docstring(node) or "", bases, tuple(members))


def members(cls: type) -> list[Member]:
    """What is public of a class of the interface, first what is its own, then of the parts that it is made of."""
    parts = [one for one in cls.__mro__ if one.__module__.startswith("memdb.")]
    return [member for part in parts for member in described(part).members]


def function(found: Callable[..., object]) -> Member:
    """A function of a module."""
    node = _parsed(found)
    assert isinstance(node, ast.FunctionDef), found
    return _method(node, has_self=False)


def constants(module: ModuleType) -> dict[str, tuple[str, str]]:
    """The names that a module gives to values: (as it is written, docstring)."""
    tree = _Constants(vars(module)).visit(ast.parse(inspect.getsource(module)))
    body = cast("ast.Module", tree).body
    found: dict[str, tuple[str, str]] = {}
    for item, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(item, ast.AnnAssign) and item.value is not None:
            target, value = ast.unparse(item.target), item.value
        elif isinstance(item, ast.Assign):
            target, value = ast.unparse(item.targets[0]), item.value
        else:
            continue
        if not target.startswith("_"):
            found[target] = (_value(value), _text(after))
    return found


def _parsed(found: type | Callable[..., object]) -> ast.stmt:
    """The definition, with what the names of constants stand for in their places."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(found)))
    named = _Constants(vars(sys.modules[found.__module__]))
    return cast("ast.Module", named.visit(tree)).body[0]


class _Constants(ast.NodeTransformer):
    """Puts numbers and texts in the places of upper-case names: ``TIMEOUT_S`` tells a reader nothing."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = self._names.get(node.id)
        if (
            isinstance(node.ctx, ast.Load)
            and node.id.isupper()
            and isinstance(value, (str, int, float))
        ):
            return ast.Constant(value)
        return node


def _method(item: ast.FunctionDef | ast.AsyncFunctionDef, *, has_self: bool = True) -> Member:
    doc = ast.get_docstring(item) or ""
    returns = "" if item.returns is None else ast.unparse(item.returns)
    if any(ast.unparse(one) == "property" for one in item.decorator_list):
        return Member(item.name, returns, (), doc, is_field=True)
    arguments = item.args
    if has_self:
        arguments.args = arguments.args[1:]
    names = tuple(one.arg for one in [*arguments.args, *arguments.kwonlyargs])
    return Member(item.name, _signature(arguments, returns), names, doc, is_field=False)


def _signature(arguments: ast.arguments, returns: str) -> str:
    """``(a: int, *, b: str = "x") -> T``; one argument on a line where that is too long."""
    required = len(arguments.args) - len(arguments.defaults)
    parts = [_argument(one) for one in arguments.args[:required]]
    for one, default in zip(arguments.args[required:], arguments.defaults, strict=True):
        parts.append(_argument(one, default))
    if arguments.kwonlyargs:
        parts.append("*")
    for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parts.append(_argument(one, value))
    if arguments.kwarg is not None:
        parts.append(f"**{_argument(arguments.kwarg)}")
    arrow = f" -> {returns}" if returns else ""
    line = f"({', '.join(parts)}){arrow}"
    if len(line) <= WIDTH:
        return line
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f"){arrow}"


def _argument(one: ast.arg, default: ast.expr | None = None) -> str:
    annotation = "" if one.annotation is None else f": {ast.unparse(one.annotation)}"
    return f"{one.arg}{annotation}" + ("" if default is None else f" = {_value(default)}")


def _value(node: ast.expr) -> str:
    """As this code is written: texts in double quotes."""
    return re.sub(r"'([^'\"]*)'", r'"\1"', ast.unparse(node))


def _field(item: ast.AnnAssign, doc: str) -> Member:
    kind = ast.unparse(item.annotation)
    if item.value is not None:
        value = _value(item.value)
        # Of ``field(default=...)`` only what a reader wants to know.
        factories = {"field(default_factory=dict)": "{}"}
        if value.startswith("field(default="):
            value = value.removeprefix("field(default=").removesuffix(")").partition(", kw_only")[0]
        kind += f" = {factories.get(value, value)}"
    return Member(ast.unparse(item.target), kind, (), doc, is_field=True)


def _text(node: ast.AST) -> str:
    """The docstring that a statement is, or nothing."""
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        return inspect.cleandoc(node.value.value)
    return ""
