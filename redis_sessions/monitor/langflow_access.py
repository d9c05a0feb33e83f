"""Access by the caller's own Langflow credentials.

Each distinct set of credentials is shown to Langflow (``GET /api/v1/users/whoami``), and its answer is
remembered for a short time: so long somebody whose key was revoked still gets in, and for a shorter time
somebody is kept out whose key was just made. Langflow that does not answer means 503: nobody gets in
because nobody could ask.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.exceptions import HTTPException

from redis_sessions.errors import MissingExtraError
from redis_sessions.monitor.access import OwnerAccess, Principal

if TYPE_CHECKING:
    import httpx
    from starlette.requests import HTTPConnection

    from redis_sessions.store import SessionStore

logger: logging.Logger = logging.getLogger(__name__)

_WHOAMI = "/api/v1/users/whoami"
_HEADERS = ("authorization", "x-api-key")
_COOKIES = "access_token_lf"
_MAX_CREDENTIALS_BYTES = 16_384


class _Verdict(NamedTuple):
    """What Langflow said: who it is, or why not."""

    until: float
    principal: Principal | None
    status: int = 200
    detail: str = ""


class LangflowAccess(OwnerAccess):
    """A running Langflow says who a caller is. Close it with :meth:`aclose`.

    Args:
        url: where Langflow is, as ``http://127.0.0.1:7860``.
        remember: how long a caller that Langflow knows is let in without asking again.
        remember_refusal: how long one that it does not know is refused without asking again.
        max_remembered: how many callers are remembered, and how many refusals.
        timeout: how long Langflow may take to answer.
        client: an ``httpx.AsyncClient`` to ask with, which stays the caller's to close.
    """

    def __init__(
        self,
        store: SessionStore,
        url: str,
        *,
        remember: timedelta = timedelta(seconds=30),
        remember_refusal: timedelta = timedelta(seconds=5),
        max_remembered: int = 10_000,
        timeout: timedelta = timedelta(seconds=5),
        client: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(store)
        self._whoami = url.rstrip("/") + _WHOAMI
        self._remember = remember.total_seconds()
        self._remember_refusal = remember_refusal.total_seconds()
        self._timeout = timeout.total_seconds()
        self._own_client = client is None
        self._client = client if client is not None else _new_client()
        # Two, so that a flood of wrong keys cannot drive the right ones out.
        self._known = _Remembered(max_remembered)
        self._refused = _Remembered(max_remembered)
        self._asking: dict[bytes, asyncio.Task[_Verdict]] = {}

    async def aclose(self) -> None:
        """Close the connections to Langflow."""
        for task in list(self._asking.values()):
            task.cancel()
        if self._own_client:
            await self._client.aclose()

    async def authenticate(self, request: HTTPConnection) -> Principal:
        credentials = _credentials(request)
        digest = _digest(credentials)
        verdict = self._known.get(digest) or self._refused.get(digest)
        if verdict is None:
            verdict = await self._ask_once(digest, credentials)
        if verdict.principal is None:
            headers = {"WWW-Authenticate": "Bearer"} if verdict.status == 401 else None
            raise HTTPException(verdict.status, verdict.detail, headers)
        return verdict.principal

    async def _ask_once(self, digest: bytes, credentials: dict[str, str]) -> _Verdict:
        """Ask Langflow, once for all that wait for the same answer."""
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._ask(digest, credentials))
            task.add_done_callback(lambda done: self._answered(digest, done))
        # A caller that goes away does not end the question of the others.
        return await asyncio.shield(task)

    def _answered(self, digest: bytes, task: asyncio.Task[_Verdict]) -> None:
        self._asking.pop(digest, None)
        if not task.cancelled():
            task.exception()  # looked at, though every caller may have gone away

    async def _ask(self, digest: bytes, credentials: dict[str, str]) -> _Verdict:
        import httpx

        key = credentials.get("x-api-key?")
        headers = {name: value for name, value in credentials.items() if name != "x-api-key?"}
        try:
            answer = await self._client.get(
                self._whoami,
                headers=headers,
                params={"x-api-key": key} if key else None,
                timeout=self._timeout,
                follow_redirects=False,
            )
            body: Any = answer.json() if answer.status_code in (200, 401, 403) else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise _unreachable(type(error).__name__) from None
        now = time.monotonic()
        if answer.status_code == 200 and isinstance(body, dict) and isinstance(body.get("id"), str):
            verdict = _Verdict(now + self._remember, Principal(body["id"]))
            self._known.put(digest, verdict)
        elif answer.status_code in (401, 403) and isinstance(body, dict):
            detail = str(body.get("detail", "Forbidden"))
            verdict = _Verdict(now + self._remember_refusal, None, answer.status_code, detail)
            self._refused.put(digest, verdict)
        else:
            raise _unreachable(f"status {answer.status_code}")
        return verdict


class _Remembered:
    """Verdicts by digest, the least recently made ones dropped first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._verdicts: OrderedDict[bytes, _Verdict] = OrderedDict()

    def get(self, digest: bytes) -> _Verdict | None:
        verdict = self._verdicts.get(digest)
        if verdict is not None and verdict.until <= time.monotonic():
            del self._verdicts[digest]
            return None
        return verdict

    def put(self, digest: bytes, verdict: _Verdict) -> None:
        self._verdicts[digest] = verdict
        self._verdicts.move_to_end(digest)
        while len(self._verdicts) > self._size:
            self._verdicts.popitem(last=False)


def _credentials(request: HTTPConnection) -> dict[str, str]:
    """What Langflow takes as credentials, and nothing else of the request; ``x-api-key?`` is the query's."""
    found = {name: request.headers[name] for name in _HEADERS if request.headers.get(name)}
    cookies = {name: value for name, value in request.cookies.items() if name.startswith(_COOKIES)}
    if cookies:
        found["cookie"] = "; ".join(f"{name}={value}" for name, value in sorted(cookies.items()))
    if key := request.query_params.get("x-api-key"):
        found["x-api-key?"] = key
    if sum(map(len, found.values())) > _MAX_CREDENTIALS_BYTES:
        raise HTTPException(403, "Invalid API key")
    return found


def _digest(credentials: dict[str, str]) -> bytes:
    """Names credentials without being them. Lengths keep one from reading as another."""
    digest = hashlib.sha256()
    for name, value in sorted(credentials.items()):
        text = value.encode("utf-8", "surrogatepass")
        digest.update(b"%s %d " % (name.encode(), len(text)))
        digest.update(text)
    return digest.digest()


def _unreachable(reason: str) -> HTTPException:
    logger.warning("langflow could not be asked: reason=%s", reason)
    return HTTPException(503, "Langflow could not be asked who the caller is", {"Retry-After": "1"})


def _new_client() -> httpx.AsyncClient:
    try:
        import httpx
    except ImportError:
        msg = "asking Langflow needs httpx: pip install 'redis-sessions[monitor]'"
        raise MissingExtraError(msg) from None
    return httpx.AsyncClient()
