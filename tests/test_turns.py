from __future__ import annotations

import asyncio

from redis_sessions.turns import Turns


async def test_a_few_at_a_time_have_a_turn_and_all_in_the_end() -> None:
    turns = Turns(3, patience=60)
    inside = most = done = 0

    async def one() -> None:
        nonlocal inside, most, done
        async with turns.one():
            inside += 1
            most = max(most, inside)
            await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=0.001)
            inside -= 1
            done += 1

    await asyncio.gather(*(one() for _ in range(20)))
    assert (most, done) == (3, 20)


async def test_who_has_waited_long_enough_goes_on_and_keeps_no_place_of_others() -> None:
    turns = Turns(1, patience=0.02)
    for _ in range(3):
        async with turns.one(), turns.one(), turns.one():
            pass
    async with asyncio.timeout(5):
        async with Turns(1, patience=60).one():
            pass


async def test_a_crowd_leaves_others_as_much_time_as_its_turns_take() -> None:
    turns = Turns(1, patience=60, rest=1)
    loop = asyncio.get_running_loop()
    began: list[float] = []
    ended: list[float] = []

    async def one() -> None:
        async with turns.one():
            began.append(loop.time())
            await asyncio.wait({loop.create_future()}, timeout=0.02)
            ended.append(loop.time())

    await asyncio.gather(*(one() for _ in range(5)))
    for start, end, following in zip(began, ended, began[1:], strict=False):
        assert following - end >= (end - start) * 0.9


async def test_without_a_crowd_there_is_no_rest() -> None:
    turns = Turns(1, patience=60, rest=1_000)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(3):
        async with turns.one():
            await asyncio.wait({loop.create_future()}, timeout=0.02)
    assert loop.time() - started < 10
