"""The chart's README, examples and images say what is so."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.chart.rendering import CHART, notes, render

EXAMPLES = sorted((CHART / "examples").glob("*-values.yaml"))
OURS = [path for path in EXAMPLES if not path.name.startswith("langflow-")]


def test_the_table_of_values_is_that_of_the_values() -> None:
    check = [sys.executable, str(CHART / "values_table.py"), "--check"]

    assert subprocess.run(check).returncode == 0, "run python charts/redis-sessions/values_table.py"


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_an_example_renders(path: Any) -> None:
    example = yaml.safe_load(path.read_text())

    assert render(example)
    assert "helm test" in notes(example)
