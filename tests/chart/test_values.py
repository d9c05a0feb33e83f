"""Wrong values are refused, and the message says which and why."""

from __future__ import annotations

import json
from typing import Any

import helm_python
import pytest
import yaml

from tests.chart.rendering import CHART, merged, render, values

SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def resolve(schema: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


WRONG = [
    ({"mode": "replicated"}, "/mode"),
    ({"valkey": {"persistance": {"enabled": False}}}, "'persistance' not allowed"),
    ({"valkey": {"resources": {"limits": {"memory": "lots"}}}}, "/valkey/resources/limits/memory"),
    ({"valkey": {"resources": {"limits": {"memory": "100m"}}}}, "write it as 512Mi"),
    ({"valkey": {"maxmemoryPercent": 100}}, "/valkey/maxmemoryPercent"),
    ({"valkey": {"config": {"requirepass": "secret"}}}, "valkey.config.requirepass: the chart decides"),
    ({"valkey": {"config": {"maxmemory-policy": "allkeys-lru"}}}, "the chart decides this one"),
    ({"valkey": {"image": {"digest": "latest"}}}, "/valkey/image/digest"),
    ({"valkey": {"image": {"pullPolicy": "sometimes"}}}, "/valkey/image/pullPolicy"),
    ({"valkey": {"antiAffinity": "yes"}}, "/valkey/antiAffinity"),
    ({"store": {"prefix": "a{b}"}}, "/store/prefix"),
    ({"store": {"prefix": "*"}}, "/store/prefix"),
    ({"store": {"settings": {"ttl": "5"}}}, "store.settings.ttl: names are written as"),
    ({"store": {"settings": {"PASSWORD": "secret"}}}, "store.settings.PASSWORD: this one"),
    ({"auth": {"username": "admin"}}, "is the name of another user"),
    ({"auth": {"password": "secret"}}, "'password' not allowed"),
    ({"auth": {"existingSecret": "Not A Name"}}, "/auth/existingSecret"),
    ({"tls": {"enabled": True}}, "tls.enabled needs a certificate"),
    ({"tls": {"enabled": "true"}}, "/tls/enabled"),
    ({"mode": "sentinel", "sentinel": {"nodes": 2}}, "/sentinel/nodes"),
    ({"mode": "sentinel", "sentinel": {"sentinels": 4}}, "/sentinel/sentinels"),
    ({"mode": "sentinel", "sentinel": {"quorum": 4}}, "sentinel.quorum is above"),
    ({"mode": "sentinel", "sentinel": {"minReplicasToWrite": 3}}, "no write could ever be accepted"),
    ({"mode": "cluster", "cluster": {"primaries": 2}}, "/cluster/primaries"),
    ({"mode": "cluster", "cluster": {"replicas": -1}}, "/cluster/replicas"),
    ({"mode": "external", "external": {"url": ""}}, "mode external needs external.url"),
    ({"mode": "external", "external": {"url": "rediss://user:secret@host"}}, "external.url holds a user"),
    ({"mode": "external", "external": {"url": "http://host"}}, "/external/url"),
    ({"monitor": {"access": {"kind": "open"}}}, "/monitor/access/kind"),
    ({"monitor": {"access": {"kind": "keys"}}}, "needs monitor.access.keysSecret"),
    ({"monitor": {"access": {"langflowUrl": ""}}}, "needs monitor.access.langflowUrl"),
    ({"monitor": {"ingress": {"enabled": True}}}, "needs monitor.ingress.hosts"),
    ({"monitor": {"httpRoute": {"enabled": True}}}, "needs monitor.httpRoute.parentRefs"),
    ({"monitor": {"replicas": 0}}, "/monitor/replicas"),
    ({"monitor": {"replicas": "two"}}, "/monitor/replicas"),
    (
        {"monitor": {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}}},
        "above maxReplicas",
    ),
    ({"monitor": {"autoscaling": {"enabled": True, "targetCpuPercent": 0}}}, "needs a target"),
    ({"monitor": {"service": {"port": 70_000}}}, "/monitor/service/port"),
    ({"backup": {"schedule": "at night"}}, "/backup/schedule"),
    ({"backup": {"restore": "yesterday"}}, "/backup/restore"),
    ({"backup": {"keep": 0}}, "/backup/keep"),
    ({"networkPolicy": {"clients": [{}]}}, "/networkPolicy/clients/0"),
    ({"prometheusRule": {"maxErrorRatio": 5}}, "/prometheusRule/maxErrorRatio"),
    ({"unknown": 1}, "'unknown' not allowed"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=[json.dumps(wrong) for wrong, _ in WRONG])
def test_a_wrong_value_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(helm_python.HelmError) as refused:
        render(merged(values(), wrong))

    assert message in str(refused.value)
    assert "secret@" not in str(refused.value)


def sections(node: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all objects in values.yaml whose names the schema fixes."""
    if not isinstance(node, dict):
        return []
    schema = SCHEMA
    for name in path:
        schema = resolve(schema["properties"][name])
    if "properties" not in schema:
        return []  # free names: labels, settings
    return [path] + [found for name, part in node.items() for found in sections(part, (*path, name))]


SECTIONS = sections(yaml.safe_load((CHART / "values.yaml").read_text()))


@pytest.mark.parametrize("path", SECTIONS, ids=lambda path: ".".join(path) or "top")
def test_a_typo_is_refused_wherever_it_is(path: tuple[str, ...]) -> None:
    wrong: dict[str, Any] = {"nosuchvalue": True}
    for name in reversed(path):
        wrong = {name: wrong}

    with pytest.raises(helm_python.HelmError) as refused:
        render(merged(values(), wrong))

    assert "'nosuchvalue' not allowed" in str(refused.value)
    assert "/".join(path) in str(refused.value)


def test_no_value_is_needed() -> None:
    assert render({})


def objects(node: object, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """All object schemas, with the paths to them."""
    if isinstance(node, list):
        return [found for index, part in enumerate(node) for found in objects(part, f"{path}/{index}")]
    if not isinstance(node, dict):
        return []
    own = [(path, node)] if node.get("type") == "object" else []
    return own + [found for name, part in node.items() for found in objects(part, f"{path}/{name}")]


def test_no_object_takes_what_it_does_not_know() -> None:
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    for path, schema in objects(SCHEMA):
        if path == "/properties/global":  # Helm's own
            continue
        assert "additionalProperties" in schema, path
        if "properties" in schema:
            assert schema["additionalProperties"] is False, path


def paths(node: object, path: str = "") -> set[str]:
    if not isinstance(node, dict) or not node:
        return {path}
    return {found for name, part in node.items() for found in paths(part, f"{path}/{name}".lstrip("/"))}


def test_schema_and_values_know_the_same_values() -> None:
    for path in paths(yaml.safe_load((CHART / "values.yaml").read_text())):
        schema = SCHEMA
        for name in path.split("/"):
            schema = resolve(schema)
            if "properties" not in schema:
                break  # free names: labels, settings
            assert name in schema["properties"], path
            schema = schema["properties"][name]


def test_each_default_is_said_why() -> None:
    """A sentence stands above every value, but those of objects that one sentence describes."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    undescribed = []
    described: list[int] = []
    for number, line in enumerate(lines):
        text = line.lstrip()
        if not text or text.startswith(("#", "- ")):
            continue
        indent = len(line) - len(text)
        described = [depth for depth in described if depth < indent]
        if lines[number - 1].lstrip().startswith("#"):
            described.append(indent)
        elif not described and not text.endswith(":"):
            undescribed.append(line)

    assert undescribed == []
