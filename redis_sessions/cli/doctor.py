"""`doctor`."""

# No `from __future__ import annotations` in the files of commands: typer reads the annotations.

from typing import TYPE_CHECKING, Annotated

import typer

from redis_sessions.cli.exits import Exit
from redis_sessions.cli.options import Deadline, Json, Prefix, Url, Where
from redis_sessions.cli.output import dump, notice, say, visible
from redis_sessions.cli.running import run

if TYPE_CHECKING:
    from redis_sessions.doctor import Finding, Report

_MARKS = {"ok": "ok", "note": "note", "warning": "WARNING", "problem": "PROBLEM"}
_SHOWN = 10


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    ctx: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be mended, and say what was done.")
    ] = False,
    json: Json = False,
    url: Url = None,
    prefix: Prefix = None,
    deadline: Deadline = None,
) -> None:
    """Examine the server and all stored data. Changes nothing, but for --repair.

    May run while the store is in use. No message is ever deleted: what cannot be mended in its place is
    renamed, and told. Ends with 6 while a problem is left.

    --json prints {"healthy", "server", "keys", "flows", "findings"}: of the server an array of {"name",
    "state", "text"}, of the data an array of {"kind", "state", "found", "mended", "first"}; "first" has the
    first hundred {"kind", "flow_id", "subject", "text", "mended"}. A state is "ok", "note", "warning" or
    "problem".
    """
    from redis_sessions.doctor import examine

    report = run(Where.of(ctx, url, prefix, deadline), lambda store: examine(store, mend=repair))
    if json:
        dump(report.as_json())
    else:
        _show(report, repaired=repair)
    if not report.healthy:
        raise typer.Exit(int(Exit.FAILED))


def _show(report: "Report", *, repaired: bool) -> None:
    from redis_sessions.doctor import KINDS

    width = max(len(fact.name) for fact in report.facts)
    lines = [
        f"{_MARKS[fact.state]:<8} {visible(fact.name):<{width}}  {visible(fact.text)}"
        for fact in report.facts
    ]
    lines.append(f"\nLooked at {report.keys:,} keys of {report.flows:,} flows.")
    for name, kind in sorted(report.kinds.items(), key=lambda pair: list(KINDS).index(pair[0])):
        state, title = KINDS[name]
        mended = f", {kind.mended:,} mended" if kind.mended else ""
        lines.append(f"{_MARKS[state]:<8} {title}: {kind.found:,}{mended}")
        lines += [f"         {_told(finding)}" for finding in kind.first[:_SHOWN]]
        if kind.found > _SHOWN:
            lines.append(f"         … and {kind.found - _SHOWN:,} more (--json has the first hundred)")
    lines.append("Healthy." if report.healthy else "Not healthy.")
    say("\n".join(lines))
    left = any(kind.mended < kind.found for kind in report.kinds.values())
    if left and not repaired:
        notice("`redis-sessions doctor --repair` mends what can be mended; make a backup first")
    elif left:
        notice("what is left cannot be mended without a decision of yours: docs/doctor.md has the cases")


def _told(finding: "Finding") -> str:
    where = f"flow {visible(finding.flow_id)}" if finding.flow_id is not None else ""
    if finding.subject != finding.flow_id:
        where = f"{where}: {visible(finding.subject)}" if where else visible(finding.subject)
    done = f" -> {visible(finding.mended)}" if finding.mended else ""
    return f"{where} {visible(finding.text)}{done}"
