"""What is brought over: messages, builds and transactions, each with its *origin*.

The origin is what the place it came from says beyond the fields of the record: columns that only it has, and
the exact form of a value where that is not the usual one. It is stored with the record and is not shown; an
export gives it back. ``None``: the record was made in the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003 - msgspec looks at it
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import msgspec
from pydantic import ConfigDict

from redis_sessions.models import NewMessage, Properties, StoredProperties, Transaction, VertexBuild

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis_sessions.transfer.report import Finding

NO_FLOW = "00000000-0000-0000-0000-000000000000"
"""The flow of messages that have none."""
MARK = "#"
"""In an origin: the first digits of the digest of the row as it was imported."""
_MARK_DIGITS = 10

Origin = dict[str, Any]
Position = dict[str, Any]
"""A place in a source, as JSON; reading can go on behind it."""


def mark(digest: bytes) -> str:
    """What an imported message keeps of the digest of its row."""
    return digest.hex()[:_MARK_DIGITS]


class ImportedMessage(NewMessage):
    """A message with its flow and its origin."""

    flow_id: str = ""
    origin: Origin | None = None


class RowMessage(msgspec.Struct):
    """A message that was a row: an :class:`ImportedMessage`, already checked, made in a tenth of its time."""

    text: str
    session_id: str
    timestamp: datetime
    id: str
    flow_id: str
    origin: Origin
    sender: str = ""
    sender_name: str = ""
    properties: Properties | StoredProperties | None = None
    user_id: str | None = None
    run_id: str | None = None
    context_id: str | None = None
    files: list[str] = msgspec.field(default_factory=list)
    error: bool = False
    edit: bool = False
    category: str = "message"
    content_blocks: list[dict[str, Any]] = msgspec.field(default_factory=list)
    session_metadata: dict[str, Any] | None = None
    duration: float | None = None


class Brief(NamedTuple):
    """Of a message, what a comparison needs beside its digest."""

    id: str
    session_id: str


class ImportedBuild(VertexBuild):
    """A build with its origin."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=False)

    origin: Origin | None = None


class ImportedTransaction(Transaction):
    """A transaction with its origin."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=False)

    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A record, the digest of what it was made of, and how a finding calls that (``line 7``)."""

    record: Any
    digest: bytes
    where: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one kind (``message``, ``build`` or ``transaction``) and one flow, oldest first.

    Attributes:
        findings: rows or lines among them that cannot become records.
        position: the place behind the batch.
        keys: for transactions, with a flow's first batch: the ids of all that will come, oldest first.
        size: rows or lines read, for the progress.
    """

    kind: str
    flow_id: str
    owner: str | None
    items: Sequence[Item] = ()
    findings: Sequence[Finding] = ()
    position: Position = field(default_factory=dict)
    keys: Sequence[str] | None = None
    size: int = 0


class Source(Protocol):
    """Where records come from. Blocking: it is read in a thread of its own."""

    @property
    def name(self) -> str:
        """What it is, without credentials; for people."""

    @property
    def identity(self) -> str:
        """What it is, for the checkpoint: another source has another."""

    @property
    def marks(self) -> bool:
        """Whether imported messages are marked as this source's, so that later changes are told apart."""

    def total(self) -> int | None:
        """How many rows or lines there are, about; None when that cannot be known."""

    def batches(self, after: Position | None = None, *, brief: bool = False) -> Iterator[Batch]:
        """All records, behind a position. ``brief``: of a message a :class:`Brief` will do for its record."""

    def digest_of(self, kind: str, stored: Any) -> bytes:
        """The digest that an item would have if it were what is stored."""

    def close(self) -> None:
        """Give back what is open."""
