from __future__ import annotations

from types import ModuleType

import pytest

import redis_sessions
from redis_sessions import errors


def _public_names() -> set[str]:
    return {
        name
        for name, value in vars(redis_sessions).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and name not in {"TYPE_CHECKING", "annotations"}
    }


def test_the_exported_names_are_sorted() -> None:
    assert list(redis_sessions.__all__) == sorted(redis_sessions.__all__)


def test_the_exported_names_are_the_public_names() -> None:
    assert set(redis_sessions.__all__) - {"__version__"} == _public_names()


@pytest.mark.parametrize("name", [name for name, value in vars(errors).items() if isinstance(value, type)])
def test_every_error_is_exported(name: str) -> None:
    assert name in redis_sessions.__all__
    assert getattr(redis_sessions, name) is getattr(errors, name)


@pytest.mark.parametrize("name", [name for name in redis_sessions.__all__ if not name.startswith("_")])
def test_every_exported_name_says_what_it_is(name: str) -> None:
    assert getattr(redis_sessions, name).__doc__
