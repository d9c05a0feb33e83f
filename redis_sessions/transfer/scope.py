"""What a transfer is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """Which flows, and from when on.

    Attributes:
        flows: flow ids; None for all.
        since: only messages, builds and transactions of this time (with a time zone) or later.
    """

    flows: frozenset[str] | None = None
    since: datetime | None = None

    def has_flow(self, flow_id: str) -> bool:
        return self.flows is None or flow_id in self.flows

    def has_time(self, when: datetime) -> bool:
        return self.since is None or when >= self.since
