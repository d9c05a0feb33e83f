"""Langflow really running: servers as processes, and a client that knows the way in.

::

    with langflow_server(tmp, REDIS_SESSIONS_URL=url) as server:
        flow = server.create_flow(chat_flow())
        server.run(flow, "hello", session_id="s1")
        server.http.get("/api/v1/monitor/messages", params={"session_id": "s1"})
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx

from tests.support import reaper, secrets
from tests.support.servers import HOST, free_port
from tests.support.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = 240
"""Seconds that a start may take on a busy machine; it takes about ten of CPU time."""

_ENVIRONMENT = {
    "LANGFLOW_AUTO_LOGIN": "true",
    "LANGFLOW_SUPERUSER_PASSWORD": "langflow",
    "LANGFLOW_CREATE_STARTER_PROJECTS": "false",
    "LANGFLOW_UPDATE_STARTER_PROJECTS": "false",
    "LANGFLOW_AGENTIC_EXPERIENCE": "false",
    "LANGFLOW_MCP_SERVER_ENABLED": "false",
    "LANGFLOW_MCP_COMPOSER_ENABLED": "false",
    "LANGFLOW_ADD_PROJECTS_TO_MCP_SERVERS": "false",
    "LANGFLOW_OPEN_BROWSER": "false",
    "LANGFLOW_STORE": "false",
    "LANGFLOW_LOG_LEVEL": "info",
    "LANGFLOW_DEACTIVATE_TRACING": "true",
    "DO_NOT_TRACK": "true",
    "NO_COLOR": "1",
    "PYTHONUNBUFFERED": "1",
}


class LangflowServer:
    """``langflow run`` in a process group of its own, with its configuration and database in ``folder``.

    Attributes:
        url: where it listens.
        log: everything it printed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 1,
        database: str | None = None,
        frontend: bool = False,
        **env: str,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.database = database or f"sqlite:///{folder / 'langflow.db'}"
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=120)
        self._log = folder / f"log-{self.port}"
        self._command = [sys.executable, "-m", "langflow", "run", "--host", HOST, "--port", str(self.port)]
        self._command += ["--workers", str(workers), "--worker-timeout", "300"]
        self._command += [] if frontend else ["--backend-only"]
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("LANGFLOW_", "REDIS_"))
        }
        self._env = kept | _ENVIRONMENT | {"LANGFLOW_CONFIG_DIR": str(folder / "config")} | env
        self._env["LANGFLOW_DATABASE_URL"] = self.database
        secrets.remember_settings(self._env)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> LangflowServer:
        """Start, and return when it answers and the client is logged in."""
        self.spawn()
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Wait until a spawned server answers, and log in."""
        poll(lambda: not self.alive or self.healthy(), timeout=START, interval=0.2)
        if not self.alive:
            raise RuntimeError(f"Langflow did not start:\n{self.log[-4000:]}")
        self.log_in()

    def spawn(self) -> None:
        """Start, and do not wait."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self._env,
                start_new_session=True,
            )
        reaper.tell("started", self._process.pid)

    def healthy(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self.http.get("/health_check", timeout=5).status_code == 200
        return False

    def log_in(self) -> None:
        """As the default superuser, with an API key: what ``/run`` asks for."""
        token = self.http.get("/api/v1/auto_login").raise_for_status().json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        answer = self.http.post("/api/v1/api_key/", json={"name": "tests"}, headers=bearer)
        self.http.headers["x-api-key"] = answer.raise_for_status().json()["api_key"]
        secrets.remember(self.http.headers["x-api-key"])
        self.http.cookies.clear()

    def wait(self, timeout: float = START) -> int:
        """Wait until the process has ended; its exit status."""
        assert self._process is not None
        return self._process.wait(timeout)

    def stop(self) -> None:
        """Stop as a service manager does, and what does not stop then at once."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reaper.tell("ended", process.pid)

    def close(self) -> None:
        self.http.close()
        self.stop()
        secrets.look_at("Langflow's log", self.log)

    def create_flow(self, flow: dict[str, Any]) -> str:
        """Store a flow; its id."""
        answer = self.http.post("/api/v1/flows/", json=flow)
        return str(answer.raise_for_status().json()["id"])

    def run(self, flow_id: str, text: str, **body: Any) -> dict[str, Any]:
        """``POST /api/v1/run/{flow_id}``; its answer. ``body`` may have ``session_id`` and ``tweaks``."""
        answer = self.http.post(
            f"/api/v1/run/{flow_id}",
            json={"input_value": text, "input_type": "chat", "output_type": "chat"} | body,
        )
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.status_code}: {answer.text[:2000]}")
        return dict(answer.json())

    def messages(self, **params: Any) -> list[dict[str, Any]]:
        """``GET /api/v1/monitor/messages``, oldest first."""
        answer = self.http.get("/api/v1/monitor/messages", params=params).raise_for_status()
        return list(answer.json())

    def sessions(self, flow_id: str) -> list[str]:
        """``GET /api/v1/monitor/messages/sessions``."""
        answer = self.http.get("/api/v1/monitor/messages/sessions", params={"flow_id": flow_id})
        return list(answer.raise_for_status().json())

    def build(self, flow_id: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """``POST /api/v1/build/{flow_id}/flow``, as the Playground does; the events of the run."""
        job = self.http.post(f"/api/v1/build/{flow_id}/flow", json=body).raise_for_status().json()["job_id"]
        answer = self.http.get(f"/api/v1/build/{job}/events", params={"event_delivery": "streaming"})
        return [json.loads(line) for line in answer.raise_for_status().text.splitlines() if line.strip()]


@contextlib.contextmanager
def langflow_server(folder: Path, **options: Any) -> Iterator[LangflowServer]:
    """A started server; arguments as for :class:`LangflowServer`."""
    with contextlib.closing(LangflowServer(folder, **options)) as server:
        yield server.start()
