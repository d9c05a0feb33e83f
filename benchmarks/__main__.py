"""``python -m benchmarks``: measure, and print the table."""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys

import redis
from rich.console import Console
from rich.table import Table

from benchmarks import append, history, listing, memory, whole_sessions
from benchmarks.harness import Row, bench

QUESTIONS = {
    "append": append,
    "history": history,
    "whole_sessions": whole_sessions,
    "memory": memory,
    "listing": listing,
}


async def run(names: list[str], *, quick: bool, url: str | None, console: Console) -> list[Row]:
    """The rows of the named questions; each gets a store of its own."""
    rows = []
    for name in names:
        async with bench(quick=quick, url=url) as prepared:
            if not rows:
                info = await prepared.raw.info("server")
                server = (
                    f"Valkey {info['valkey_version']}"
                    if "valkey_version" in info
                    else f"Redis {info['redis_version']}"
                )
                console.print(
                    f"{server}, redis-py {redis.__version__}, Python {platform.python_version()}, one client"
                )
            with console.status(f"measuring {name} …"):
                rows += [row async for row in QUESTIONS[name].measure(prepared)]
    return rows


def table(rows: list[Row]) -> Table:
    """The rows as a table."""
    drawn = Table(title="redis-sessions against raw Redis commands", title_justify="left")
    for heading in ("what", "against", "ours", "theirs", "ratio", "middle 80 %", "must reach", ""):
        drawn.add_column(heading, justify="left" if heading in ("what", "against") else "right")
    for row in rows:
        digits = 0 if row.unit == "B" else 2
        spread = f"{row.spread[0]:.2f} to {row.spread[1]:.2f}" if row.spread else ""
        drawn.add_row(
            row.what,
            row.against,
            row.ours,
            row.theirs,
            f"{row.value:.{digits}f} {row.unit}",
            spread,
            f"≤ {row.target:g} {row.unit}",
            "ok" if row.good else "MISSED",
        )
    return drawn


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller data")
    parser.add_argument("--url", help="a Redis to measure; without it a Valkey is started")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a figure misses its target")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - QUESTIONS.keys()
    if unknown:
        parser.error(f"no such question: {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}")
    console = Console(width=None if sys.stdout.isatty() else 160)
    names = arguments.names or list(QUESTIONS)
    rows = asyncio.run(run(names, quick=arguments.quick, url=arguments.url, console=console))
    console.print(table(rows))
    return int(arguments.check and not all(row.good for row in rows))


if __name__ == "__main__":
    sys.exit(main())
