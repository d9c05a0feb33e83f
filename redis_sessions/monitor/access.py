"""Who may see what: one protocol, three implementations.

``OpenAccess``      everybody on this machine sees everything; refuses anyone else
``KeyAccess``       API keys as Langflow takes them, configured as hashes with an owner each
``LangflowAccess``  a running Langflow says who the caller is

In all three what a caller may see follows from the *owner* of a flow, never from a message's ``user_id``.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol
from uuid import NAMESPACE_DNS, UUID, uuid5

from starlette.exceptions import HTTPException

from redis_sessions.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import HTTPConnection

    from redis_sessions.store import SessionStore

Action = Literal["read", "write"]

_NOBODY = "00000000-0000-0000-0000-000000000000"
_HASH_PREFIX = "sha256:"
_VIRTUAL = 5


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. ``id`` is the owner whose flows are theirs (in Langflow: the user's id)."""

    id: str


class Access(Protocol):
    """Who a caller is and what they may do."""

    async def authenticate(self, request: HTTPConnection) -> Principal:
        """The caller.

        Raises:
            HTTPException: 401 or 403, the credentials are missing or wrong; 503, they could not be checked.
        """

    async def flows(self, principal: Principal) -> list[str]:
        """All flows that are the caller's: what an endpoint acts on that names no flow."""

    async def may(self, principal: Principal, flow_id: str, action: Action) -> bool:
        """Whether the caller may do this with the flow. False also for a flow that is not there."""


class OwnerAccess:
    """The part that all callers with an identity share: a flow's owner may do everything with it."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def flows(self, principal: Principal) -> list[str]:
        return await self._store.flows(owner=principal.id)

    async def may(self, principal: Principal, flow_id: str, action: Action) -> bool:
        return await self._store.owner(flow_id) == principal.id


class OpenAccess:
    """No credentials. Every caller on this machine sees all flows; for a first try.

    A request from elsewhere is refused, and one whose ``Host`` is not this machine's: otherwise any web page
    could read the conversations by rebinding its name to 127.0.0.1.
    """

    def __init__(self, store: SessionStore, *, user_id: UUID | str = _NOBODY) -> None:
        self._store = store
        self._principal = Principal(str(user_id))

    @staticmethod
    def check_address(host: str) -> None:
        """Refuse to listen where others can connect.

        Raises:
            ConfigurationError: ``host`` is not a loopback address.
        """
        if not _is_loopback(host):
            msg = f"open access serves on loopback only, not on {host}: configure API keys, or Langflow"
            raise ConfigurationError(msg)

    async def authenticate(self, request: HTTPConnection) -> Principal:
        client = request.client  # None on a Unix socket
        if (client and not _is_loopback(client.host)) or not _is_loopback(_host_name(request)):
            raise HTTPException(403, "Open access is for callers on the same machine only")
        return self._principal

    async def flows(self, principal: Principal) -> list[str]:
        return await self._store.flows()

    async def may(self, principal: Principal, flow_id: str, action: Action) -> bool:
        # What is in the store may be seen, and of a flow that is not in it there is nothing to see.
        return True


class KeyAccess(OwnerAccess):
    """API keys: header or query parameter ``x-api-key``, or ``Authorization: Bearer``.

    Args:
        keys: the hash of each key (:func:`hash_key`) and the owner it stands for.
    """

    def __init__(self, store: SessionStore, keys: Mapping[str, UUID | str]) -> None:
        super().__init__(store)
        self._keys = [(_digest_of(text), Principal(str(owner))) for text, owner in keys.items()]
        if not self._keys:
            msg = "no API key is configured: nobody could get in"
            raise ConfigurationError(msg)

    async def authenticate(self, request: HTTPConnection) -> Principal:
        # Status codes and texts as Langflow 1.13's auth service has them, which tries the token first.
        token = bearer_token(request)
        if token:
            if principal := self._owner_of(token):
                return principal
            raise HTTPException(401, "Invalid token", {"WWW-Authenticate": "Bearer"})
        key = api_key(request)
        if not key:
            raise HTTPException(403, "No authentication credentials provided")
        if principal := self._owner_of(key):
            return principal
        raise HTTPException(403, "Invalid API key")

    def _owner_of(self, key: str) -> Principal | None:
        # All are compared, whichever fits: the time tells nothing.
        digest, found = hashlib.sha256(key.encode("utf-8", "replace")).digest(), None
        for known, principal in self._keys:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def new_key() -> tuple[str, str]:
    """A new API key, and its hash to be configured. The key itself is nowhere kept."""
    key = f"rs-{secrets.token_urlsafe(32)}"
    return key, hash_key(key)


def hash_key(key: str) -> str:
    """What :class:`KeyAccess` is configured with. Keys are long and random: no salt, no stretching."""
    return _HASH_PREFIX + hashlib.sha256(key.encode()).hexdigest()


def _digest_of(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text.removeprefix(_HASH_PREFIX))
    except ValueError:
        digest = b""
    if not text.startswith(_HASH_PREFIX) or len(digest) != hashlib.sha256().digest_size:
        msg = "an API key is configured by its hash, sha256:<64 hexadecimal digits>"
        raise ConfigurationError(msg)
    return digest


def bearer_token(request: HTTPConnection) -> str:
    """The token of ``Authorization: Bearer``, or ``""``."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def api_key(request: HTTPConnection) -> str:
    """``x-api-key`` of the query or, without it there, of the headers."""
    return request.query_params.get("x-api-key") or request.headers.get("x-api-key") or ""


def is_virtual(flow_id: UUID | str) -> bool:
    """Whether a flow id is one of a shared flow's, which only the shared endpoints serve."""
    try:
        return (flow_id if isinstance(flow_id, UUID) else UUID(flow_id)).version == _VIRTUAL
    except ValueError:
        return False


def virtual_flow_id(principal: Principal, source_flow_id: UUID) -> str:
    """Where a user's conversation with somebody's public flow is kept (Langflow 1.13)."""
    return str(uuid5(NAMESPACE_DNS, f"user:{principal.id}_{source_flow_id}"))


async def may_see(store: SessionStore, access: Access, principal: Principal, flow_id: UUID) -> bool:
    """Whether a flow is there, is not a shared one's, and may be read by the caller."""
    if is_virtual(flow_id) or not await access.may(principal, str(flow_id), "read"):
        return False
    return await store.has_flow(flow_id)


async def visible_flow(store: SessionStore, access: Access, principal: Principal, flow_id: UUID) -> None:
    """Raises HTTPException 404 for a flow that is unknown or not the caller's."""
    if not await may_see(store, access, principal, flow_id):
        raise HTTPException(404, "Flow not found")


def _host_name(request: HTTPConnection) -> str:
    host = request.headers.get("host", "")
    return host[: host.find("]") + 1].strip("[]") if host.startswith("[") else host.partition(":")[0]


@lru_cache(maxsize=256)
def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
