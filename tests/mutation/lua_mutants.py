"""Mutants of a Lua file: each operator, constant, condition and one-line statement, one at a time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import lupa.lua51

from tests.mutation.mutants import Mutant

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<skip>--\[\[.*?\]\]|--[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")
      | (?P<number>\b\d+\b)
      | (?P<word>\b(?:and|or|not|true|false)\b)
      | (?P<operator>==|~=|<=|>=|\.\.+|[<>+\-*/%])""",
    re.VERBOSE | re.DOTALL,
)
_OTHER = {
    "==": "~=", "~=": "==", "<": "<=", "<=": "<", ">": ">=", ">=": ">",
    "+": "-", "-": "+", "*": "+", "/": "*", "%": "*",
    "and": "or", "or": "and", "not": "", "true": "false", "false": "true",
}  # fmt: skip
_CONDITION = re.compile(r"^(\s*(?:if|elseif|while) )(.+)( (?:then|do))$")
_STATEMENT = re.compile(
    r"^(\s*)(?:redis\.call\(|[a-z_]+\(|return\b|break\b|(?!\s|local\b)[\w.,\[\] #+]+ = ).*$"
)


def mutants_of(path: str, text: str) -> list[Mutant]:
    """All that Lua can parse, in the order of the file."""
    found = [mutant for mutant in (*_tokens(path, text), *_lines(path, text)) if _is_lua(mutant.text)]
    return sorted(found, key=lambda mutant: mutant.line)


def _tokens(path: str, text: str) -> Iterator[Mutant]:
    for token in _TOKEN.finditer(text):
        word = token[0]
        other = str(int(word) + 1) if token["number"] else _OTHER.get(word)
        if token["skip"] or other is None:
            continue
        line = text.count("\n", 0, token.start()) + 1
        changed = text[: token.start()] + other + text[token.end() :]
        yield Mutant(path, line, f"{word} -> {other or 'left out'}", changed)


def _lines(path: str, text: str) -> Iterator[Mutant]:
    lines = text.split("\n")
    start = text[: text.find("]]")].count("\n") + 1 if text.startswith("--[[") else 0
    for place in range(start, len(lines)):
        line = lines[place]
        if condition := _CONDITION.match(line):
            yield _changed(
                path, lines, place, "condition turned round", "{}not ({}){}".format(*condition.groups())
            )
        elif statement := _STATEMENT.match(line):
            # A function must go on having a body, and `return` must stay the last of its block.
            yield _changed(path, lines, place, "statement left out", f"{statement[1]}do end")


def _changed(path: str, lines: list[str], place: int, what: str, line: str) -> Mutant:
    return Mutant(path, place + 1, what, "\n".join([*lines[:place], line, *lines[place + 1 :]]))


def _is_lua(text: str) -> bool:
    runtime = lupa.lua51.LuaRuntime(register_eval=False)
    code = re.sub(r"^-- @include .+$", "", text, flags=re.MULTILINE)
    return runtime.globals().loadstring(code) is not None
