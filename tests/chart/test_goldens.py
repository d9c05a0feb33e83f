"""The manifests of the four modes, as they are reviewed.

``python -m tests.chart.test_goldens`` writes them anew, and the chart's lists of commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from redis_sessions import acl
from tests.chart.rendering import CHART, MODES, Manifest, render, values

GOLDEN = Path(__file__).parent / "golden"
CHOICES: dict[str, dict[str, Any]] = {
    "standalone": {},
    "sentinel": {
        "tls": {"enabled": True, "certManager": {"issuer": "ca"}},
        "valkey": {"exporter": {"enabled": True}},
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "monitor": {
            "autoscaling": {"enabled": True},
            "ingress": {"enabled": True, "hosts": ["chat.example"], "tlsSecret": "chat"},
        },
    },
    "cluster": {
        "auth": {"existingSecret": "passwords"},
        "backup": {"enabled": True},
        "monitor": {
            "access": {"kind": "keys", "keysSecret": "monitor-keys"},
            "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]},
        },
    },
    "external": {"external": {"existingSecret": "managed-redis", "caSecret": "managed-redis"}},
}
FIXED = "bm90IGEgc2VjcmV0"


def golden(mode: str) -> str:
    """What the mode's file has: the manifests, with the same passwords each time and without the scripts."""
    return "".join(
        f"---\n{yaml.safe_dump(_steady(manifest), sort_keys=False, width=110)}"
        for manifest in render(values(mode, **CHOICES[mode]))
    )


def _steady(manifest: Manifest) -> Manifest:
    if manifest["kind"] == "Secret":
        return {**manifest, "data": dict.fromkeys(manifest["data"], FIXED)}
    if manifest["kind"] == "ConfigMap":  # the scripts are files, and reviewed as such
        data = {name: text for name, text in manifest["data"].items() if not name.endswith((".sh", ".json"))}
        return {**manifest, "data": data}
    return manifest


@pytest.mark.parametrize("mode", MODES)
def test_the_manifests_are_those_that_were_reviewed(mode: str) -> None:
    kept = (GOLDEN / f"{mode}.yaml").read_text()

    assert golden(mode) == kept, "run `python -m tests.chart.test_goldens` and review the difference"


@pytest.mark.parametrize(("name", "rules"), [("store", acl.rules()), ("sentinel", acl.sentinel_rules())])
def test_the_chart_has_the_commands_of_the_store(name: str, rules: str) -> None:
    kept = (CHART / "files" / f"{name}-commands.txt").read_text()

    assert commands(rules) == kept, "run `python -m tests.chart.test_goldens`"


def commands(rules: str) -> str:
    return "".join(f"{word}\n" for word in rules.split() if word.startswith("+"))


if __name__ == "__main__":
    (CHART / "files" / "store-commands.txt").write_text(commands(acl.rules()))
    (CHART / "files" / "sentinel-commands.txt").write_text(commands(acl.sentinel_rules()))
    GOLDEN.mkdir(exist_ok=True)
    for mode in MODES:
        (GOLDEN / f"{mode}.yaml").write_text(golden(mode))
