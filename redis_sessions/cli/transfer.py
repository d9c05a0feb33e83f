"""`import` and `export`."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from redis_sessions.cli.exits import Exit, fail, failures
from redis_sessions.cli.missing import no_flow
from redis_sessions.cli.options import Deadline, Json, Prefix, Url, Where
from redis_sessions.cli.output import dump, notice, say, visible
from redis_sessions.cli.progress import Bar
from redis_sessions.cli.running import run
from redis_sessions.errors import ConfigurationError, StoreUnavailableError

if TYPE_CHECKING:
    from redis_sessions.store import SessionStore
    from redis_sessions.transfer import Finding, Report, Scope
    from redis_sessions.transfer.ledger import SessionSum
    from redis_sessions.transfer.records import Source

_SHOWN = 100
"""Findings that are shown; --findings has all."""
_ALL = 2**31 - 1

Flows = Annotated[
    list[str] | None,
    typer.Option("--flow", metavar="FLOW", help="Only this flow; may be repeated.", show_default=False),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only what is from this time on, as in 2026-01-31 or 2026-01-31T12:00:00Z (UTC).",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what would be done.")]
Findings = Annotated[
    Path | None,
    typer.Option(
        "--findings",
        metavar="FILE",
        help="Write every finding to FILE, as JSON lines; without it 100 are shown.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    app.command("import")(import_)
    app.command()(export)


def import_(
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="sqlite:///langflow.db, postgresql://user@host/langflow, or a file that `export` wrote.",
            show_default=False,
        ),
    ],
    flow: Flows = None,
    since: Since = None,
    dry_run: DryRun = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also replace messages that were changed in the store since.")
    ] = False,
    delete: Annotated[
        bool,
        typer.Option(
            "--delete", help="Also remove imported messages that are gone from the database since (no file)."
        ),
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Do not go on where an earlier import stopped; begin again.")
    ] = False,
    findings: Findings = None,
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Bring messages, transactions and builds in: from a Langflow database, or from a file.

    Nothing is brought over twice: run it again to pick up what came since, or to go on after it was stopped.
    Nothing is changed in SOURCE. At the end both sides are read again and compared.

    Exits with 0 when they are equal, and with 7 when there is a difference: each is shown. A password in
    SOURCE can be seen by other users of the machine; PGPASSWORD and ~/.pgpass work too.

    --json prints {"source", "equal", "counts", "findings", "sessions_different"}.
    """
    scope = _scope(flow, since)
    with failures():
        opened = _source(source, scope)
    from redis_sessions.transfer import Import

    async def work(store: "SessionStore", report: "Report", bar: Bar) -> None:
        if hasattr(opened, "keep_newest"):
            opened.keep_newest(store.settings.max_transactions)
        task = Import(
            store, opened, scope, report, bar,
            dry_run=dry_run, overwrite=overwrite, delete=delete, restart=restart,
        )  # fmt: skip
        try:
            await task.run()
        except StoreUnavailableError:
            bar.tell("stopped; run the same command again, and it goes on from here")
            raise
        if flow and report.equal and not any(report.counts.values()):
            bar.tell(f"{opened.name} has nothing of {_named(flow)}{' since then' if since else ''}")

    with contextlib.closing(opened):
        _transfer(
            Where.of(ctx, url, prefix, deadline),
            work,
            "rows",
            {"source": opened.name},
            findings,
            json,
            dry_run,
        )


def export(
    ctx: typer.Context,
    target: Annotated[str | None, typer.Argument(hidden=True)] = None,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="TARGET",
            help="A file, - for stdout, or a database of Langflow's: sqlite:///langflow.db, postgresql://…",
        ),
    ] = "-",
    flow: Flows = None,
    since: Since = None,
    dry_run: DryRun = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    findings: Findings = None,
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Take messages, transactions and builds out: as JSON lines, or back into a Langflow database.

    In a database, rows that are not there are added, those that differ changed, and none is removed. A file
    has its name only when it is whole. At the end what was written is read again and compared; on stdout it
    cannot be.

    Exits with 0 when both sides are equal, and with 7 when there is a difference: each is shown.

    --json prints {"target", "equal", "counts", "findings", "sessions_different"}; with --to - nothing.
    """
    if target is not None:
        fail(Exit.BAD_INPUT, "where to is an option", f"redis-sessions export --to {target}")
    scope = _scope(flow, since)
    where = Where.of(ctx, url, prefix, deadline)
    if "://" in to:
        _export_to_database(where, to, scope, findings, json, dry_run)
        return
    if dry_run:
        fail(Exit.BAD_INPUT, "--dry-run is for databases: a file would hold everything")
    from redis_sessions.transfer import Export
    from redis_sessions.transfer.file import FileSource, FileTarget

    path = None if to == "-" else Path(to)

    async def work(store: "SessionStore", report: "Report", bar: Bar) -> None:
        await _check_flows(store, scope)
        written: Callable[[], Source] | None = None
        if path is not None:
            written = lambda: FileSource(path, scope)  # noqa: E731
        await Export(store, scope, report, bar).to_file(FileTarget(path, replace=force), written)

    quiet = path is None
    try:
        _transfer(where, work, "records", {"target": to}, findings, json and not quiet, False, quiet=quiet)
    except BrokenPipeError:
        raise typer.Exit(0) from None  # as in `export | head`


def _export_to_database(
    where: Where, to: str, scope: "Scope", findings: Path | None, json: bool, dry_run: bool
) -> None:
    with failures():
        from redis_sessions.transfer.sql.database import Database
        from redis_sessions.transfer.sql.source import SqlSource
        from redis_sessions.transfer.sql.target import SqlTarget

        database = Database(to, writable=True)
    from redis_sessions.transfer import Export

    async def work(store: "SessionStore", report: "Report", bar: Bar) -> None:
        await _check_flows(store, scope)

        def written() -> "Source":
            return SqlSource(database, scope, newest=_ALL, whole=False)

        await Export(store, scope, report, bar).to_database(SqlTarget(database), written, dry_run=dry_run)

    with contextlib.closing(database):
        _transfer(where, work, "records", {"target": database.name}, findings, json, dry_run)


async def _check_flows(store: "SessionStore", scope: "Scope") -> None:
    """A flow that was mistyped is not exported as one without messages."""
    for flow in sorted(scope.flows or ()):
        if not await store.has_flow(flow):
            no_flow(flow)


def _named(flows: list[str]) -> str:
    return f"flow {flows[0]!r}" if len(flows) == 1 else "these flows"


def _scope(flows: list[str] | None, since: str | None) -> "Scope":
    from uuid import UUID

    from redis_sessions.transfer import Scope

    names = []
    for flow in flows or []:
        try:
            names.append(str(UUID(flow)))
        except ValueError:
            names.append(flow)
    if since is None:
        return Scope(frozenset(names) if names else None)
    try:
        when = datetime.fromisoformat(since)
    except ValueError:
        fail(Exit.BAD_INPUT, "--since is not a time", "write it as in 2026-01-31 or 2026-01-31T12:00:00Z")
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
    return Scope(frozenset(names) if names else None, when)


def _source(text: str, scope: "Scope") -> Any:
    if "://" not in text:
        from redis_sessions.transfer.file import FileSource

        if text.startswith(("sqlite:", "postgres")) or text.endswith((".db", ".sqlite", ".sqlite3")):
            raise ConfigurationError(
                f"{text!r} looks like a database: write sqlite:///{text.removeprefix('sqlite:').lstrip('/')}"
                if "postgres" not in text
                else "write the URL of a database as postgresql://user@host/database"
            )
        return FileSource(Path(text), scope)
    from redis_sessions.transfer.sql.database import Database
    from redis_sessions.transfer.sql.source import SqlSource

    return SqlSource(Database(text), scope, newest=_ALL)


class _Told:
    """The findings: to the screen as far as they fit, to a file all of them."""

    def __init__(self, bar: Bar, file: IO[str] | None) -> None:
        self._bar = bar
        self._file = file
        self.listed: list[dict[str, Any]] = []
        self.sessions: list[dict[str, Any]] = []
        self.count = 0

    def finding(self, found: "Finding") -> None:
        from dataclasses import asdict
        from json import dumps

        self.count += 1
        line = {**asdict(found), "what": str(found.what)}
        if self._file is not None:
            self._file.write(dumps(line) + "\n")
        if self.count <= _SHOWN:
            self._bar.tell(visible(str(found)))
            self.listed.append(line)

    def session(self, total: "SessionSum") -> None:
        if len(self.sessions) < _SHOWN:
            self.sessions.append(total._asdict())


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        fail(Exit.BAD_INPUT, f"{str(path)!r} cannot be written: {error.strerror}")
    with file:
        yield file


def _transfer(
    where: Where,
    work: Callable[["SessionStore", "Report", Bar], Any],
    unit: str,
    head: dict[str, Any],
    findings: Path | None,
    json: bool,
    dry_run: bool,
    *,
    quiet: bool = False,
) -> None:
    """Do the work with a progress bar, say how it ended, and exit."""
    from redis_sessions.transfer import Report

    with _opened(findings) as file, Bar(unit, quiet=quiet) as bar:
        told = _Told(bar, file)
        report = Report(listen=told.finding, differ=told.session)
        run(where, lambda store: work(store, report, bar))
    if told.count > _SHOWN:
        rest = told.count - _SHOWN
        notice(f"and {rest:,} more" + ("" if findings else "; --findings FILE writes them all"))
    if json:
        counts = {name: count for name, count in sorted(report.counts.items()) if count}
        dump(
            {
                **head,
                "equal": report.equal,
                "counts": counts,
                "findings": {str(what): count for what, count in report.findings.items()},
                "sessions_different": told.sessions,
            }
        )
    elif not quiet:
        say(_summary(report, dry_run))
    elif not report.equal:
        notice(_summary(report, dry_run))
    if not report.equal:
        raise typer.Exit(int(Exit.DIFFERENT))


def _summary(report: "Report", dry_run: bool) -> str:
    lines = []
    for kind in ("messages", "transactions", "builds"):
        parts = [
            f"{count:,} {name.removeprefix(kind + ' ')}"
            for name, count in report.counts.items()
            if name.startswith(kind + " ") and count and name.split(" ", 1)[1] not in {"compared", "equal"}
        ]
        if parts:
            lines.append(f"{kind.capitalize() + ':':<14} {', '.join(parts)}")
    counts = report.counts
    if "sessions compared" in counts:
        lines.append(
            f"{'Compared:':<14} {counts['messages compared']:,} messages of "
            f"{counts['sessions compared']:,} sessions; {counts['sessions equal']:,} sessions are equal"
        )
    if report.equal:
        lines.append("Nothing was changed: this was a dry run." if dry_run else "Both sides are equal.")
    else:
        found = ", ".join(f"{count:,} {what}" for what, count in report.findings.items())
        lines.append(f"{'Differences:':<14} {found}")
    return "\n".join(lines)
