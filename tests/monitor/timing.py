"""Does the time tell what exists? By hand: ``python -m tests.monitor.timing`` (``--requests 2000``).

A stranger asks every endpoint for what is somebody else's and for what nobody has, in turns, on a real
server. A row for each: the median, the ratio of the two medians, and how often somebody else's took longer
than nobody's (a half: the time tells nothing). The program ends with 1 where that is farther from a half than
chance explains and the medians are more than 5 % apart.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import sys
import time
import uuid
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

from redis_sessions import SessionStore
from redis_sessions.monitor import KeyAccess, new_key
from redis_sessions.monitor.app import PREFIX
from tests.monitor.test_isolation import BOB, client_of, fill_for_ann, made_up, probe, say
from tests.support import valkey_server

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

WARM = 30
APART = 0.05
SIGMAS = 4


async def one(client: httpx.AsyncClient, method: str, path: str, request: dict[str, Any]) -> float:
    """Seconds that an answer took."""
    request = dict(request)
    filled = path[: path.index("{")] + request.pop("path") if "{" in path else path
    started = time.perf_counter()
    await client.request(method, PREFIX + filled, **request)
    return time.perf_counter() - started


def how_often_longer(some: Sequence[float], others: Sequence[float]) -> float:
    """The share of pairs in which the first is the longer; equal ones are halves (Mann and Whitney)."""
    ranked = sorted(others)
    halves = sum(bisect_left(ranked, each) + bisect_right(ranked, each) for each in some)
    return halves / (2 * len(some) * len(others))


async def measure(requests: int, seed: int) -> bool:
    """Whether the time tells anything."""
    chance = random.Random(seed)
    key, hashed = new_key()
    told = False
    with valkey_server() as server:
        async with (
            SessionStore.from_url(server.url) as store,
            client_of(store, KeyAccess(store, {hashed: BOB}), key) as client,
        ):
            targets = (await fill_for_ann(store), made_up())
            for _ in range(3):
                await say(store, str(uuid.uuid4()), BOB, "of Bob")
            ratios = []
            for method, path in probe(targets[0]):
                asked = [probe(target)[method, path] for target in targets]
                for number in range(len(asked[0])):
                    times: tuple[list[float], list[float]] = ([], [])
                    gc.collect()
                    gc.disable()
                    for turn in range(-WARM, requests):
                        for which in chance.sample((0, 1), 2):
                            took = await one(client, method, path, asked[which][number])
                            if turn >= 0:
                                times[which].append(took)
                    gc.enable()
                    theirs, nobodys = map(statistics.median, times)
                    share = how_often_longer(*times)
                    sigma = ((2 * requests + 1) / (12 * requests**2)) ** 0.5
                    tells = abs(share - 0.5) > SIGMAS * sigma and abs(theirs / nobodys - 1) > APART
                    told |= tells
                    ratios.append(theirs / nobodys)
                    row = f"{method:6} {path:44} {number}  {nobodys * 1e6:7.0f} us"
                    row += f"  ratio {theirs / nobodys:.3f}  longer {share:.3f} (+-{sigma:.3f})"
                    print(row + ("  TELLS" if tells else ""), flush=True)
    print(f"{len(ratios)} kinds of requests, ratios {min(ratios):.3f} to {max(ratios):.3f}")
    return told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.monitor.timing")
    parser.add_argument("--requests", type=int, default=500, help="of each kind (default: 500)")
    parser.add_argument("--seed", type=int, default=1, help="of their order")
    asked = parser.parse_args()
    return int(asyncio.run(measure(asked.requests, asked.seed)))


if __name__ == "__main__":
    sys.exit(main())
