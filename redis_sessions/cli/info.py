"""`info`."""

from typing import Any

import typer

from redis_sessions.cli.options import Deadline, Json, Prefix, Url, Where
from redis_sessions.cli.output import dump, notice, say, visible
from redis_sessions.cli.running import run

_NAMES = {"redis": "Redis", "valkey": "Valkey", "fakeredis": "fakeredis, inside this process"}


def register(app: typer.Typer) -> None:
    app.command()(info)


def info(
    ctx: typer.Context, json: Json = False, url: Url = None, prefix: Prefix = None, deadline: Deadline = None
) -> None:
    """Show the server, how much it holds, and how safe that is.

    --json prints {"url", "kind", "server", "version", "primaries", "ping_ms", "prefix", "flows", "aof",
    "snapshots_since_start", "persisting_fails", "used_memory_bytes", "max_memory_bytes", "eviction"}; null
    is what the server does not tell. In a cluster, what is not about all is about one primary.
    """
    from redis_sessions.cli.facts import facts

    found = run(Where.of(ctx, url, prefix, deadline), facts)
    if json:
        dump(found)
        return
    lines = {
        "Store": visible(found["url"]),
        "Server": _server(found),
        "Answers in": f"{found['ping_ms']} ms",
        "Prefix": visible(found["prefix"]),
        "Flows": "not told" if found["flows"] is None else f"{found['flows']:,}",
        "Persistence": _persistence(found),
        "Memory": _memory(found),
    }
    say("\n".join(f"{name + ':':<12} {text}" for name, text in lines.items()))
    for warning in _warnings(found):
        notice(f"warning: {warning}")


def _server(found: dict[str, Any]) -> str:
    if found["server"] is None:
        return "not told (INFO is not allowed)"
    name = _NAMES.get(found["server"], visible(str(found["server"])))
    version = f" {visible(str(found['version']))}" if found["version"] else ""
    cluster = f", a cluster of {found['primaries']} primaries" if found["kind"] == "cluster" else ""
    return name + version + cluster


def _persistence(found: dict[str, Any]) -> str:
    if found["kind"] == "memory":
        return "none: gone when this process ends"
    if found["aof"] is None:
        return "not told"
    if found["aof"]:
        return "append-only file"
    saves = found["snapshots_since_start"]
    return "no append-only file" + (
        f"; {saves:,} snapshots since the server started" if saves is not None else ""
    )


def _memory(found: dict[str, Any]) -> str:
    if found["used_memory_bytes"] is None:
        return "not told"
    used = f"{found['used_memory_bytes'] / 2**20:,.1f} MiB"
    if found["max_memory_bytes"] is None:
        return f"{used}, no limit"
    return f"{used} of {found['max_memory_bytes'] / 2**20:,.1f} MiB, {visible(str(found['eviction']))}"


def _warnings(found: dict[str, Any]) -> list[str]:
    warnings = []
    if found["persisting_fails"]:
        warnings.append("the server fails to write its data to disk: its log says why")
    if found["max_memory_bytes"] is not None and str(found["eviction"]).startswith("allkeys"):
        warnings.append(
            "when memory is full this server throws sessions away: set maxmemory-policy to noeviction"
        )
    return warnings
