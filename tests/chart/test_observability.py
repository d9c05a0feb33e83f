"""Alerts and the dashboard ask for metrics that there are."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from redis_sessions.monitor import monitor_app
from tests.chart.rendering import CHART, find, render, values

if TYPE_CHECKING:
    from redis_sessions import SessionStore

# What redis_exporter 1.80 makes of INFO, CLUSTER INFO and of itself, as far as it is used here.
EXPORTER = {
    "redis_aof_last_bgrewrite_status",
    "redis_aof_last_write_status",
    "redis_cluster_state",
    "redis_commands_processed_total",
    "redis_connected_clients",
    "redis_connected_slave_offset_bytes",
    "redis_db_keys",
    "redis_master_link_up",
    "redis_master_repl_offset",
    "redis_memory_max_bytes",
    "redis_memory_used_bytes",
    "redis_up",
}
ALL = {"prometheusRule": {"enabled": True}, "valkey": {"exporter": {"enabled": True}}}
SELECTOR = re.compile(r"([a-z_:]+)\{([^}]*)\}")


def rules(mode: str) -> list[dict[str, str]]:
    spec = find(render(values(mode, **ALL)), "PrometheusRule", "redis-sessions")["spec"]
    return [rule for group in spec["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return shown + [rule["expr"] for mode in ("cluster", "sentinel") for rule in rules(mode)]


@pytest.mark.backends("memory")
async def test_every_expression_names_metrics_and_labels_that_there_are(store: SessionStore) -> None:
    ours: dict[str, set[str]] = {}
    with TestClient(monitor_app(store), base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        client.get("/api/v1/monitor/messages/sessions")
        for family in text_string_to_metric_families(client.get("/metrics").text):
            for sample in family.samples:
                ours.setdefault(sample.name, set()).update(sample.labels)
            ours.setdefault(f"{family.name}_total" if family.type == "counter" else family.name, set())
    ours["redis_sessions_redis_faults_total"].add("class")  # once there was one

    named = {(name, labels) for text in expressions() for name, labels in SELECTOR.findall(text)}

    assert {name for name, _ in named} & ours.keys()
    for name, labels in named - {("up", labels) for _, labels in named}:
        assert name in ours or name in EXPORTER, name
        if name in ours:
            for label in re.findall(r'(\w+)(?:=~|!~|!=|=)"', labels):
                assert label in ours[name] | {"namespace", "service"}, (name, label)


@pytest.mark.parametrize(
    ("mode", "alerts"),
    [
        ("standalone", {"ValkeyDown", "ValkeyMemoryNearLimit", "ValkeyAppendOnlyFileFailed"}),
        ("sentinel", {"ValkeyReplicaLinkDown", "ValkeyReplicationLag"}),
        ("cluster", {"ValkeyReplicationLag", "ValkeyClusterNotWhole"}),
        ("external", {"RedisSessionsMonitorDown", "RedisSessionsErrors", "RedisSessionsSlow"}),
    ],
)
def test_a_mode_has_its_alerts(mode: str, alerts: set[str]) -> None:
    found = {rule["alert"]: rule for rule in rules(mode)}

    assert alerts <= found.keys()
    assert all(rule["annotations"]["summary"] for rule in found.values())
    assert mode != "external" or not any(name.startswith("Valkey") for name in found)


def test_expressions_keep_to_their_own_release() -> None:
    for rule in rules("cluster"):
        for _, labels in SELECTOR.findall(rule["expr"]):
            assert 'namespace="langflow",service="sessions-redis-sessions-' in labels, rule["alert"]
