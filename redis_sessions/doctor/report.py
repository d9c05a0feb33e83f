"""What an examination finds, and what was done about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["ok", "note", "warning", "problem"]
SHOWN = 100
"""Findings of one kind that a report keeps one by one; the others are counted."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One question about the server, answered."""

    name: str
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with the data.

    Attributes:
        kind: which of :data:`KINDS`.
        flow_id: the flow, or None for what belongs to none.
        subject: what it is about: a session, an id, a key.
        text: what is wrong.
        mended: what was done; empty: nothing was.
    """

    kind: str
    flow_id: str | None
    subject: str
    text: str
    mended: str = ""


KINDS: dict[str, tuple[State, str]] = {
    "wrong_type": ("problem", "keys of another Redis type"),
    "log_without_name": ("problem", "logs without names"),
    "name_without_log": ("problem", "names without logs"),
    "expired": ("note", "leftovers of expired sessions"),
    "record": ("problem", "records that cannot be read"),
    "score": ("problem", "sessions at a wrong place in their flow's list, or not in it"),
    "number": ("problem", "id map entries that are missing, or of no session"),
    "alias": ("problem", "adopted ids of no message, or not listed with their session"),
    "adopted": ("problem", "listed adopted ids of another session, or of none"),
    "edit": ("problem", "changed contents of no message"),
    "foreign": ("problem", "entries that are not of their flow"),
    "unregistered": ("problem", "flows that are not registered"),
    "empty_flow": ("note", "registered flows without data"),
    "owner": ("note", "flows registered with another owner than theirs too"),
    "unknown_key": ("note", "keys of no known kind"),
}
"""How bad each kind of finding is, and what it is called."""


@dataclass(slots=True)
class Kind:
    """All findings of a kind: how many there are, how many of them were mended, and the first of them."""

    found: int = 0
    mended: int = 0
    first: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What an examination found.

    Attributes:
        facts: about the server, in the order of the questions.
        kinds: about the data, by :data:`KINDS`; only those of which something was found.
        keys: how many keys were looked at.
        flows: in how many flows.
    """

    facts: list[Fact] = field(default_factory=list)
    kinds: dict[str, Kind] = field(default_factory=dict)
    keys: int = 0
    flows: int = 0

    def add(self, finding: Finding) -> None:
        kind = self.kinds.setdefault(finding.kind, Kind())
        kind.found += 1
        kind.mended += bool(finding.mended)
        if len(kind.first) < SHOWN:
            kind.first.append(finding)

    @property
    def healthy(self) -> bool:
        """Whether no problem is left: warnings and notes are none."""
        return not any(fact.state == "problem" for fact in self.facts) and all(
            kind.mended == kind.found or KINDS[name][0] != "problem" for name, kind in self.kinds.items()
        )

    def as_json(self) -> dict[str, Any]:
        """The shape of ``doctor --json``."""
        return {
            "healthy": self.healthy,
            "server": [asdict(fact) for fact in self.facts],
            "keys": self.keys,
            "flows": self.flows,
            "findings": [
                {
                    "kind": name,
                    "state": KINDS[name][0],
                    "found": kind.found,
                    "mended": kind.mended,
                    "first": [asdict(finding) for finding in kind.first],
                }
                for name, kind in sorted(self.kinds.items(), key=lambda pair: list(KINDS).index(pair[0]))
            ],
        }
