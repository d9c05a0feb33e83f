"""One process of the load: ``python -m tests.faults.worker JSON``. Says "ready", and ends well at SIGTERM."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from redis_sessions import SessionStore
from tests.faults.load import Load
from tests.faults.record import Recorder, listen_to_tokens
from tests.support.threaded import ThreadedStore


async def work(config: dict[str, Any]) -> None:
    listen_to_tokens()
    with Path(config["record"]).open("ab", buffering=0) as file:  # noqa: ASYNC230 - before anything runs
        kind = ThreadedStore if config["threads"] else SessionStore
        async with kind.from_url(config["url"], **config["options"]) as store:
            load = Load(
                store,
                Recorder(file, config["name"]),
                config["flows"],
                config["seed"],
                clock_off=config["clock_off"],
                pause=config["pause"],
            )
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stopped.set)
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await load.run(config["tasks"])


if __name__ == "__main__":
    asyncio.run(work(json.loads(sys.argv[1])))
