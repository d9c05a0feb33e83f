"""What is said in a benchmark: turns of conversations as Langflow's rows have them, always the same ones.

Half of the turns are a person's, short; half an assistant's, longer, with the source that Langflow stores in
a message's properties; one in five of those is an agent's, with the steps it took. The lengths are drawn from
log-normal distributions with a fixed seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEED = 4711
_PROSE = (
    "the order arrived broken and I would like my money back because it was a present for somebody who "
    "leaves tomorrow could you look into what happened with the parcel and tell me when a new one comes "
    "thank you for the photo we have passed it on to the warehouse which confirms the damage so the "
    "refund is on its way to your account within three to five days please keep the box until then"
)
_WORDS = _PROSE.split()


@dataclass(frozen=True, slots=True)
class Turn:
    """One message, before any library has given it its own form."""

    text: str
    sender: str
    sender_name: str
    properties: dict[str, Any] = field(default_factory=dict)
    content_blocks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def by_user(self) -> bool:
        return self.sender == "User"

    @property
    def extra(self) -> dict[str, Any]:
        """What a library stores beside the text, if it has room for it."""
        shown = {"sender_name": self.sender_name, "properties": self.properties}
        return {**shown, "content_blocks": self.content_blocks} if self.content_blocks else shown


def turns(count: int, *, first: int = 0) -> list[Turn]:
    """``count`` turns of an endless conversation, from its turn ``first`` on."""
    return [turn(number) for number in range(first, first + count)]


def turn(number: int) -> Turn:
    """One turn; the same number is always the same turn."""
    chance = random.Random(_SEED * 1_000_003 + number)
    if number % 2 == 0:
        return Turn(_text(chance, 4.6, 0.7), "User", "User")
    properties = {
        "source": {"id": "Agent-x7Bq2", "display_name": "Agent", "source": "gpt-4o-mini"},
        "icon": "Bot",
        "state": "complete",
    }
    blocks = list(_steps(chance)) if chance.random() < 0.2 else []
    return Turn(_text(chance, 5.7, 0.8), "Machine", "AI", properties, blocks)


def plain(size: int) -> Turn:
    """A turn whose text has ``size`` bytes."""
    return Turn("x" * size, "User", "User")


def _text(chance: random.Random, mu: float, sigma: float) -> str:
    wanted = min(int(chance.lognormvariate(mu, sigma)) + 3, 20_000)
    words: list[str] = []
    length = 0
    while length < wanted:
        word = chance.choice(_WORDS)
        words.append(word)
        length += len(word) + 1
    return " ".join(words)


def _steps(chance: random.Random) -> Iterator[dict[str, Any]]:
    contents = [
        {
            "type": "tool_use",
            "duration": chance.randint(40, 4_000),
            "header": {"title": "Executed **search**", "icon": "Hammer"},
            "name": "search",
            "tool_input": {"query": _text(chance, 3.5, 0.4), "page": number},
            "output": _text(chance, 6.0, 0.6),
            "error": None,
        }
        for number in range(chance.randint(1, 3))
    ]
    yield {"title": "Agent Steps", "contents": contents, "allow_markdown": True, "media_url": None}
