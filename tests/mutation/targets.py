"""The files whose mutants the tests must notice, each with the tests that are there for it.

They run on ``memory://`` where they can. A mutant is shown those of them that meet what it changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.mutation import lua_mutants

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mutation.mutants import Mutant

_RETRIED = "retries late_attempts"

PYTHON = {
    "store": (
        "store append history sessions formats recent connection bad_input otel blocking hub clients wire"
        " seen_elsewhere"
    ),
    "writing": (
        f"append update delete rename moved flows stale_writes seen_elsewhere trim ttl bad_input {_RETRIED}"
    ),
    "reading": "history recent sessions flows wire bad_input foreign_entries torn_reads",
    "scripts": (
        "append update delete rename moved flows trim ttl groups stale_writes blocking_sockets"
        f" {_RETRIED} races huge bad_input"
    ),
    "scripting": f"append update rename delete flows bad_input wait_replicas {_RETRIED}",
    "reader": "history recent wire update rename moved foreign_entries torn_reads append",
    "pages": "pages body wire history",
    "history": "history recent sessions ttl wire update rename moved foreign_entries torn_reads",
    "ids": "ids keys append history moved",
    "monitor/access": (
        "monitor/access monitor/export cli/key page/endpoints monitor/live monitor/sessions monitor/golden"
    ),
    "monitor/langflow_access": "monitor/access",
    "latest": "latest update delete",
    "drafts": "drafts append",
    "layout": "layout body wire formats drafts",
    "whereabouts": "whereabouts seen_elsewhere moved rename delete",
    "lines": f"lines redirections clients {_RETRIED} watch torn_reads",
    "body": "body layout wire drafts update formats foreign_entries",
    "entries": "history wire rename moved foreign_entries seen_elsewhere torn_reads trim formats body",
}
LUA = {
    "add_transaction": f"scripts monitor/runs jobs {_RETRIED}",
    "append": f"records append trim ttl watch flows moved rename update bad_input {_RETRIED}",
    "append_known": f"groups append {_RETRIED} bad_input",
    "convert_edits": "formats",
    "convert_session": "formats",
    "delete_builds": f"jobs monitor/runs {_RETRIED}",
    "delete_job_builds": f"jobs monitor/runs {_RETRIED}",
    "delete_messages": (
        f"records delete latest stale_writes moved ttl watch update rename flows {_RETRIED} races bad_input"
    ),
    "delete_session": f"delete ttl watch moved rename flows stale_writes {_RETRIED} races bad_input",
    "delete_transactions": f"scripts monitor/runs flows jobs {_RETRIED}",
    "drop_adopted": "scripts delete huge",
    "drop_flow": f"flows jobs stale_writes {_RETRIED} races bad_input",
    "forget_session": f"scripts ttl seen_elsewhere {_RETRIED} races bad_input",
    "mend_adopted": "doctor/mending",
    "mend_alias": "doctor/mending",
    "mend_clash": "doctor/mending",
    "mend_edits": "doctor/mending",
    "mend_numbers": "doctor/mending",
    "mend_session": "doctor/mending",
    "move_message": f"scripts records update moved watch ttl append delete trim {_RETRIED} races bad_input",
    "put_build": f"jobs monitor/runs {_RETRIED}",
    "rename_session": f"records rename ttl watch moved stale_writes {_RETRIED} races bad_input huge",
    "restore_alias": "doctor/mending",
    "restore_session": "doctor/mending transfer/round_trip",
    "set_aside": "formats doctor/mending",
    "set_owner": f"scripts flows bad_input {_RETRIED}",
    "update": f"update latest ttl watch moved rename delete {_RETRIED} races bad_input",
    "shared/builds": "jobs monitor/runs",
    "shared/chunks": "delete trim flows huge",
    "shared/drop": "scripts delete rename flows moved ttl huge",
    "shared/entries": "attempts records append moved watch rename delete trim bad_input",
    "shared/feed": f"attempts append watch {_RETRIED}",
    "shared/life": "ttl trim rename moved",
    "shared/merge": "rename ttl races moved huge",
    "shared/record": "records append rename delete trim formats",
    "shared/trim": "trim append ttl bad_input huge",
}


def names() -> list[str]:
    """What can be asked for; ``lua`` is all scripts."""
    return [*PYTHON, *(f"lua/{name}" for name in LUA)]


def tests_of(name: str) -> list[str]:
    """The files of tests that are there for it."""
    words = LUA[name[4:]] if name.startswith("lua/") else PYTHON[name]
    return [_file(word) for word in dict.fromkeys(words.split())]


def path_of(name: str) -> str:
    """The file, from the root of the project."""
    return f"redis_sessions/{name}.{'lua' if name.startswith('lua/') else 'py'}"


def _file(word: str) -> str:
    folder, slash, file = word.rpartition("/")
    return f"tests/{folder}{slash}test_{file}.py"


def mutants_of(name: str, root: Path) -> list[Mutant]:
    """All mutants of a target."""
    path = path_of(name)
    text = (root / path).read_text("utf-8")
    if name.startswith("lua/"):
        return lua_mutants.mutants_of(path, text)
    from tests.mutation import python_mutants  # cosmic-ray is here for a mutation run only

    return python_mutants.mutants_of(path, text)
