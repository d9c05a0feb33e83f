"""``python -m benchmarks.monitor``: the monitor endpoints against those of a stock Langflow, same data.

One worker each. The peers answer in turns, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from rich.console import Console
from rich.table import Table

from benchmarks import peers
from benchmarks.load import NOTHING, Figures, load, once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.peers import Peer

PATH = "/api/v1/monitor/messages"
FLOWS = ["5f1c2f6e-0b57-4a51-9f8e-4d7f5c3b9a10", "9a0f6d1e-4b7c-4c1d-8e2f-0a1b2c3d4e5f"]
READS_TARGET, RENAME_TARGET = 10, 100
_TEXT = "x" * 280
_PROPERTIES = {
    "text_color": "",
    "background_color": "",
    "edited": False,
    "source": {"id": "Model-1", "display_name": "Model", "source": "model"},
    "icon": "",
    "allow_markdown": False,
    "positive_feedback": None,
    "state": "complete",
    "targets": [],
    "usage": None,
    "build_duration": None,
}


@dataclass(frozen=True)
class Read:
    """A question that is asked again and again; ``count`` is how many the answer has."""

    what: str
    flow: int
    query: dict[str, str]
    path: str = PATH
    count: int = 100

    def target(self, peer: Peer) -> str:
        return f"{self.path}?{urlencode({'flow_id': peer.flows[self.flow], **self.query})}"


@dataclass
class Result:
    """What the peers needed, in their order."""

    what: str
    least: float
    shown: list[str] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return all(ratio >= self.least for ratio in self.ratios)


READS = [
    Read("messages of a session of 100", 0, {"session_id": "short", "limit": "100"}),
    Read("messages of a session of 10,000", 0, {"session_id": "long", "limit": "100"}),
    Read("messages of one of 10,000 sessions", 1, {"session_id": "s-5000", "limit": "100"}, count=1),
    Read("sessions of a flow with 10,000", 1, {"limit": "100"}, f"{PATH}/sessions"),
]


def rows(scale: int) -> list[dict[str, Any]]:
    """The messages, as rows of Langflow's table; every flow by its name."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    deep = {"long": scale, "rename": scale, "short": 100}
    sessions = [(0, name) for name, length in deep.items() for _ in range(length)]
    sessions += [(1, f"s-{number}") for number in range(scale)]
    return [
        {
            "id": str(uuid.UUID(int=number + 1, version=4)),
            "flow_id": FLOWS[flow],
            "session_id": session,
            "timestamp": (start + timedelta(milliseconds=number)).isoformat(),
            "sender": "User" if number % 2 else "Machine",
            "sender_name": "User",
            "text": _TEXT,
            "files": [],
            "error": False,
            "edit": False,
            "is_output": False,
            "properties": _PROPERTIES,
            "category": "message",
            "content_blocks": [],
        }
        for number, (flow, session) in enumerate(sessions)
    ]


async def measure(
    everyone: Sequence[Peer], *, seconds: float, rounds: int, connections: int, renames: int, console: Console
) -> list[Result]:
    """All questions to all peers, in turns."""
    results = []
    for read in READS:
        figures: dict[str, Figures] = {}
        with console.status(read.what):
            for peer in everyone:
                _, body = await once(peer, "GET", read.target(peer))
                if len(json.loads(body)) != read.count:
                    raise RuntimeError(f"{peer.name} answers {len(json.loads(body))} for {read.what}")
            for _ in range(rounds):
                for peer in everyone:
                    seen = await load(peer, read.target(peer), connections=connections, seconds=seconds)
                    figures[peer.name] = figures.get(peer.name, NOTHING) + seen
        result = Result(read.what, READS_TARGET)
        first = figures[everyone[0].name]
        for peer in everyone:
            one = figures[peer.name]
            result.shown.append(f"{one.rate:,.0f}/s, p99 {one.p99 * 1e3:,.1f} ms")
            if peer is not everyone[0]:
                result.ratios.append(first.rate / one.rate)
        results.append(result)
    with console.status("rename"):
        results.append(await _renames(everyone, renames))
    return results


async def _renames(everyone: Sequence[Peer], renames: int) -> Result:
    result = Result("rename a session of 10,000", RENAME_TARGET)
    taken = []
    for number, peer in enumerate(everyone):
        times = []
        names = ["rename", "renamed"]
        for _ in range(renames * (5 if number == 0 else 1)):
            target = f"{PATH}/session/{names[0]}?{urlencode({'new_session_id': names[1]})}"
            time, _ = await once(peer, "PATCH", target)
            times.append(time)
            names.reverse()
        taken.append(statistics.median(times))
    for time in taken:
        result.shown.append(f"{time * 1e3:,.0f} ms")
    result.ratios = [time / taken[0] for time in taken[1:]]
    return result


@contextlib.contextmanager
def everyone(langflow: str, data: list[dict[str, Any]], console: Console) -> Iterator[list[Peer]]:
    """All peers, up and filled; ours first."""
    with contextlib.ExitStack() as stack:
        with console.status("starting redis-sessions"):
            running = [stack.enter_context(peers.ours(data, FLOWS))]
        with console.status("starting Langflow on SQLite"):
            running.append(
                stack.enter_context(peers.langflow("Langflow, SQLite", langflow, None, data, FLOWS))
            )
        binaries = peers.postgres_binaries()
        if binaries is None:
            console.print("PostgreSQL is not installed: left out")
        else:
            with console.status("starting Langflow on PostgreSQL"):
                url = stack.enter_context(peers.postgres(binaries))
                running.append(
                    stack.enter_context(peers.langflow("Langflow, PostgreSQL", langflow, url, data, FLOWS))
                )
        yield running


def table(running: Sequence[Peer], results: Sequence[Result]) -> Table:
    drawn = Table(title="The monitor against a stock Langflow, one worker each", title_justify="left")
    drawn.add_column("what")
    for peer in running:
        drawn.add_column(peer.name, justify="right")
        if peer is not running[0]:
            drawn.add_column("ratio", justify="right")
    drawn.add_column("must reach", justify="right")
    drawn.add_column("")
    for result in results:
        cells = [result.shown[0]]
        for shown, ratio in zip(result.shown[1:], result.ratios, strict=True):
            cells += [shown, f"{ratio:,.1f} ×"]
        drawn.add_row(result.what, *cells, f"≥ {result.least:g} ×", "ok" if result.good else "MISSED")
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitor", description=__doc__)
    parser.add_argument(
        "--langflow", required=True, metavar="COMMAND", help="…/bin/langflow of a venv with langflow-base"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--connections", type=int, default=4, help="requests at the same time (4)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a figure misses its target")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 180)
    with everyone(arguments.langflow, rows(10_000), console) as running:
        results = asyncio.run(
            measure(
                running,
                seconds=2 if arguments.quick else 5,
                rounds=1 if arguments.quick else 3,
                connections=arguments.connections,
                renames=1 if arguments.quick else 3,
                console=console,
            )
        )
        console.print(table(running, results))
    return int(arguments.check and not all(result.good for result in results))


if __name__ == "__main__":
    sys.exit(main())
