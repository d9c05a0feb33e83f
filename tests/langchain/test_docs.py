"""What docs/langchain.md shows is what one gets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DOCS = (Path(__file__).parents[2] / "docs" / "langchain.md").read_text("utf-8")


def test_the_example_prints_what_is_shown() -> None:
    code, shown = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", DOCS, re.DOTALL).groups()  # type: ignore[union-attr]

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == shown


def test_without_langchain_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['langchain_core'] = None; import redis_sessions.langchain"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False
    )

    assert "pip install 'redis-sessions[langchain]'" in done.stderr
    assert "MissingExtraError" in done.stderr
