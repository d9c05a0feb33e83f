"""What Helm makes of the chart: it fits every Kubernetes, and what must hold of it holds."""

from __future__ import annotations

import base64
import itertools
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import helm_python
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils as kubernetes_utils

from redis_sessions import acl
from tests.chart.rendering import (
    CHART,
    MODES,
    RELEASE,
    Manifest,
    find,
    merged,
    notes,
    pod_specs,
    render,
    values,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

KUBERNETES = ("1.25", "1.31", "1.37")
CUSTOM = {"Certificate", "HTTPRoute", "PrometheusRule", "ServiceMonitor"}  # not Kubernetes' own
EVERYTHING = {
    "valkey": {"exporter": {"enabled": True}},
    "backup": {"enabled": True, "restore": "20261122T031500Z"},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
    "monitor": {"httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]}},
}
TLS = {
    "plain": {},
    "issuer": {"tls": {"enabled": True, "certManager": {"issuer": "ca"}}},
    "tls-secret": {"tls": {"enabled": True, "existingSecret": "certificate"}},
}
KEYS = {"access": {"kind": "keys", "keysSecret": "monitor-keys"}}
AUTH = {"generated": {}, "auth-secret": {"auth": {"existingSecret": "passwords"}, "monitor": KEYS}}
PERSISTENCE = {"volume": {}, "no-volume": {"valkey": {"persistence": {"enabled": False}}}}
SCALING = {"fixed": {}, "hpa": {"monitor": {"autoscaling": {"enabled": True, "targetRequestsPerSecond": 50}}}}
INGRESS = {"inside": {}, "ingress": {"monitor": {"ingress": {"enabled": True, "hosts": ["chat.example"]}}}}
AXES = (TLS, AUTH, PERSISTENCE, SCALING, INGRESS)


def combined(mode: str, names: tuple[str, ...]) -> dict[str, Any]:
    result = values(mode, **EVERYTHING)
    for axis, name in zip(AXES, names, strict=True):
        result = merged(result, axis[name])
    return result


@pytest.mark.parametrize("mode", MODES)
def test_helm_finds_nothing_to_complain_about(mode: str) -> None:
    report = helm_python.lint(CHART, values(mode, **EVERYTHING), strict=True)

    assert report["errors"] == []
    assert [one for one in report["messages"] if one["severity"] > 1] == []


@pytest.mark.parametrize("version", ["v1.23.0", "v1.37.0"])
def test_the_oldest_and_the_newest_kubernetes_take_it(version: str) -> None:
    report = helm_python.lint(CHART, values(), strict=True, kube_version=version)

    assert report["errors"] == []


@pytest.fixture(autouse=True, scope="module")
def _schemas_are_read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubernetes_utils, "schema_contents", cache(kubernetes_utils.schema_contents))
        yield


@pytest.mark.parametrize("mode", MODES)
def test_every_combination_renders(mode: str) -> None:
    for names in itertools.product(*AXES):
        manifests = render(combined(mode, names))

        assert len(names_of(manifests)) == len(manifests), names
        assert "<no value>" not in json.dumps(manifests), names


@pytest.mark.parametrize("tls", TLS)
@pytest.mark.parametrize("mode", MODES)
def test_every_choice_is_valid_for_every_kubernetes(mode: str, tls: str) -> None:
    seen: set[str] = set()
    for place in (0, 1):  # of every axis the one choice, and the other
        for manifest in render(combined(mode, (tls, *(list(axis)[place] for axis in AXES[1:])))):
            text = json.dumps({**manifest, **({"data": {}} if manifest["kind"] == "Secret" else {})})
            if manifest["kind"] in CUSTOM or text in seen:
                continue
            seen.add(text)
            for version in KUBERNETES:
                kubernetes_validate.validate(manifest, version, strict=True)


SINCE = {  # the minor version of Kubernetes 1 that first had it
    "apps/v1": 9,
    "autoscaling/v2": 23,
    "batch/v1": 21,  # of CronJobs
    "networking.k8s.io/v1": 19,  # of Ingresses
    "policy/v1": 21,
    "v1": 0,
}


def test_the_least_kubernetes_is_the_one_that_has_all_that_is_used() -> None:
    everything = {**EVERYTHING, "monitor": {**SCALING["hpa"]["monitor"], **INGRESS["ingress"]["monitor"]}}
    used = {
        one["apiVersion"]
        for mode in MODES
        for one in render(values(mode, **everything))
        if one["kind"] not in CUSTOM
    }

    assert used == SINCE.keys()
    assert chart_file()["kubeVersion"] == f">=1.{max(SINCE[name] for name in used)}.0-0"


def chart_file() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
    return loaded


@pytest.mark.parametrize("mode", MODES)
def test_every_pod_is_hardened(mode: str) -> None:
    pods = pod_specs(render(values(mode, **EVERYTHING)))

    assert pods
    for name, pod in pods.items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert {*container["resources"]["requests"]} == {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize("mode", MODES)
def test_no_password_stands_in_a_command_an_environment_or_a_config_map(mode: str) -> None:
    manifests = render(values(mode, **EVERYTHING))
    secrets = {value for one in manifests if one["kind"] == "Secret" for value in one["data"].values()}

    rest = yaml.safe_dump([one for one in manifests if one["kind"] != "Secret"])
    for secret in secrets:
        assert secret not in rest
        assert base64.b64decode(secret).decode() not in rest


@pytest.mark.parametrize("mode", ["standalone", "sentinel", "cluster"])
@pytest.mark.parametrize("prefix", ["rs", "team-a:rs"])
def test_the_stores_user_has_the_rules_of_the_store(mode: str, prefix: str) -> None:
    files = find(render(values(mode, store={"prefix": prefix})), "ConfigMap", "-valkey")["data"]

    name, rules = files["users.acl"].splitlines()[0].split(" ", 1)
    assert name == "redis-sessions"
    assert set(rules.split()) == set(acl.rules(prefix).split())
    if mode == "sentinel":
        name, rules = files["sentinel-users.acl"].splitlines()[0].split(" ", 1)
        assert set(rules.split()) == set(acl.sentinel_rules().split())


@pytest.mark.parametrize(
    ("limit", "percent", "maxmemory"),
    [("1Gi", 60, 644245094), ("512Mi", 50, 268435456), ("2G", 75, 1500000000), ("1.5Gi", 60, 966367641)],
)
def test_maxmemory_leaves_room_below_the_limit(limit: str, percent: int, maxmemory: int) -> None:
    chosen = {"resources": {"limits": {"memory": limit}}, "maxmemoryPercent": percent}
    conf = find(render(values(valkey=chosen)), "ConfigMap", "-valkey")["data"]["valkey.conf"]

    assert f"\nmaxmemory {maxmemory}\n" in conf


@pytest.mark.parametrize("mode", ["standalone", "sentinel", "cluster"])
def test_a_huge_session_that_goes_blocks_nobody(mode: str) -> None:
    conf = find(render(values(mode)), "ConfigMap", "-valkey")["data"]["valkey.conf"]

    for name in ("lazy-expire", "lazy-server-del", "lazy-user-del", "lazy-user-flush"):
        assert f"\nlazyfree-{name} yes\n" in conf


def test_further_directives_come_last() -> None:
    config = {"hz": 50, "loglevel": "verbose", "notify-keyspace-events": '""', "rename": ["a b", "c d"]}
    conf = find(render(values(valkey={"config": config})), "ConfigMap", "-valkey")["data"]["valkey.conf"]

    assert conf.splitlines()[-5:] == [
        "hz 50",
        "loglevel verbose",
        'notify-keyspace-events ""',
        "rename a b",
        "rename c d",
    ]


RELEASES = ["a", "x" * 53, "redis-sessions", "my.dotted.release", "9lives", "ends-with-" + "y" * 42]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("mode", MODES)
def test_names_fit_whatever_the_release_is_called(mode: str, release: str) -> None:
    for one in render(values(mode, **EVERYTHING), release=release):
        name = one["metadata"]["name"]
        # The hash of a revision and a pod's ordinal come behind the names of what makes pods.
        longest = {"StatefulSet": 52, "CronJob": 52, "Job": 63, "Service": 63}.get(one["kind"], 63)
        assert len(name) <= longest, name
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name), name
        for value in one["metadata"]["labels"].values():
            assert re.fullmatch(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?", value), value


def test_long_names_stay_apart() -> None:
    first, second = ("x" * 52 + "a", "x" * 52 + "b")

    assert names_of(render(values(), release=first)).isdisjoint(names_of(render(values(), release=second)))


@pytest.mark.parametrize("mode", MODES)
def test_two_releases_live_in_one_namespace(mode: str) -> None:
    one, two = (render(values(mode, **EVERYTHING), release=name) for name in ("one", "two"))

    assert names_of(one).isdisjoint(names_of(two))
    for manifests, release in ((one, "one"), (two, "two")):
        for manifest in manifests:
            for selector in selectors(manifest):
                if "app.kubernetes.io/name" in selector:
                    assert selector["app.kubernetes.io/instance"] == release


def names_of(manifests: list[Manifest]) -> set[tuple[str, str]]:
    return {(one["kind"], one["metadata"]["name"]) for one in manifests}


def selectors(node: object) -> list[dict[str, str]]:
    """All label selectors in a manifest."""
    if isinstance(node, list):
        return [found for part in node for found in selectors(part)]
    if not isinstance(node, dict):
        return []
    own = [node["matchLabels"]] if "matchLabels" in node else []
    if isinstance(node.get("selector"), dict) and "matchLabels" not in node["selector"]:
        own.append(node["selector"])
    return own + [found for part in node.values() for found in selectors(part)]


@pytest.mark.parametrize("mode", MODES)
def test_selectors_find_the_pods_that_they_mean(mode: str) -> None:
    manifests = render(values(mode, **EVERYTHING))
    pods = [
        one["spec"]["template"]["metadata"]["labels"]
        for one in manifests
        if "template" in one.get("spec", {})
    ]
    for one in manifests:
        if one["kind"] in ("Service", "PodDisruptionBudget", "Deployment", "StatefulSet"):
            selector = one["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            matching = [labels for labels in pods if wanted.items() <= labels.items()]
            assert len(matching) == 1, (one["kind"], one["metadata"]["name"])


def test_the_network_policy_knows_clients_the_tier_and_no_others() -> None:
    manifests = render(values("cluster", **EVERYTHING))
    policy = find(manifests, "NetworkPolicy", "-valkey")["spec"]

    clients, tier, metrics = policy["ingress"]
    assert clients["ports"] == [{"protocol": "TCP", "port": 6379}]
    assert [one["podSelector"]["matchLabels"] for one in clients["from"][2:]] == [
        {"redis-sessions/client": "true"},
        {"langflow-scope": "backend"},
    ]
    assert {port["port"] for port in tier["ports"]} == {6379, 16379}
    assert metrics["ports"] == [{"protocol": "TCP", "port": 9121}]
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 6379, 16379}


def test_the_ingress_sends_only_the_monitors_paths() -> None:
    manifests = render(values(monitor={"ingress": {"enabled": True, "hosts": ["chat.example"]}}))

    [rule] = find(manifests, "Ingress", "-monitor")["spec"]["rules"]
    [path] = rule["http"]["paths"]
    assert (rule["host"], path["path"], path["pathType"]) == ("chat.example", "/api/v1/monitor", "Prefix")


def test_the_route_sends_only_the_monitors_paths() -> None:
    chosen = {"enabled": True, "parentRefs": [{"name": "gateway"}], "hostnames": ["chat.example"]}
    spec = find(render(values(monitor={"httpRoute": chosen})), "HTTPRoute", "-monitor")["spec"]

    [rule] = spec["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/api/v1/monitor"}}]
    assert [one["name"] for one in rule["backendRefs"]] == ["sessions-redis-sessions-monitor"]
    assert (spec["parentRefs"], spec["hostnames"]) == ([{"name": "gateway"}], ["chat.example"])


@pytest.mark.parametrize(
    ("targets", "kinds"),
    [
        ({"targetCpuPercent": 70, "targetRequestsPerSecond": 0}, ["Resource"]),
        ({"targetCpuPercent": 0, "targetRequestsPerSecond": 50}, ["Pods"]),
        ({"targetCpuPercent": 70, "targetRequestsPerSecond": 50}, ["Resource", "Pods"]),
    ],
)
def test_the_monitor_follows_the_processor_or_the_requests(targets: dict[str, int], kinds: list[str]) -> None:
    manifests = render(values(monitor={"autoscaling": {"enabled": True, **targets}}))
    scaler = find(manifests, "HorizontalPodAutoscaler", "-monitor")["spec"]

    assert [metric["type"] for metric in scaler["metrics"]] == kinds
    assert "replicas" not in find(manifests, "Deployment", "-monitor")["spec"]


@pytest.mark.parametrize("mode", ["standalone", "sentinel", "cluster"])
@pytest.mark.parametrize("kind", ["soft", "hard", "none"])
def test_pods_of_the_tier_are_spread(mode: str, kind: str) -> None:
    manifests = render(values(mode, valkey={"antiAffinity": kind}))
    wanted = {
        "soft": "preferredDuringSchedulingIgnoredDuringExecution",
        "hard": "requiredDuringSchedulingIgnoredDuringExecution",
    }
    for one in manifests:
        if one["kind"] == "StatefulSet":
            pod = one["spec"]["template"]["spec"]
            [zones] = pod["topologySpreadConstraints"]
            assert zones["topologyKey"] == "topology.kubernetes.io/zone"
            assert zones["labelSelector"] == one["spec"]["selector"]
            rules = pod.get("affinity", {}).get("podAntiAffinity", {})
            assert [*rules] == ([wanted[kind]] if kind in wanted else [])
            assert (
                find(manifests, "PodDisruptionBudget", one["metadata"]["name"])["spec"]["maxUnavailable"] == 1
            )


def test_a_change_of_the_configuration_rolls_the_pods() -> None:
    def checksum(**more: Any) -> str:
        pods = find(render(values(**more)), "StatefulSet", "-valkey")["spec"]["template"]
        return str(pods["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum()
    assert checksum() != checksum(valkey={"config": {"hz": 50}})


@pytest.mark.parametrize("mode", MODES)
def test_the_notes_say_how_to_connect(mode: str) -> None:
    text = notes(values(mode))

    assert f"helm test {RELEASE}" in text
    assert find(render(values(mode)), "ConfigMap", "-client")["data"]["REDIS_SESSIONS_URL"] in text
    assert "<no value>" not in text


def test_the_image_can_be_named_by_its_digest() -> None:
    digest = "sha256:" + "0" * 64
    pods = pod_specs(render(values(valkey={"image": {"digest": digest}})))

    assert (
        pods["StatefulSet/sessions-redis-sessions-valkey"]["containers"][0]["image"]
        == f"valkey/valkey@{digest}"
    )
