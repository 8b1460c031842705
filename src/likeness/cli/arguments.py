"""From a list of words to a call: booleans in every spelling, and tyro for the rest."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tyro

from likeness.errors import UserError

_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no"}


def call(target: Callable[..., Any], arguments: Sequence[str], program: str) -> Any:
    """Call `target` with what `arguments` say.

    A function's parameters are the options; where its only parameter is a dataclass, that dataclass's fields are.
    """
    hints = typing.get_type_hints(target)
    parameters = list(inspect.signature(target).parameters)
    only = hints.get(parameters[0]) if len(parameters) == 1 else None
    if only is not None and dataclasses.is_dataclass(only):
        return target(parse(only, arguments, program, description=inspect.getdoc(target)))
    words = spell_booleans(arguments, boolean_names(hints.items()))
    return tyro.cli(target, args=words, prog=program)


def parse(
    kind: Any, arguments: Sequence[str], program: str, default: Any = None, description: str | None = None
) -> Any:
    """A dataclass of type `kind` from `arguments`, on top of `default`."""
    words = spell_booleans(arguments, boolean_names(typing.get_type_hints(kind).items()))
    extra = {} if default is None else {"default": default}
    return tyro.cli(kind, args=words, prog=program, description=description, **extra)


def boolean_names(hints: Iterable[tuple[str, Any]]) -> set[str]:
    """Option names, with hyphens, whose type is bool (or bool and None)."""
    return {name.replace("_", "-") for name, hint in hints if _is_boolean(hint)}


def spell_booleans(arguments: Sequence[str], names: set[str]) -> list[str]:
    """Rewrite `--x True`, `--x=False` and the like to `--x` and `--no-x`, for the boolean options `names`."""
    words: list[str] = []
    index = 0
    while index < len(arguments):
        word = arguments[index]
        option, equals, value = word.partition("=")
        name = option[2:].replace("_", "-") if option.startswith("--") else ""
        index += 1
        if name not in names:
            words.append(word)
            continue
        if not equals and index < len(arguments) and arguments[index].lower() in {"true", "false"}:
            value = arguments[index]
            index += 1
        if value and value.lower() not in _TRUE | _FALSE:
            words.append(word)  # tyro says what is wrong with it
            continue
        words.append(f"--no-{name}" if value.lower() in _FALSE else f"--{name}")
    return words


def take_option(arguments: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """The value of `--name VALUE` or `--name=VALUE`, and the other words; None where it is not given.

    Raises:
        UserError: `--name` without a value.
    """
    value, rest, index = None, [], 0
    while index < len(arguments):
        word = arguments[index]
        if word == f"--{name}":
            if index + 1 == len(arguments) or arguments[index + 1].startswith("--"):
                raise UserError(f"--{name} needs a value: --{name} {name.upper()}")
            value, index = arguments[index + 1], index + 2
        elif match := re.fullmatch(rf"--{name}=(.*)", word):
            value, index = match[1], index + 1
        else:
            rest.append(word)
            index += 1
    return value, rest


def _is_boolean(hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return {kind for kind in typing.get_args(hint) if kind is not type(None)} == {bool}
    return hint is bool
