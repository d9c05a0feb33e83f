"""What a transfer did, and what it found: counts, and a finding for each row that is not as it should be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_sessions.transfer.ledger import SessionSum


class What(StrEnum):
    """What is the matter with a row, a line or a message."""

    REFUSED = "refused"
    """It cannot be brought over; the detail says why."""
    MISSING = "missing"
    """It is on the side that was read and not on the side that was written."""
    DIFFERENT = "different"
    """It is on both sides, and not the same."""
    DELETED = "deleted"
    """It was imported once, and is gone from where it came from."""
    INCOMPLETE = "incomplete"
    """The file is not whole, or does not hold what it says."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that keeps the two sides from being equal. Never holds a text of a message.

    Attributes:
        what: see :class:`What`.
        where: the row or line: ``message 1695bd1f-…``, ``line 7``.
        flow_id, session_id: where it belongs, as far as that is known.
    """

    what: What
    where: str
    detail: str
    flow_id: str | None = None
    session_id: str | None = None

    def __str__(self) -> str:
        place = "" if self.flow_id is None else f" of flow {self.flow_id!r}"
        session = "" if self.session_id is None else f", session {self.session_id!r}"
        return f"{self.what}: {self.where}{place}{session}: {self.detail}"


@dataclass
class Report:
    """Counts, and findings handed on as they are found.

    Attributes:
        counts: by name, as ``messages added``.
        listen: is given every finding; none is kept here, however many there are.
        differ: is given every session whose counts or digests are not equal.
    """

    counts: Counter[str] = field(default_factory=Counter)
    findings: Counter[What] = field(default_factory=Counter)
    listen: Callable[[Finding], None] = lambda finding: None
    differ: Callable[[SessionSum], None] = lambda session: None

    def add(self, finding: Finding) -> None:
        self.findings[finding.what] += 1
        self.listen(finding)

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same, as far as they are compared."""
        return not self.findings
