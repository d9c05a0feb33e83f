"""Mutants of a Python module: what cosmic-ray's operators make of it, and each statement left out."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from tests.mutation.mutants import Mutant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cosmic_ray.operators.operator import Operator

_OPERATORS = """
    AddNot Delete:Not AndWithOr OrWithAnd TrueWithFalse FalseWithTrue BreakWithContinue ContinueWithBreak
    ExceptionReplacer NumberReplacer ZeroIterationForLoop
    Eq:NotEq NotEq:Eq Lt:LtE LtE:Lt Gt:GtE GtE:Gt Is:IsNot IsNot:Is
    Add+Sub Sub+Add Mul+Add Div+Mul FloorDiv+Mul Mod+Mul RShift+LShift LShift+RShift BitOr+BitAnd BitAnd+BitOr
"""
"""One replacement of each operator: a test that tells + from - tells it from the others too."""
_Span = tuple[tuple[int, int], tuple[int, int]]


def mutants_of(path: str, text: str) -> list[Mutant]:
    """In the order of the file."""
    return sorted((*_replaced(path, text), *_left_out(path, text)), key=lambda mutant: mutant.line)


def _name(short: str) -> str:
    if "+" in short:
        return "core/ReplaceBinaryOperator_" + short.replace("+", "_")
    if ":" in short:
        kind = "Unary" if short.startswith("Delete") else "Comparison"
        return f"core/Replace{kind}Operator_" + short.replace(":", "_")
    return f"core/Replace{short}" if "With" in short else f"core/{short}"


def _replaced(path: str, text: str) -> Iterator[Mutant]:
    tree, silent = get_ast(text), list(_never_run(ast.parse(text)))
    for short in _OPERATORS.split():
        operator: Operator = get_operator(_name(short))()
        occurrence = 0
        for node in ast_nodes(tree):
            for start, _ in operator.mutation_positions(node):
                if not any(first <= start < last for first, last in silent):
                    changed = _mutate(text, operator, occurrence)
                    if changed is not None and _compiles(changed):
                        yield Mutant(path, start[0], short, changed)
                occurrence += 1


def _mutate(text: str, operator: Operator, occurrence: int) -> str | None:
    try:
        mutated: str | None = mutate_code(text, operator, occurrence)
    except AttributeError:  # ExceptionReplacer knows no dotted names
        return None
    return mutated


def _never_run(tree: ast.Module) -> Iterator[_Span]:
    """Annotations, and what is for the type checker only."""
    for node in ast.walk(tree):
        notes = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            notes.append(node)
        for note in notes:
            if note is not None:
                yield (note.lineno, note.col_offset), (note.end_lineno, note.end_col_offset)


def _left_out(path: str, text: str) -> Iterator[Mutant]:
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for statement in ast.walk(node):
            if not isinstance(statement, (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Delete)):
                continue
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue  # a docstring
            first, last = statement.lineno - 1, statement.end_lineno or statement.lineno
            kept = [*lines[:first], f"{' ' * statement.col_offset}pass", *lines[last:]]
            changed = "\n".join(kept)
            if _compiles(changed):
                yield Mutant(path, statement.lineno, "statement left out", changed)


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True
