"""What is printed: tables for people, JSON for machines, and stored text as nothing but text.

Results go to stdout. Notices and errors go to stderr. After an error nothing more is on stdout.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from redis_sessions.models import Message

TEXT_SHOWN = 2_000
"""Characters of a message that a table shows."""
_BRIEF = 60
_PIPE_WIDTH = 160
_JOINERS = "\u200c\u200d"  # within words and emoji
_NOT_TEXT = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def visible(text: str, *, lines: bool = False) -> str:
    """``text`` with everything escaped that could move the cursor, recolour or reorder what is shown.

    Args:
        lines: keep line breaks and tabs.
    """
    if text.isprintable():
        return text
    return "".join(char if _is_harmless(char, lines) else _escaped(char) for char in text)


def _is_harmless(char: str, lines: bool) -> bool:
    if char in "\n\t":
        return lines
    return char in _JOINERS or unicodedata.category(char) not in _NOT_TEXT


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()


def excerpt(text: str) -> str:
    """The beginning of a message's text, safe to show, and how much more there is."""
    rest = len(text) - TEXT_SHOWN
    shown = visible(text[:TEXT_SHOWN].replace("\r\n", "\n"), lines=True)
    return f"{shown}… (+{rest:,} characters; --json has all)" if rest > 0 else shown


def brief(text: str) -> str:
    """The first words of a message's text on one line, safe to show."""
    words = " ".join(text[:TEXT_SHOWN].split())
    return visible(words if len(words) <= _BRIEF else words[:_BRIEF] + "…")


def moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}"


def sender(message: Message) -> str:
    return visible(message.sender_name or message.sender)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, wide: str) -> None:
    """Print rows of text that is safe to show; cells that do not fit are folded, not cut.

    Args:
        wide: the column that gives way when the terminal is narrow.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    page = _Page()
    fitted = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(
        file=page,
        width=None if fitted else _PIPE_WIDTH,
        force_terminal=sys.stdout.isatty(),
        markup=False,
        emoji=False,
        highlight=False,
    )
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        grid.add_column(
            name, overflow="fold", no_wrap=name.startswith("Time"), ratio=1 if name == wide else None
        )
    for row in rows:
        grid.add_row(*map(Text, row))
    console.print(grid)
    say("\n".join(line.rstrip() for line in page.getvalue().splitlines()))


class _Page(io.StringIO):
    """Collects what rich prints for stdout, whose encoding decides which lines a table has."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return sys.stdout.encoding or "utf-8"


def say(text: str) -> None:
    """A result for people."""
    _print(text)


def dump(value: Any) -> None:
    """A result for machines: one line of JSON in ASCII, whatever the terminal's encoding."""
    _print(json.dumps(value, separators=(",", ":")))


def notice(text: str) -> None:
    """Something to know beside the result."""
    with contextlib.suppress(OSError):
        print(visible(text, lines=True), file=sys.stderr, flush=True)


def report(text: str, hint: str | None = None) -> None:
    """An error: what happened, and what to do."""
    notice(f"error: {text}" + (f"\nhint: {hint}" if hint else ""))


def confirmed(question: str) -> bool:
    """Whether the person at the terminal says yes. Nothing of the question is on stdout."""
    print(f"{visible(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def as_json(message: Message) -> dict[str, Any]:
    """A message's public shape: the fields of ``redis_sessions.Message`` and its ``cursor``."""
    return {**message.model_dump(mode="json"), "cursor": message.cursor}


def prepare_streams() -> None:
    """Escape characters that the terminal's encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        # Python flushes stdout once more when it ends: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(0) from None  # as in `history | head`: the reader has had enough
        report(f"the output cannot be written: {error.strerror}")
        raise typer.Exit(6) from None
