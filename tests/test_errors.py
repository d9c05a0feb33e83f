from __future__ import annotations

import re

import pytest

from redis_sessions import errors

_LINE = re.compile(r"(?P<indent>[│├└─ ]*)(?P<name>\w+)(?: \((?P<builtin>\w+)\))?(?:  +\S.*)?")


def _drawn_tree() -> dict[str, list[str]]:
    """The names of each class's bases, as drawn in the docstring of the module."""
    assert errors.__doc__ is not None
    drawing = errors.__doc__.split("::\n\n")[1].split("\n\n")[0]
    bases: dict[str, list[str]] = {}
    above: list[str] = []
    for line in drawing.splitlines():
        match = _LINE.fullmatch(line.removeprefix("    "))
        assert match, f"not a line of the tree: {line!r}"
        depth = len(match["indent"]) // 4
        bases[match["name"]] = (above[depth - 1 : depth] if depth else ["Exception"]) + (
            [match["builtin"]] if match["builtin"] else []
        )
        above[depth:] = [match["name"]]
    return bases


def _classes() -> dict[str, type[Exception]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    assert _drawn_tree() == {
        name: [base.__name__ for base in value.__bases__] for name, value in _classes().items()
    }


@pytest.mark.parametrize("error", _classes().values(), ids=lambda error: error.__name__)
def test_every_error_is_a_redis_sessions_error(error: type[Exception]) -> None:
    assert issubclass(error, errors.RedisSessionsError)


@pytest.mark.parametrize("error", _classes().values(), ids=lambda error: error.__name__)
def test_every_error_says_what_it_means(error: type[Exception]) -> None:
    assert error.__doc__
    assert error.__doc__ != (error.__base__ or Exception).__doc__


def test_an_unavailable_store_did_not_write_unless_it_says_so() -> None:
    assert not errors.StoreUnavailableError("no answer").write_may_have_happened


def test_a_lost_answer_says_that_the_write_may_have_happened() -> None:
    assert errors.StoreUnavailableError("no answer", write_may_have_happened=True).write_may_have_happened


def test_a_batch_error_keeps_what_was_stored_and_what_failed() -> None:
    failure = errors.OutOfMemoryError("full")
    error = errors.BatchError("2 of 3", stored=(), failed={"chat": failure})

    assert (error.stored, error.failed) == ([], {"chat": failure})


def test_a_feed_gap_says_where_to_go_on() -> None:
    assert errors.FeedGapError("trimmed", resume_after="17-0").resume_after == "17-0"
