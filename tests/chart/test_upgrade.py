"""What an upgrade does to a release that is there: nothing that Kubernetes refuses, and no new passwords."""

from __future__ import annotations

import base64
import http.server
import json
import shutil
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import helm_python
import pytest

from tests.chart.rendering import (
    CHART,
    MODES,
    NAMESPACE,
    RELEASE,
    Manifest,
    chart,
    find,
    parse,
    render,
    values,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER = {
    "commonLabels": {"team": "chat"},
    "valkey": {"image": {"tag": "9.1.3"}, "config": {"hz": 20}, "podAnnotations": {"a": "b"}},
    "sentinel": {"nodes": 5, "sentinels": 5},
    "cluster": {"primaries": 4},
    "monitor": {"image": {"tag": "0.2.0"}, "replicas": 3},
}
IMMUTABLE = {
    "StatefulSet": ("serviceName", "selector", "podManagementPolicy", "volumeClaimTemplates"),
    "Deployment": ("selector",),
    "Job": ("selector", "template"),
    "PersistentVolumeClaim": ("accessModes", "storageClassName"),
}


def immutable(manifests: list[Manifest]) -> dict[tuple[str, str], dict[str, Any]]:
    """What Kubernetes lets nobody change, by kind and name. Hooks are deleted before they are made."""
    return {
        (one["kind"], one["metadata"]["name"]): {
            name: one["spec"].get(name) for name in IMMUTABLE[one["kind"]]
        }
        for one in manifests
        if one["kind"] in IMMUTABLE and "helm.sh/hook" not in one["metadata"].get("annotations", {})
    }


@pytest.fixture
def next_version(tmp_path: Path) -> Iterator[helm_python.Chart]:
    """The same chart with the next version."""
    copy = tmp_path / "redis-sessions"
    shutil.copytree(CHART, copy)
    text = (copy / "Chart.yaml").read_text().replace("ersion: 0.1.0", "ersion: 0.2.0")
    (copy / "Chart.yaml").write_text(text)
    with helm_python.Chart.load(copy) as loaded:
        assert loaded.version == "0.2.0"
        yield loaded


@pytest.mark.parametrize("mode", MODES)
def test_an_upgrade_changes_nothing_that_cannot_be_changed(
    mode: str, next_version: helm_python.Chart
) -> None:
    more = {"backup": {"enabled": True}}
    before = immutable(render(values(mode, **more)))
    after = immutable(
        parse(
            next_version.render(
                values(mode, **more, **OTHER), name=RELEASE, namespace=NAMESPACE, revision=2, is_upgrade=True
            )
        )
    )

    assert before
    for name in before.keys() & after.keys():
        assert before[name] == after[name], name
    # A job has another name instead.
    assert {kind for kind, _ in before.keys() ^ after.keys()} <= {"Job"}


def test_what_cannot_be_changed_is_as_in_the_first_release() -> None:
    """Kept by hand: whoever changes this has to say in the chart's README how to upgrade."""
    found = immutable(render(values("sentinel")))["StatefulSet", "sessions-redis-sessions-valkey"]

    labels = {
        "app.kubernetes.io/name": "redis-sessions",
        "app.kubernetes.io/instance": "sessions",
        "app.kubernetes.io/component": "valkey",
    }
    [claim] = found.pop("volumeClaimTemplates")
    assert found == {
        "serviceName": "sessions-redis-sessions-valkey-nodes",
        "selector": {"matchLabels": labels},
        "podManagementPolicy": "Parallel",
    }
    assert claim["metadata"] == {"name": "data", "labels": labels}
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


class Kubernetes:
    """As much of an API server as Helm's ``lookup`` asks for: Secrets."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, str]] = {}
        kubernetes = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = kubernetes.answer(self.path.partition("?")[0])
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        secrets = f"/api/v1/namespaces/{NAMESPACE}/secrets/"
        if path == "/api":
            return 200, {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}
        if path == "/api/v1":
            resource = {"name": "secrets", "kind": "Secret", "namespaced": True, "verbs": ["get", "list"]}
            return 200, {"kind": "APIResourceList", "groupVersion": "v1", "resources": [resource]}
        name = path.removeprefix(secrets)
        if name in self.secrets:
            metadata = {"name": name, "namespace": NAMESPACE}
            return 200, {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "data": self.secrets[name],
            }
        return 404, {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": "NotFound",
            "code": 404,
        }

    def render(self, values: dict[str, Any]) -> list[Manifest]:
        host, port = self.server.server_address[:2]
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": f"http://{host!s}:{port}"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "users": [{"name": "me", "user": {}}],
        }
        with helm_python.Config(kubeconfig_content=json.dumps(kubeconfig), namespace=NAMESPACE) as config:
            return parse(config.render(chart(), values, name=RELEASE, namespace=NAMESPACE))


@contextmanager
def kubernetes() -> Iterator[Kubernetes]:
    made = Kubernetes()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()


def test_passwords_are_made_once_and_stay() -> None:
    with kubernetes() as cluster:
        first = find(cluster.render(values()), "Secret", "-auth")["data"]
        assert find(cluster.render(values()), "Secret", "-auth")["data"] != first

        cluster.secrets["sessions-redis-sessions-auth"] = first
        again = cluster.render(values("sentinel"))

        assert find(again, "Secret", "-auth")["data"] == first
        client = find(again, "Secret", "-client")["data"]
        assert client["REDIS_SESSIONS_PASSWORD"] == first["password"]
    assert len(set(first.values())) == 6
    assert {len(base64.b64decode(value)) for value in first.values()} == {40}


def test_a_password_that_a_later_version_needs_is_added() -> None:
    with kubernetes() as cluster:
        cluster.secrets["sessions-redis-sessions-auth"] = {
            "password": "b2xk",
            "password-previous": "b2xkZXI=",
        }

        found = find(cluster.render(values()), "Secret", "-auth")["data"]

    assert (found["password"], found["password-previous"]) == ("b2xk", "b2xkZXI=")
    assert found["admin-password"]


def test_new_passwords_in_a_secret_of_ones_own_roll_the_pods() -> None:
    def checksums() -> tuple[str, str]:
        manifests = cluster.render(values(auth={"existingSecret": "mine"}))
        data = find(manifests, "StatefulSet", "-valkey")["spec"]["template"]["metadata"]["annotations"]
        monitor = find(manifests, "Deployment", "-monitor")["spec"]["template"]["metadata"]["annotations"]
        return data["checksum/auth"], monitor["checksum/password"]

    with kubernetes() as cluster:
        cluster.secrets["mine"] = {"password": "b2xk"}
        before = checksums()
        assert checksums() == before
        cluster.secrets["mine"] = {"password": "bmV3"}
        after = checksums()

    assert before[0] != after[0]
    assert before[1] != after[1]
