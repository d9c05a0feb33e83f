"""The rendered monitor and the pod of ``helm test``, run against the rendered tier."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chart.pods import tier
from tests.chart.rendering import RELEASE, find, values
from tests.chart.tiers import RUNS
from tests.support import reaper
from tests.support.servers import HOST, free_port
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chart.pods import Tier
    from tests.chart.rendering import Manifest

pytestmark = RUNS
PROGRAMS = Path(sys.executable).parent
OWNER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def environment(tier: Tier, container: Manifest) -> dict[str, str]:
    """The container's: what the ConfigMap and the Secret have, with addresses for names, and its own."""
    [reference] = container["envFrom"]
    assert (
        find(tier.manifests, "ConfigMap", "-client")["metadata"]["name"] == reference["configMapRef"]["name"]
    )
    secret = find(tier.manifests, "Secret", "-auth")["metadata"]["name"]
    env = {f"REDIS_SESSIONS_{name.upper()}": value for name, value in tier.client_settings().items()}
    env = {name: value for name, value in env.items() if "PASSWORD" not in name}
    for one in container["env"]:
        if "value" in one:
            env[one["name"]] = one["value"]
        else:
            chosen = one["valueFrom"]["secretKeyRef"]
            assert chosen["name"] == secret
            env[one["name"]] = tier.password(chosen["key"])
    return {**env, "PATH": f"{PROGRAMS}:/usr/bin:/bin", "HOME": str(tier.folder), "HOSTNAME": "test-store"}


@contextlib.contextmanager
def monitor(tier: Tier, port: int) -> Iterator[None]:
    """The container of the Deployment, as a process."""
    [container] = find(tier.manifests, "Deployment", "-monitor")["spec"]["template"]["spec"]["containers"]
    keys = tier.folder / "keys"
    command = [str(PROGRAMS / "redis-sessions"), "key", "new", "--owner", OWNER]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    keys.write_text(next(line.removeprefix("line:").strip() for line in made.splitlines() if "line:" in line))
    env = environment(tier, container)
    assert env["REDIS_SESSIONS_MONITOR_KEYS_FILE"].startswith("/etc/redis-sessions/keys/")
    env["REDIS_SESSIONS_MONITOR_KEYS_FILE"] = str(keys)
    arguments = [{"0.0.0.0": HOST, "7861": str(port)}.get(word, word) for word in container["args"]]
    process = subprocess.Popen(
        [str(PROGRAMS / "redis-sessions"), *arguments], env=env, stdout=subprocess.DEVNULL, cwd=tier.folder
    )
    reaper.tell("started", process.pid)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)
        reaper.tell("ended", process.pid)


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)
    except OSError:
        return 0


def probed(tier: Tier, probe: str, port: int) -> int:
    [container] = find(tier.manifests, "Deployment", "-monitor")["spec"]["template"]["spec"]["containers"]
    assert container[probe]["httpGet"]["port"] == container["ports"][0]["name"]
    return status(port, container[probe]["httpGet"]["path"])


def helm_test(tier: Tier, port: int) -> subprocess.CompletedProcess[str]:
    [container] = find(tier.manifests, "Pod", "-test-store")["spec"]["containers"]
    service = f"{RELEASE}-redis-sessions-monitor:80/"
    assert service in container["command"][-1]
    return subprocess.run(
        [word.replace(service, f"{HOST}:{port}/") for word in container["command"]],
        env=environment(tier, container),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tier.folder,
        timeout=90,
    )


def test_helm_test_passes_where_the_tier_and_the_monitor_serve_and_fails_where_not() -> None:
    access = {"access": {"kind": "keys", "keysSecret": "monitor-keys"}}
    with tier(values(monitor=access)) as made:
        made.start()
        made.wait_until_ready()
        port = free_port()
        with monitor(made, port):
            poll(lambda: probed(made, "startupProbe", port) == 200, timeout=60, interval=0.2)
            assert probed(made, "readinessProbe", port) == 200
            assert status(port, "/api/v1/monitor/messages") in (401, 403)

            passed = helm_test(made, port)
            assert passed.returncode == 0, passed.stderr
            assert "Is anybody there?" in passed.stdout
            assert made.client(0).keys("*") == [b"rs:{helm-test}:feed"]  # which expires

            made.pod("valkey", 0).stop()
            assert helm_test(made, port).returncode != 0
            # Redis that is away takes the pod out of the Service, and does not restart it.
            poll(lambda: probed(made, "readinessProbe", port) == 503, timeout=30, interval=0.2)
            assert probed(made, "livenessProbe", port) == 200
