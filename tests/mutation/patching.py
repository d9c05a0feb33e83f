"""A mutant of a module that this process has imported already: its functions get other code."""

from __future__ import annotations

import gc
import inspect
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

_RUN_AT_ONCE = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


class Patches:
    """The functions of a module as they are in this process."""

    def __init__(self, path: str) -> None:
        text = Path(path).read_text("utf-8")
        self._path = path
        self._outline, self._codes = _take_apart(compile(text, path, "exec"))
        self._living: dict[tuple[str, int], list[FunctionType]] = {}
        file = str(Path(path).resolve())
        for found in gc.get_objects():
            if type(found) is FunctionType and found.__code__.co_filename == file:
                code = found.__code__
                self._living.setdefault((code.co_qualname, code.co_firstlineno), []).append(found)

    def prepare(self, text: str) -> list[tuple[FunctionType, CodeType]] | None:
        """The functions that are to have other code; None when more has changed than what is in functions."""
        outline, codes = _take_apart(compile(text, self._path, "exec"))
        if outline != self._outline:
            return None
        changed: list[tuple[FunctionType, CodeType]] = []
        for old, new in zip(self._codes, codes, strict=True):
            if _what_it_does(old) == _what_it_does(new):
                continue
            functions = self._living.get((old.co_qualname, old.co_firstlineno), [])
            if not functions or old.co_freevars != new.co_freevars:
                return None
            changed += [(function, new) for function in functions]
        return changed


def is_of_functions(text: str, original: str) -> bool:
    """Whether importing the module does the same."""
    return bool(_take_apart(compile(text, "", "exec"))[0] == _take_apart(compile(original, "", "exec"))[0])


def _take_apart(module: CodeType) -> tuple[Any, list[CodeType]]:
    """What is done when it is imported, to be compared; and its functions, methods among them."""
    functions: list[CodeType] = []

    def outline(code: CodeType) -> Any:
        inner: list[Any] = []
        for constant in code.co_consts:
            if not isinstance(constant, CodeType):
                inner.append((type(constant), repr(constant)))
            elif constant.co_flags & inspect.CO_OPTIMIZED and constant.co_name not in _RUN_AT_ONCE:
                functions.append(constant)
                inner.append(constant.co_name)
            else:
                inner.append(outline(constant))
        return code.co_code, code.co_names, code.co_freevars, inner

    return outline(module), functions


def _what_it_does(code: CodeType) -> Any:
    """Code without its lines."""
    constants = [
        _what_it_does(constant) if isinstance(constant, CodeType) else (type(constant), repr(constant))
        for constant in code.co_consts
    ]
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_code, code.co_exceptiontable, code.co_flags, names, constants
