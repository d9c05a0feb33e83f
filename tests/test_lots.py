from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.lots import ONCE, SERVED, lot_of

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("test", "lot"),
    [
        ("tests/test_append.py::test[a::b]", "tests/test_append.py::test[a::b]"),
        ("tests/test_package.py::test", "tests/test_package.py"),
        ("tests/langflow/test_golden.py::test[x]", "servers"),
        ("tests/langflow/inside/test_builds.py::test", "inside"),
        ("tests/langflow/test_runtime.py::test", "tests/langflow/test_runtime.py"),
    ],
)
def test_a_lot_is_what_shares_something(test: str, lot: str) -> None:
    assert lot_of(test) == lot


@pytest.mark.parametrize("file", [*ONCE, *SERVED])
def test_a_file_of_a_lot_is_there(file: str) -> None:
    assert (ROOT / file).exists()


def test_every_file_that_asks_for_servers_of_langflow_is_in_their_lot() -> None:
    asking = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "tests/langflow").rglob("test_*.py")
        if "plugged: LangflowServer" in (text := file.read_text())
        or "stock: LangflowServer" in text
        or ("from tests.support.langflow" in text and "pair: " in text and "def pair" not in text)
    }

    assert asking <= set(SERVED)
