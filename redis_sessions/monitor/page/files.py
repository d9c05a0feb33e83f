"""The page's files, as the package has them: read once, served from memory."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response

from redis_sessions.monitor.paging import is_fresh

if TYPE_CHECKING:
    from starlette.requests import Request

CONTENT_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Trusted types on top: not even the page's own scripts can turn text into HTML.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_INDEX = "index.html"
_DIGEST = "{{digest}}"
"""Where the page has it, its address names the content of all files together: they fit each other."""


class Files:
    """``/`` and what it loads."""

    def __init__(self) -> None:
        folder = files(__package__) / "static"
        contents = {file.name: file.read_bytes() for file in folder.iterdir() if _extension(file.name)}
        digest = hashlib.sha256()
        for name in sorted(contents):
            digest.update(b"%s %d " % (name.encode(), len(contents[name])))
            digest.update(contents[name])
        self._digest = digest.hexdigest()[:16]
        self._index = contents.pop(_INDEX).replace(_DIGEST.encode(), self._digest.encode())
        self._contents = contents

    async def read_page(self, request: Request) -> Response:
        """The page. It is asked for each time, and seldom sent again."""
        return self._answer(request, _INDEX, self._index, "no-cache")

    async def read(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params["name"]
        if request.path_params["digest"] != self._digest or name not in self._contents:
            raise HTTPException(404)
        return self._answer(request, name, self._contents[name], "public, max-age=31536000, immutable")

    def _answer(self, request: Request, name: str, content: bytes, keep: str) -> Response:
        headers = {
            "cache-control": keep,
            "content-security-policy": POLICY,
            "cross-origin-opener-policy": "same-origin",
            "etag": f'W/"{self._digest}"',  # weak: compressed or not
        }
        if is_fresh(request, headers["etag"]):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=CONTENT_TYPES[_extension(name)])


def _extension(name: str) -> str:
    extension = name.rpartition(".")[2]
    return extension if extension in CONTENT_TYPES else ""
