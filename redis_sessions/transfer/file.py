"""A file of JSON lines: to read from, and to write."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Any

from redis_sessions.errors import ConfigurationError
from redis_sessions.transfer import lines
from redis_sessions.transfer.errors import TransferError, UnfitError
from redis_sessions.transfer.records import Batch, Item, Position
from redis_sessions.transfer.report import Finding, What

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis_sessions.transfer.scope import Scope

_LONGEST = 64 * 1024 * 1024
"""Bytes of a line: more than any that can be stored."""
_BATCH = 500
_BATCH_BYTES = 2 * 1024 * 1024
_HEAD = 4096
_COUNTED = {"flow": "flows", "message": "messages", "transaction": "transactions", "build": "builds"}


class FileSource:
    """The records of a file of JSON lines. A line that is not one of the format is a finding with its number.

    Raises:
        ConfigurationError: there is no such file, or it has another format.
    """

    marks = False

    def __init__(self, path: Path, scope: Scope) -> None:
        self._path = path
        self._scope = scope
        if not path.is_file():
            raise ConfigurationError(
                f"{str(path)!r} is a folder: name a file"
                if path.is_dir()
                else f"there is no file {str(path)!r}"
            )
        with self._opened() as file:
            head = file.read(_HEAD)
        self._size = path.stat().st_size
        self._digest = sha256(head).hexdigest()[:16]
        self._check(head)

    def _check(self, head: bytes) -> None:
        if head.startswith(b"SQLite format 3"):
            raise ConfigurationError(f"{self._path} is an SQLite database: write sqlite:///{self._path}")
        if not head.strip():
            raise ConfigurationError(f"{self._path} is empty")
        try:
            first = lines.decode_line(head.partition(b"\n")[0])
        except UnfitError:
            return  # told with its number, unless no line is better
        if first.get("type") == "header":
            if first.get("format") != lines.FORMAT:
                raise ConfigurationError(f"{self._path} is not a file of redis-sessions")
            version = first.get("version")
            if version != lines.VERSION:
                raise ConfigurationError(
                    f"{self._path} has version {version!r} of the format; this redis-sessions reads version "
                    f"{lines.VERSION}: a newer one may read it"
                )

    @property
    def name(self) -> str:
        return str(self._path)

    @property
    def identity(self) -> str:
        return f"file:{self._path.resolve()}:{self._size}:{self._digest}"

    def close(self) -> None:
        """Nothing is open between batches."""

    def total(self) -> int:
        with self._opened() as file:
            return sum(1 for _ in _numbered(file))

    def digest_of(self, kind: str, stored: Any) -> bytes:
        return lines.digest(lines.to_line(kind, stored))

    def batches(self, after: Position | None = None, *, brief: bool = False) -> Iterator[Batch]:
        with self._opened() as file:
            yield from _Reading(file, self._scope, self._path, after).batches()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            with self._path.open("rb") as file:
                yield file
        except OSError as error:
            raise TransferError(f"{self._path} cannot be read: {error.strerror}") from error


class _Reading:
    """One reading of a file."""

    def __init__(self, file: IO[bytes], scope: Scope, path: Path, after: Position | None) -> None:
        self._file = file
        self._scope = scope
        self._name = str(path)
        self._behind: int = after["line"] if after is not None else 0
        self._line = self._behind
        self._owners: dict[str, str | None] = {}
        self._counts: Counter[str] = Counter()
        self._has_header = False
        self._end: lines.End | None = None
        self._items: list[Item] = []
        self._findings: list[Finding] = []
        self._key = ("message", "")
        self._told = self._line

    def batches(self) -> Iterator[Batch]:
        size = 0
        for number, raw in _numbered(self._file):
            item: tuple[str, Any] | None = None
            try:
                item = self._record(number, raw)
            except UnfitError as error:
                if number > self._behind:
                    self._findings.append(Finding(What.REFUSED, f"line {number}", str(error)))
            if number <= self._behind:
                continue
            if item is not None and (item[0], item[1].flow_id) != self._key:
                if self._items or self._findings:
                    yield self._batch()
                self._key, size = (item[0], item[1].flow_id), 0
            if item is not None:
                digest = lines.digest(lines.to_line(*item))
                self._items.append(Item(item[1], digest, f"line {number}"))
            self._line = number
            size += len(raw or b"")
            if len(self._items) + len(self._findings) >= _BATCH or size >= _BATCH_BYTES:
                yield self._batch()
                size = 0
        self._conclude()
        if self._items or self._findings:
            yield self._batch()

    def _record(self, number: int, raw: bytes | None) -> tuple[str, Any] | None:
        if raw is None:
            raise UnfitError(f"longer than {_LONGEST // 2**20} MiB")
        if not raw.strip():
            return None
        line = lines.decode_line(raw)
        kind = line.get("type")
        if self._end is not None:
            raise UnfitError("it is behind the last line of the file")
        if kind in _COUNTED:
            self._counts[kind] += 1
        if kind == "header":
            if number != 1:
                raise UnfitError("a header in the middle of the file")
            self._has_header = True
        elif kind == "flow":
            flow = lines.parsed(lines.Flow, line)
            self._owners[flow.id] = flow.owner
        elif kind == "end":
            self._end = lines.parsed(lines.End, line)
        elif kind in lines.RECORDS:
            if number <= self._behind:
                return None
            record = lines.to_record(kind, {name: value for name, value in line.items() if name != "type"})
            if self._scope.has_flow(record.flow_id) and self._scope.has_time(record.timestamp):
                return kind, record
        else:
            raise UnfitError("it has no type of the format")
        return None

    def _conclude(self) -> None:
        if self._end is None:
            if self._has_header:
                detail = "its last line is missing: it was cut off, or is still being written"
                self._findings.append(Finding(What.INCOMPLETE, self._name, detail))
            return
        for kind, name in _COUNTED.items():
            said, found = getattr(self._end, name), self._counts[kind]
            if said != found:
                detail = f"it has {found:,} {name}, and should have {said:,}"
                self._findings.append(Finding(What.INCOMPLETE, self._name, detail))

    def _batch(self) -> Batch:
        kind, flow_id = self._key
        size, self._told = self._line - self._told, self._line
        batch = Batch(
            kind,
            flow_id,
            self._owners.get(flow_id),
            self._items,
            self._findings,
            {"line": self._line},
            None,
            size,
        )
        self._items, self._findings = [], []
        return batch


def _numbered(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their numbers; None for one that is too long."""
    line = 0
    while raw := file.readline(_LONGEST):
        line += 1
        if len(raw) < _LONGEST or raw.endswith(b"\n"):
            yield line, raw
            continue
        while (rest := file.readline(_LONGEST)) and not rest.endswith(b"\n"):
            pass
        yield line, None


class FileTarget:
    """Writes a file of JSON lines. It has its name only when it is whole.

    Args:
        path: the file; None for stdout.

    Raises:
        ConfigurationError: the file exists and ``replace`` is False, or its folder is not there.
    """

    def __init__(self, path: Path | None, *, replace: bool = False) -> None:
        self._path = path
        self._counts: Counter[str] = Counter()
        if path is None:
            self._file: IO[bytes] = sys.stdout.buffer
            return
        if path.exists() and (not replace or not path.is_file()):
            raise ConfigurationError(f"{str(path)!r} exists already; --force replaces a file")
        self._unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            # Messages are nobody else's business.
            self._file = os.fdopen(
                os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            )
        except OSError as error:
            raise ConfigurationError(f"{str(path)!r} cannot be written: {error.strerror}") from error

    @property
    def name(self) -> str:
        return "stdout" if self._path is None else str(self._path)

    def start(self) -> None:
        self._write(lines.encode_line(lines.header()))

    def flow(self, flow_id: str, owner: str | None) -> None:
        self._counts["flow"] += 1
        self._write(lines.encode_line({"type": "flow", "id": flow_id, "owner": owner}))

    def add(self, kind: str, records: list[Any]) -> None:
        self._counts[kind] += len(records)
        self._write(b"".join(lines.encode_line(lines.to_line(kind, record)) for record in records))

    def finish(self) -> None:
        """Write the last line, see it on the disk, and give the file its name."""
        self._write(
            lines.encode_line({"type": "end"} | {name: self._counts[kind] for kind, name in _COUNTED.items()})
        )
        with self._failures():
            self._file.flush()
            if self._path is not None:
                os.fsync(self._file.fileno())
                self._file.close()
                self._unfinished.replace(self._path)

    def abandon(self) -> None:
        """Remove what is not finished."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._unfinished.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        with self._failures():
            self._file.write(data)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise TransferError(f"{self.name} cannot be written: {error.strerror}") from error
