"""Renders the chart with real Helm, in this process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "redis-sessions"
MODES = ("standalone", "sentinel", "cluster", "external")
RELEASE, NAMESPACE = "sessions", "langflow"

Manifest = dict[str, Any]


def values(mode: str = "standalone", **more: Any) -> dict[str, Any]:
    """The least that a user has to say for a mode, and more."""
    least: dict[str, Any] = {"mode": mode}
    if mode == "external":
        least["external"] = {"url": "rediss://redis.example:6379/0"}
    return merged(least, more)


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``more`` put over it, dictionaries as deep as they go, as Helm does."""
    result = dict(base)
    for name, value in more.items():
        under = result.get(name)
        both = isinstance(value, dict) and isinstance(under, dict)
        result[name] = merged(under, value) if both and isinstance(under, dict) else value
    return result


@lru_cache
def chart() -> Chart:
    return Chart.load(CHART)


def render(values: dict[str, Any], *, release: str = RELEASE, namespace: str = NAMESPACE) -> list[Manifest]:
    """All manifests, in the order of their files.

    Raises:
        helm_python.HelmError: the values do not fit, or a template refuses them.
    """
    return parse(chart().render(values, name=release, namespace=namespace))


def notes(values: dict[str, Any]) -> str:
    return chart().render(values, name=RELEASE, namespace=NAMESPACE)["redis-sessions/templates/NOTES.txt"]


def parse(files: dict[str, str]) -> list[Manifest]:
    return [
        manifest
        for name, text in files.items()
        if not name.endswith(".txt")
        for manifest in yaml.load_all(text, Loader=yaml.CSafeLoader)
        if manifest is not None
    ]


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one of this kind whose name is the full name and ``name``, or ends so."""
    found = [one for one in manifests if one["kind"] == kind and one["metadata"]["name"].endswith(name)]
    assert len(found) == 1, [one["metadata"]["name"] for one in manifests if one["kind"] == kind]
    return found[0]


def pod_specs(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The specification of every pod that the manifests would make, by kind and name."""
    found = {}
    for one in manifests:
        spec = one.get("spec", {})
        if one["kind"] == "Pod":
            pod = spec
        elif one["kind"] == "CronJob":
            pod = spec["jobTemplate"]["spec"]["template"]["spec"]
        elif "template" in spec and "spec" in spec["template"]:
            pod = spec["template"]["spec"]
        else:
            continue
        found[f"{one['kind']}/{one['metadata']['name']}"] = pod
    return found
