"""Alerts and the dashboard ask for metrics that there are."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from redis_sessions.monitor import monitor_app
from tests.chart.pods import tier
from tests.chart.rendering import CHART, find, render, values
from tests.chart.substitutes import CLI

if TYPE_CHECKING:
    from redis_sessions import SessionStore
    from tests.chart.pods import Tier

# What oliver006/redis_exporter makes of INFO (exporter/exporter.go: metricMapGauges, metricMapCounters and
# what is below them; CLUSTER INFO and databases in info.go), as far as it is used here: the field that a
# metric comes from, and its labels.
EXPORTER: dict[str, tuple[str, set[str]]] = {
    "redis_aof_last_bgrewrite_status": ("aof_last_bgrewrite_status", set()),
    "redis_aof_last_write_status": ("aof_last_write_status", set()),
    "redis_cluster_state": ("cluster_state", set()),
    "redis_commands_processed_total": ("total_commands_processed", set()),
    "redis_connected_clients": ("connected_clients", set()),
    "redis_connected_slave_offset_bytes": ("slave0", {"slave_ip", "slave_port", "slave_state"}),
    "redis_db_keys": ("db0", {"db"}),
    "redis_master_link_up": ("master_link_status", {"master_host", "master_port"}),
    "redis_master_repl_offset": ("master_repl_offset", set()),
    "redis_memory_max_bytes": ("maxmemory", set()),
    "redis_memory_used_bytes": ("used_memory", set()),
}
SCRAPED = {"redis_up", "up"}  # of the exporter and of Prometheus themselves
TARGET = {"namespace", "service", "pod"}  # labels that the ServiceMonitor gives
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
    assert {name for name, _ in named} & EXPORTER.keys()
    for name, labels in named:
        assert name in ours or name in EXPORTER or name in SCRAPED, name
        known = ours.get(name, EXPORTER.get(name, ("", set()))[1]) | TARGET
        for label in re.findall(r'(\w+)(?:=~|!~|!=|=)"', labels):
            assert label in known, (name, label)


@pytest.mark.skipif(CLI is None, reason="redis-cli, which stands in for valkey-cli, is not installed")
@pytest.mark.timeout(240)
def test_the_servers_tell_the_exporter_what_the_metrics_are_made_of(cluster: Tier) -> None:
    """As the user that the exporter is, with the commands that it has."""
    told: set[str] = set()
    with tier(values("standalone", **ALL)) as standalone:
        standalone.start()
        standalone.wait_until_ready()
        standalone.client(0).set("rs:key", "value")
        told |= standalone.client(0, "exporter").info("all").keys()
    for number in range(cluster.nodes):
        told |= cluster.client(number).info("all").keys()
    told |= cluster.client(0).execute_command("CLUSTER INFO").keys()

    assert {field for field, _ in EXPORTER.values()} - told == set()


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
