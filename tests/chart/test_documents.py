"""The chart's README, examples and images say what is so."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.chart.rendering import CHART, ROOT, find, notes, render, values

EXAMPLES = sorted((CHART / "examples").glob("*-values.yaml"))
OURS = [path for path in EXAMPLES if not path.name.startswith("langflow-")]
# The values of langflow-ide that the example sets, as that chart has them.
LANGFLOW_IDE = {
    "langflow.backend.replicaCount",
    "langflow.backend.numWorkers",
    "langflow.backend.image.repository",
    "langflow.backend.image.tag",
    "langflow.backend.env",
    "langflow.backend.sqlite.enabled",
    "langflow.backend.externalDatabase.enabled",
    *(
        f"langflow.backend.externalDatabase.{name}"
        for name in ("driver", "host", "port", "database", "user", "password")
    ),
}


def test_the_table_of_values_is_that_of_the_values() -> None:
    check = [sys.executable, str(CHART / "values_table.py"), "--check"]

    assert subprocess.run(check).returncode == 0, "run python charts/redis-sessions/values_table.py"


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_an_example_renders(path: Any) -> None:
    example = yaml.safe_load(path.read_text())

    assert render(example)
    assert "helm test" in notes(example)


def test_the_example_for_langflow_sets_what_its_chart_knows() -> None:
    example = yaml.safe_load((CHART / "examples" / "langflow-ide-values.yaml").read_text())

    for path in LANGFLOW_IDE:
        node: Any = example
        for name in path.split("."):
            node = node[name]
    assert set(leaves(example)) == LANGFLOW_IDE


def leaves(node: Any, path: str = "") -> list[str]:
    if not isinstance(node, dict) or set(node) & {"value", "valueFrom"}:
        return [path]
    return [leaf for name, part in node.items() for leaf in leaves(part, f"{path}.{name}".lstrip("."))]


def test_the_example_for_langflow_refers_to_what_the_chart_makes() -> None:
    manifests = render(values())
    example = yaml.safe_load((CHART / "examples" / "langflow-ide-values.yaml").read_text())
    environment = {one["name"]: one.get("valueFrom", {}) for one in example["langflow"]["backend"]["env"]}

    settings = find(manifests, "ConfigMap", "-client")
    for name in ("REDIS_SESSIONS_URL", "REDIS_SESSIONS_PREFIX", "REDIS_SESSIONS_USERNAME"):
        assert environment[name]["configMapKeyRef"] == {"name": settings["metadata"]["name"], "key": name}
        assert name in settings["data"]
    secret = find(manifests, "Secret", "-auth")
    assert environment["REDIS_SESSIONS_PASSWORD"]["secretKeyRef"]["name"] == secret["metadata"]["name"]
    assert environment["REDIS_SESSIONS_PASSWORD"]["secretKeyRef"]["key"] in secret["data"]


def test_the_image_takes_what_the_container_runs() -> None:
    text = (ROOT / "Containerfile").read_text()
    container = find(render(values()), "Deployment", "-monitor")["spec"]["template"]["spec"]["containers"][0]

    assert 'ENTRYPOINT ["redis-sessions"]' in text
    assert str(container["ports"][0]["containerPort"]) in text
    assert container["args"][0] == "serve"
    kept = (ROOT / ".containerignore").read_text().splitlines()
    for line in text.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in kept, source
