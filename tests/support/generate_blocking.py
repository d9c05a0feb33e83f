"""Write ``redis_sessions/blocking/store.py`` from the methods of the asynchronous store.

``python tests/support/generate_blocking.py`` after a method was changed; a test fails when it was forgotten.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "redis_sessions" / "blocking" / "store.py"
SOURCES = ("writing", "reading", "recording", "store")
WRITTEN_BY_HAND = {"open", "aclose"}
AT_ONCE = {"export_json": 100}
"""How many items of an iterator one step fetches; of those that are not named, one."""
HEADER = '''"""The blocking store. Made from the asynchronous one: ``make blocking``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis_sessions.blocking.base import Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from redis_sessions.models import (
        Event,
        Message,
        MessageUpdate,
        NewMessage,
        Properties,
        RenameResult,
        Transaction,
        VertexBuild,
    )

    Id = str | UUID


class SessionStore(Opened):
    """Chat sessions in Redis, for synchronous code. Use it as a context manager; any threads may share it.

    The methods are those of :class:`redis_sessions.SessionStore`, and so is what they guarantee. With one
    server it is the calling thread that talks to it; a cluster, Sentinels, ``memory://`` and iterators have
    an event loop in a background thread. Methods may be called where an event loop runs, which then stands
    still for as long as they take. A process that was forked from one with an open store connects anew at
    its first call. Ctrl-C ends a call; a write that it ends may have happened.

    Args:
        settings: where Redis is, and the limits. Without it, from ``REDIS_SESSIONS_*``.
    """
'''


def generate() -> str:
    methods = [HEADER]
    for source in SOURCES:
        text = (ROOT / "redis_sessions" / f"{source}.py").read_text("utf-8")
        [store] = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
        methods += [
            _method(node)
            for node in store.body
            if isinstance(node, ast.AsyncFunctionDef)
            and not node.name.startswith("_")
            and node.name not in WRITTEN_BY_HAND
        ]
    return _formatted("\n".join(methods))


def _method(node: ast.AsyncFunctionDef) -> str:
    arguments, returns = node.args, ast.unparse(node.returns or ast.Constant(None))
    positional = [argument.arg for argument in arguments.args[1:]]
    passed = positional + [f"{argument.arg}={argument.arg}" for argument in arguments.kwonlyargs]
    call = f"lambda store: store.{node.name}({', '.join(passed)})"
    if returns.startswith("AsyncGenerator["):
        returns = returns.removeprefix("Async")
        item = returns.removeprefix("Generator[").removesuffix(", None]")
        returns = f"Generator[{item}, None, None]"
        at_once = f", at_once={AT_ONCE[node.name]}" if node.name in AT_ONCE else ""
        body = f"return self._iterate({call}{at_once})"
    else:
        body = f"self._run({call})" if returns == "None" else f"return self._run({call})"
    docstring = ast.get_docstring(node, clean=False) or ""
    return (
        f"    def {node.name}({ast.unparse(arguments)}) -> {returns}:\n"
        f'        """{docstring}"""\n'
        f"        {body}\n"
    )


def _formatted(text: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TARGET), "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    TARGET.write_text(generate(), "utf-8")
