"""What the package declares that it needs is what it needs."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import redis_sessions
from tests.support import audit

PACKAGE = Path(redis_sessions.__file__).parent
PROJECT: dict[str, Any] = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
DECLARED = [
    Requirement(text)
    for text in (*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values()))
    if not text.startswith("redis-sessions")
]
BROUGHT = {
    "fastapi": "langflow",  # imported only inside it
    "langflow": "langflow",
    "sqlmodel": "langflow",
    "pydantic_core": "pydantic",
}
"""Modules that are imported and not declared, and what brings them."""
UNSEEN = {"lfx", "psycopg"}
"""In an environment of the plug-in's own; imported by SQLAlchemy, for a database's URL."""


def imported() -> set[str]:
    """Top-level names of all modules that the package imports."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"redis_sessions"}


def modules_of(name: str) -> set[str]:
    """What a declared distribution lets one import."""
    return {
        module
        for module, distributions in metadata.packages_distributions().items()
        if name.lower().replace("_", "-") in {each.lower().replace("_", "-") for each in distributions}
    }


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_a_dependency_has_a_lower_and_an_upper_bound(requirement: Requirement) -> None:
    assert {each.operator for each in requirement.specifier} == {">=", "<"}


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_what_the_tests_run_on_is_within_the_range(requirement: Requirement) -> None:
    if requirement.name == "lfx":
        pytest.skip("the plug-in has an environment of its own")
    assert requirement.specifier.contains(Version(metadata.version(requirement.name)))


@pytest.mark.parametrize("name", sorted({each.name for each in DECLARED} - UNSEEN))
def test_a_dependency_is_imported_somewhere(name: str) -> None:
    assert modules_of(name) & imported()


def test_what_is_imported_is_declared() -> None:
    declared = {"lfx"} | {module for each in DECLARED for module in modules_of(each.name)}
    assert imported() - declared == set(BROUGHT)


def test_an_audit_that_was_told_nothing_is_not_clean() -> None:
    report = {"dependencies": [{"name": "redis", "skip_reason": "not found on PyPI"}]}

    code, (line,) = audit.verdict(report)

    assert code == audit.UNKNOWN
    assert line.startswith("not audited")


def test_an_audit_names_what_is_vulnerable_and_where_it_is_mended() -> None:
    vulnerable = {"id": "PYSEC-2099-1", "fix_versions": ["2.1"]}
    report = {
        "dependencies": [
            {"name": "redis", "version": "1.0", "vulns": []},
            {"name": "httpx", "version": "2.0", "vulns": [vulnerable]},
            {"name": "limits", "skip_reason": "not found on PyPI"},
        ]
    }

    assert audit.verdict(report) == (1, ["httpx 2.0: PYSEC-2099-1, mended in 2.1"])


def test_an_audit_is_clean_when_all_were_asked_about() -> None:
    report = {"dependencies": [{"name": "redis", "version": "1.0", "vulns": []}]}

    assert audit.verdict(report)[0] == 0


def test_an_audit_is_of_all_that_the_extras_bring() -> None:
    assert {"redis", "lupa", "psycopg-binary", "h11", "langsmith"} <= set(audit.needed("redis-sessions"))
    assert "pytest" not in audit.needed("redis-sessions")
