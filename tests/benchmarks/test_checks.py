from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.checks import lies
from benchmarks.subjects import BY_NAME, ENTRIES, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.payloads import Turn


class Honest(Subject):
    """Sessions in a dictionary."""

    def __init__(self, url: str = "") -> None:
        super().__init__(url)
        self.sessions: dict[str, list[str]] = {}

    async def fill(self, session: str, turns: Sequence[Turn]) -> None:
        self.sessions.setdefault(session, []).extend(turn.text for turn in turns)

    async def append(self, session: str, turn: Turn) -> None:
        self.sessions[session].append(turn.text)

    async def history(self, session: str, count: int) -> int:
        return len(self.sessions[session][-count:])

    async def update(self, session: str, text: str) -> None:
        self.sessions[session][-1] = text

    async def delete_message(self, session: str) -> None:
        self.sessions[session].pop()

    async def rename(self, old: str, new: str) -> None:
        self.sessions[new] = self.sessions.pop(old)

    async def delete_session(self, session: str) -> None:
        del self.sessions[session]

    async def list_sessions(self, count: int) -> int:
        return min(count, len(self.sessions))

    async def texts(self, session: str) -> list[str]:
        return list(self.sessions.get(session, []))


async def test_who_does_what_it_says_passes() -> None:
    assert await lies(Honest()) == {}


async def test_an_append_in_front_is_a_lie() -> None:
    class Prepends(Honest):
        async def append(self, session: str, turn: Turn) -> None:
            self.sessions[session].insert(0, turn.text)

    assert list(await lies(Prepends())) == ["append"]


async def test_a_rename_that_copies_is_a_lie() -> None:
    class Copies(Honest):
        async def rename(self, old: str, new: str) -> None:
            self.sessions[new] = list(self.sessions[old])

    found = await lies(Copies())
    assert list(found) == ["rename"]
    assert found["rename"].startswith("LieError: under the old name")


async def test_a_delete_that_takes_others_along_is_a_lie() -> None:
    class Clears(Honest):
        async def delete_session(self, session: str) -> None:
            self.sessions.clear()

    assert list(await lies(Clears())) == ["delete_session"]


async def test_a_history_that_is_too_long_is_a_lie() -> None:
    class Unlimited(Honest):
        async def history(self, session: str, count: int) -> int:
            return len(self.sessions[session])

    assert list(await lies(Unlimited())) == ["history"]


async def test_an_update_of_nothing_and_a_delete_of_nothing_are_lies() -> None:
    class Idle(Honest):
        async def update(self, session: str, text: str) -> None:
            pass

        async def delete_message(self, session: str) -> None:
            pass

    assert list(await lies(Idle())) == ["update", "delete_message"]


async def test_what_fails_is_left_out_and_the_rest_is_checked() -> None:
    class Broken(Honest):
        async def rename(self, old: str, new: str) -> None:
            raise ConnectionError("gone")

    assert await lies(Broken()) == {"rename": "ConnectionError: gone"}


async def test_who_keeps_nothing_can_do_nothing() -> None:
    class Forgets(Honest):
        async def fill(self, session: str, turns: Sequence[Turn]) -> None:
            pass

    assert set(await lies(Forgets())) == set(Forgets.can())


def test_no_two_subjects_of_a_redis_server_share_a_database_unless_they_must() -> None:
    needs_first = {"langchain_redis", "redisvl", "raw", "ours"}  # RediSearch; and each has keys of its own
    others = [
        one.database for one in ENTRIES if one.environment != "langflow" and one.name not in needs_first
    ]
    assert len(set(others)) == len(others)
    assert 0 not in others
    assert all(BY_NAME[name].database == 0 for name in needs_first)
