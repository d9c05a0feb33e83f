"""How long does a move take? `import` of a Langflow database, and `export` back into an empty one.

Each command runs as a process of its own against a Valkey of its own, as an operator runs it. Its CPU seconds
say more than its wall clock on a machine that does other things too.

    python -m benchmarks.transfer --messages 100000
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from benchmarks import payloads
from tests.support.servers import valkey_server
from tests.transfer.databases import PROPERTIES, LangflowDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

_SEED = 4711
_FLOWS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transfer", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--messages", type=int, default=100_000, metavar="N")
    parser.add_argument("--sessions", type=int, default=200, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="redis-sessions-bench-") as folder, valkey_server() as server:
        full, empty = Path(folder) / "langflow.db", Path(folder) / "empty.db"
        fill(full, options.messages, options.sessions)
        fill(empty, 0, 1)
        client = server.client()
        print(f"{options.messages:,} messages of {options.sessions:,} sessions in {_FLOWS} flows\n")
        print(f"| {'':<12} | messages/s | wall | CPU | CPU of Valkey | peak memory |")
        print("|---|---|---|---|---|---|")
        for name, *arguments in (
            ("import", "import", f"sqlite:///{full}"),
            ("import again", "import", f"sqlite:///{full}"),
            ("export", "export", "--to", f"sqlite:///{empty}"),
        ):
            took = run(arguments, server.url, client)
            print(
                f"| {name:<12} | {options.messages / took['wall']:,.0f} | {took['wall']:.1f} s "
                f"| {took['cpu']:.1f} s | {took['server']:.1f} s | {took['megabytes']:.0f} MB |",
                flush=True,
            )
        client.close()


def run(arguments: Sequence[str], url: str, client: Redis) -> dict[str, float]:
    """Seconds and peak memory of a command. It must say that both sides are equal."""
    served = _cpu_of(client)
    command = [sys.executable, "-m", "redis_sessions", *arguments]
    environment = os.environ | {"REDIS_SESSIONS_URL": url}
    began = time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read().decode()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    if process.returncode != 0 or "Both sides are equal." not in said:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}:\n{said}")
    return {
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
        "server": _cpu_of(client) - served,
        "megabytes": used.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024),
    }


def fill(path: Path, messages: int, sessions: int) -> None:
    """A Langflow database of such conversations."""
    database = LangflowDatabase(f"sqlite:///{path}")
    database.create()
    database.add_user()
    chance = random.Random(_SEED)
    flows = [_uuid(chance) for _ in range(_FLOWS)]
    for flow in flows:
        database.add_flow(flow)
    database.engine.dispose()
    if not messages:
        return
    rows = _rows(database, messages, sessions, flows, chance)
    first = next(rows)
    query = f"INSERT INTO message ({', '.join(first)}) VALUES ({', '.join('?' * len(first))})"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(query, tuple(first.values()))
        connection.executemany(query, (tuple(row.values()) for row in rows))
    connection.close()


def _rows(
    database: LangflowDatabase, messages: int, sessions: int, flows: Sequence[str], chance: random.Random
) -> Iterator[dict[str, Any]]:
    said = payloads.turns(min(messages, 4_000))
    for number in range(messages):
        turn = said[number % len(said)]
        properties = PROPERTIES | turn.properties
        if not turn.by_user:  # what a model took differs from answer to answer
            properties = properties | {
                "build_duration": round(chance.uniform(0.2, 9.0), 3),
                "usage": {name: chance.randint(20, 4_000) for name in _USAGE},
            }
        yield database.message(
            number,
            flow_id=UUID(flows[number % sessions % len(flows)]).hex,
            session_id=f"session-{number % sessions}",
            sender=turn.sender,
            sender_name=turn.sender_name,
            text=turn.text,
            id=UUID(_uuid(chance)).hex,
            properties=json.dumps(properties),
            content_blocks=json.dumps(turn.content_blocks),
        )


_USAGE = ("input_tokens", "output_tokens", "total_tokens")


def _uuid(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))


def _cpu_of(client: Redis) -> float:
    found: Any = client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


if __name__ == "__main__":
    main()
