"""The examples for Langflow's own charts name values that those charts have, and objects that ours makes.

They were rendered with langflow-ide 0.1.1 and langflow-runtime 0.1.0 of langflow-ai/langflow-helm-charts,
the parts in comments too. Those charts have no schema and are not here: what may be set is listed below.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.chart.rendering import CHART, find, render, values

IDE, RUNTIME = "langflow-ide-values.yaml", "langflow-runtime-values.yaml"
KNOWN = {
    IDE: {
        "langflow.backend.replicaCount",
        "langflow.backend.numWorkers",
        "langflow.backend.image.repository",
        "langflow.backend.image.tag",
        "langflow.backend.env",
        "langflow.backend.volumes",
        "langflow.backend.volumeMounts",
        "langflow.backend.sqlite.enabled",
        "langflow.backend.externalDatabase.enabled",
        *(
            f"langflow.backend.externalDatabase.{name}"
            for name in ("driver", "host", "port", "database", "user", "password")
        ),
    },
    RUNTIME: {"replicaCount", "image.repository", "image.tag", "podLabels.redis-sessions/client", "env"},
}
# A list takes the place of the chart's, so that what the chart needs has to be in the example's.
DEFAULTS = {
    IDE: {"LANGFLOW_PORT", "LANGFLOW_ALEMBIC_LOG_FILE", "LANGFLOW_UPDATE_STARTER_PROJECTS"},
    RUNTIME: {
        "LANGFLOW_PORT",
        "LANGFLOW_LOG_LEVEL",
        "LANGFLOW_DATABASE_URL",
        "LANGFLOW_ALEMBIC_LOG_FILE",
        "LANGFLOW_UPDATE_STARTER_PROJECTS",
    },
}
VOLUMES = {"flows": "/app/flows", "tmp": "/tmp", "data": "/app/data", "db": "/app/db"}
BACKEND_SERVICE, BACKEND_PORT = "langflow-service-backend", 7860
PLAIN: dict[str, Any] = {}
FULL = {"mode": "sentinel", "tls": {"enabled": True, "certManager": {"issuer": "ca"}}}


def example(name: str, *, full: bool = False) -> dict[str, Any]:
    """As it is, or with what stands in comments: sentences begin with a capital, values do not."""
    lines = (CHART / "examples" / name).read_text().splitlines()
    if full:
        begin = next(number for number, line in enumerate(lines) if not line.startswith("#"))
        lines[begin:] = [_uncommented(line) for line in lines[begin:]]
    loaded: dict[str, Any] = yaml.safe_load("\n".join(lines))
    return loaded


def _uncommented(line: str) -> str:
    before, mark, text = line.partition("# ")
    is_value = mark and not before.strip() and text.lstrip()[:1].islower() | text.lstrip().startswith("- ")
    return before + text if is_value else line


def environment(name: str, *, full: bool = False) -> dict[str, dict[str, Any]]:
    loaded = example(name, full=full)
    env = loaded["env"] if name == RUNTIME else loaded["langflow"]["backend"]["env"]
    assert len({one["name"] for one in env}) == len(env)
    return {one["name"]: one for one in env}


def leaves(node: Any, path: str = "") -> list[str]:
    if not isinstance(node, dict) or set(node) & {"value", "valueFrom"}:
        return [path]
    return [leaf for name, part in node.items() for leaf in leaves(part, f"{path}.{name}".lstrip("."))]


@pytest.mark.parametrize("full", [False, True], ids=["as it is", "with its comments"])
@pytest.mark.parametrize("name", [IDE, RUNTIME])
def test_an_example_sets_only_what_the_chart_of_langflow_knows(name: str, full: bool) -> None:
    assert set(leaves(example(name, full=full))) <= KNOWN[name]


@pytest.mark.parametrize("name", [IDE, RUNTIME])
def test_an_example_keeps_the_environment_that_the_chart_of_langflow_gives(name: str) -> None:
    found = environment(name)

    assert [*found][: len(DEFAULTS[name])] == sorted(DEFAULTS[name], key=[*found].index)
    assert all("value" in found[variable] for variable in DEFAULTS[name])


def test_pods_that_are_several_have_one_signing_key() -> None:
    for name in (IDE, RUNTIME):
        assert "secretKeyRef" in environment(name)["LANGFLOW_SECRET_KEY"]["valueFrom"]


@pytest.mark.parametrize(
    ("name", "full", "chosen"),
    [(IDE, False, PLAIN), (RUNTIME, False, PLAIN), (IDE, True, FULL)],
    ids=["ide", "runtime", "ide with its comments"],
)
def test_an_example_tells_langflow_all_that_the_chart_knows(
    name: str, full: bool, chosen: dict[str, Any]
) -> None:
    manifests = render(chosen)
    settings, secret = find(manifests, "ConfigMap", "-client"), find(manifests, "Secret", "-auth")
    passwords = find(manifests, "Secret", "-client")["data"]
    found = {variable: one for variable, one in environment(name, full=full).items() if "REDIS" in variable}

    assert found.keys() == settings["data"].keys() | passwords.keys()
    for variable in settings["data"].keys() & found.keys():
        if variable == "REDIS_SESSIONS_TLS_CA_FILE":
            assert found[variable]["value"] == settings["data"][variable]
        else:
            reference = {"name": settings["metadata"]["name"], "key": variable}
            assert found[variable]["valueFrom"] == {"configMapKeyRef": reference}
    for variable in passwords:
        reference = found[variable]["valueFrom"]["secretKeyRef"]
        assert reference["name"] == secret["metadata"]["name"]
        assert secret["data"][reference["key"]] == passwords[variable]


def test_the_certificate_is_where_the_settings_look_for_it() -> None:
    backend = example(IDE, full=True)["langflow"]["backend"]
    manifests = render(FULL)

    [volume] = [one for one in backend["volumes"] if "secret" in one]
    [mount] = [one for one in backend["volumeMounts"] if one["name"] == volume["name"]]
    certificate = find(manifests, "Certificate", "-tls")["spec"]["secretName"]
    assert volume["secret"]["secretName"] == certificate
    [item] = volume["secret"]["items"]
    settings = find(manifests, "ConfigMap", "-client")["data"]
    assert f"{mount['mountPath']}/{item['path']}" == settings["REDIS_SESSIONS_TLS_CA_FILE"]
    assert {one["name"] for one in backend["volumes"]} == {*VOLUMES, volume["name"]}
    assert VOLUMES.items() <= {one["name"]: one["mountPath"] for one in backend["volumeMounts"]}.items()


def test_the_monitor_asks_the_service_of_langflows_own_chart() -> None:
    [container] = find(render(values()), "Deployment", "-monitor")["spec"]["template"]["spec"]["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"]}

    assert variables["REDIS_SESSIONS_MONITOR_LANGFLOW_URL"] == f"http://{BACKEND_SERVICE}:{BACKEND_PORT}"


def test_the_network_policy_lets_langflows_pods_in() -> None:
    policy = find(render(values()), "NetworkPolicy", "-valkey")["spec"]
    allowed = [one["podSelector"]["matchLabels"] for one in policy["ingress"][0]["from"]]

    assert {"langflow-scope": "backend"} in allowed  # which langflow-ide gives its backend
    assert example(RUNTIME)["podLabels"] in allowed
