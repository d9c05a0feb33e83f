"""The backup and what restores it, run."""

from __future__ import annotations

import asyncio
import shutil

from tests.chart.pods import tier
from tests.chart.rendering import values
from tests.chart.tiers import RUNS, cluster_of, join, open_store
from tests.support.talk import say, texts
from tests.support.waiting import poll

pytestmark = RUNS


async def test_a_backup_becomes_a_new_servers_data() -> None:
    with tier(values(backup={"enabled": True})) as old:
        old.start()
        old.wait_until_ready()
        async with open_store(old) as store:
            for number in range(50):
                await say(store, f"{number}")
        (old.folder / "backup").mkdir()
        result = await asyncio.to_thread(
            old.run_job, "CronJob", "-backup", BACKUP_DIR=str(old.folder / "backup")
        )
        assert result.returncode == 0, result.stderr
        [file] = (old.folder / "backup").iterdir()
        stamp = file.name.removesuffix("-0.rdb")

        with tier(values(backup={"enabled": True, "restore": stamp})) as new:
            shutil.copytree(old.folder / "backup", new.folder / "backup")
            for _ in range(2):  # once it has data, the backup is left alone
                new.start()
                new.wait_until_ready()
                async with open_store(new) as store:
                    await say(store, "later", session="other")
                    assert await texts(store) == [f"{number}" for number in range(50)]
                new.pod("valkey", 0).stop()


def test_a_restore_of_a_backup_that_is_not_there_stops_the_pod() -> None:
    with tier(values(backup={"enabled": True, "restore": "20260101T000000Z"})) as made:
        made.start()
        poll(lambda: not made.pod("valkey", 0).alive)

        assert "there is no backup 20260101T000000Z" in made.pod("valkey", 0).log


async def test_a_clusters_backup_becomes_a_new_clusters_data() -> None:
    more = {"backup": {"enabled": True}}
    with tier({**cluster_of(3, 0), **more}) as old:
        old.start()
        join(old)
        old.wait_until_ready()
        async with open_store(old) as store:
            for flow in range(50):
                await say(store, f"{flow}", flow=f"flow-{flow}")
        (old.folder / "backup").mkdir()
        result = await asyncio.to_thread(
            old.run_job, "CronJob", "-backup", BACKUP_DIR=str(old.folder / "backup")
        )
        assert result.returncode == 0, result.stderr
        names = sorted(file.name for file in (old.folder / "backup").iterdir())
        assert [name[-6:] for name in names] == ["-0.rdb", "-1.rdb", "-2.rdb"]
        with tier({**cluster_of(3, 0), "backup": {"enabled": True, "restore": names[0][:-6]}}) as new:
            shutil.copytree(old.folder / "backup", new.folder / "backup")
            new.start()
            await asyncio.to_thread(join, new)
            new.wait_until_ready()
            async with open_store(new) as store:
                for flow in range(50):
                    assert await texts(store, flow=f"flow-{flow}") == [f"{flow}"]
