"""What a URL says about where Redis is. Pure text: nothing is looked up, opened or connected.

=======================================  ==============================================================
``redis://[user:pw@]host[:port][/db]``   one server; ``rediss://`` with TLS
``unix:///path/to/socket[?db=1]``        one server on this machine; ``unix://user:pw@/path``
``redis+sentinel://h1,h2/service[/db]``  the primary that Sentinels name (port 26379 unless given)
``redis+cluster://h1,h2``                a cluster, by any of its nodes
``memory://[name]``                      inside this process; stores of one name share their sessions
``embedded://[folder]``                  a Valkey of this package's own, its data in the folder
=======================================  ==============================================================

``valkey`` may stand for ``redis``; ``rediss`` (``valkeys``) in front of ``+sentinel`` and ``+cluster``
encrypts all connections, those to Sentinels included. A user, a password, a path or a name with ``@``,
``/``, ``#``, ``?``, ``%`` or braces is percent-encoded. TLS connections also take the query parameters
``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``, ``ssl_check_hostname`` and ``ssl_cert_reqs``.

Error texts repeat nothing of the URL but accepted words, because any part may turn out to be half of a
password that was not encoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, NoReturn
from urllib.parse import quote, unquote

from redis_sessions.errors import ConfigurationError

Kind = Literal["standalone", "sentinel", "cluster", "memory", "embedded"]
Host = tuple[str, int]

_NETWORK_KINDS: dict[str, Kind] = {"": "standalone", "+sentinel": "sentinel", "+cluster": "cluster"}
_SCHEMES: dict[str, tuple[Kind, bool]] = {
    f"{name}{suffix}": (kind, tls)
    for name, tls in (("redis", False), ("rediss", True), ("valkey", False), ("valkeys", True))
    for suffix, kind in _NETWORK_KINDS.items()
} | {"unix": ("standalone", False), "memory": ("memory", False), "embedded": ("embedded", False)}
_SCHEME_HINT = (
    "use redis://, rediss:// (TLS), unix://, redis+sentinel://, redis+cluster://, memory:// or embedded://"
)
_ENCODING_HINT = (
    "if a user or password has one of @ / # ? % { } in it, percent-encode it (@ is %40, / is %2F, # is %23), "
    "or leave it out of the URL and use REDIS_SESSIONS_PASSWORD or REDIS_SESSIONS_PASSWORD_FILE"
)
_TLS_PATHS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_CERT_REQS = ("required", "optional", "none")
_HOST = re.compile(r"[^\s!-,/:-@\[-^`{-~]+")  # names beyond ASCII are the resolver's business
_MEMORY_NAME = re.compile(r"[A-Za-z0-9._-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a URL says that Redis is. Its repr shows no user and no password."""

    kind: Kind
    scheme: str
    tls: bool = False
    hosts: tuple[Host, ...] = ()
    path: str = ""
    """The socket of ``unix://``, the folder of ``embedded://`` (empty: the default), the name of ``memory://``."""
    service: str = ""
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls_options: dict[str, str | bool] = field(default_factory=dict, repr=False)
    """redis-py's ``ssl_*`` arguments that the query gave."""

    @property
    def safe_url(self) -> str:
        """The URL without user, password and query, fit for logs; the defaults are spelled out."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        match self.kind:
            case "sentinel":
                return f"{self.scheme}://{hosts}/{quote(self.service, safe='')}/{self.db}"
            case "cluster":
                return f"{self.scheme}://{hosts}"
            case "standalone" if self.hosts:
                return f"{self.scheme}://{hosts}/{self.db}"
            case "standalone":
                return f"{self.scheme}://{quote(self.path)}?db={self.db}"
            case _:
                return f"{self.scheme}://{quote(self.path)}"


def parse_url(url: str) -> Location:
    """What ``url`` says, with defaults filled in and percent-encoding undone.

    Raises:
        ConfigurationError: it cannot be meant as it stands. The text says what to do, and holds
            no part of the URL that could be secret.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        _refuse(f"it has no scheme: {_SCHEME_HINT}, as in redis://localhost:6379/0")
    if re.search(r"[\x00-\x20\x7f]", rest):
        _refuse(f"it has a space or control character in it: {_ENCODING_HINT}")
    if re.search(r"[{}]", rest):
        _refuse(
            "it has a brace in it: fill in the placeholder if this is an unfilled template; " + _ENCODING_HINT
        )
    if scheme.lower() not in _SCHEMES:
        _refuse(f"its scheme is not one that this package knows: {_SCHEME_HINT}")
    scheme = scheme.lower()
    kind, tls = _SCHEMES[scheme]

    if "#" in rest:
        _refuse(f"it has a # in it: {_ENCODING_HINT}")
    rest, _, query = rest.partition("?")
    if "@" in query:
        _refuse(f"it has an @ after its ?: {_ENCODING_HINT}")
    options = _query_options(query)
    if kind == "memory":
        return _memory(rest, options)
    if kind == "embedded":
        _refuse_options(options)
        return Location(kind=kind, scheme=scheme, path=_decode_path(rest))

    authority, slash, path = rest.partition("/")
    userinfo, at, address = authority.rpartition("@")
    if "@" in userinfo or (scheme != "unix" and "@" in path):
        _refuse(f"it has more than one @, or an @ after a /: {_ENCODING_HINT}")
    username, _, password = userinfo.partition(":")
    user, secret = _decode(username) or None, _decode(password) or None
    db = options.pop("db", None) if kind == "standalone" else None
    if scheme == "unix":
        _refuse_options(options)
        if address or not path or (authority and not at):
            _refuse(
                f"a socket's path begins with a slash, as in unix:///run/redis.sock?db=0; {_ENCODING_HINT}"
            )
        return Location(
            kind=kind,
            scheme=scheme,
            path=_decode_path(slash + path),
            db=_db(db or ""),
            username=user,
            password=secret,
        )

    hosts = _hosts(address, 26379 if kind == "sentinel" else 6379)
    tls_options = _tls_options(options, allowed=tls)
    service = ""
    if kind == "sentinel":
        service, path = _service(path)
    if kind == "cluster" and path not in {"", "0"}:
        _refuse("a cluster has only database 0: leave the database out")
    if kind == "standalone" and len(hosts) > 1:
        _refuse(
            "it names several hosts: use redis+sentinel://…/service or redis+cluster://… "
            "(rediss+… for TLS), or name one host"
        )
    if db is not None and path not in {"", db}:
        _refuse("it names two databases: leave either the path or ?db= out")
    return Location(
        kind=kind,
        scheme=scheme,
        tls=tls,
        hosts=hosts,
        service=service,
        db=_db(path or db or ""),
        tls_options=tls_options,
        username=user,
        password=secret,
    )


def _refuse(reason: str) -> NoReturn:
    # "from None": a cause could quote the URL.
    raise ConfigurationError(f"the Redis URL (REDIS_SESSIONS_URL) cannot work: {reason}") from None


def _decode(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        _refuse(f"a % in it is not the start of an escape such as %2F (a % itself is %25): {_ENCODING_HINT}")
    try:
        decoded = unquote(text, errors="strict")
        decoded.encode()
    except UnicodeError:
        _refuse("its percent-encoding does not spell UTF-8")
    return decoded


def _decode_path(text: str) -> str:
    path = _decode(text)
    if "\x00" in path:
        _refuse("its path has a NUL character in it")
    return path


def _hosts(address: str, default_port: int) -> tuple[Host, ...]:
    return tuple(_host(part, default_port) for part in address.split(","))


def _host(text: str, default_port: int) -> Host:
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+(?:%25[\w.-]+)?)\](?::(.*))?", text)
    if bracketed:
        host, port = unquote(bracketed[1]), bracketed[2]
    else:
        host, colon, rest = text.partition(":")
        port = rest if colon else None
        if ":" in rest:
            _refuse(f"a host has several colons: write an IPv6 address as [::1]:6379; {_ENCODING_HINT}")
        if not host:
            _refuse(f"a host is missing, as in redis://localhost:6379/0; {_ENCODING_HINT}")
        if not _HOST.fullmatch(host):
            _refuse(f"a host has a character that host names do not have; {_ENCODING_HINT}")
    if port is None:
        return host, default_port
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65_535:
        _refuse(f"a port is not a number from 1 to 65535; {_ENCODING_HINT}")
    return host, int(port)


def _service(path: str) -> tuple[str, str]:
    service, _, db = path.partition("/")
    if not service:
        _refuse(
            "it names no service: write the one that the Sentinels watch after the hosts, as in "
            "redis+sentinel://host:26379/mymaster/0"
        )
    return _decode(service), db


def _db(text: str) -> int:
    text = text or "0"
    if not re.fullmatch(r"[0-9]{1,9}", text):
        _refuse(f"what follows the host and a slash is a database number, 0 or larger; {_ENCODING_HINT}")
    return int(text)


def _query_options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        name, _, value = item.partition("=")
        if name in options:
            _refuse(f"its query parameter {name!r} is given twice")
        options[name] = _decode(value)
    return options


def _refuse_options(options: dict[str, str]) -> None:
    if options:
        names = ", ".join(repr(name) for name in sorted(options))
        _refuse(f"it has query parameters that have no meaning here: {names}; {_ENCODING_HINT}")


def _tls_options(options: dict[str, str], *, allowed: bool) -> dict[str, str | bool]:
    tls: dict[str, str | bool] = {}
    if not allowed and any(name.startswith("ssl_") for name in options):
        _refuse("it has ssl_… parameters but does not use TLS: use rediss:// (or rediss+…)")
    for name in (*_TLS_PATHS, "ssl_check_hostname", "ssl_cert_reqs"):
        if name not in options:
            continue
        value = options.pop(name)
        if name == "ssl_check_hostname":
            if value.lower() not in _BOOLEANS:
                _refuse("ssl_check_hostname is true or false")
            tls[name] = _BOOLEANS[value.lower()]
        elif name == "ssl_cert_reqs" and value.lower() not in _CERT_REQS:
            _refuse("ssl_cert_reqs is required, optional or none")
        else:
            tls[name] = value.lower() if name == "ssl_cert_reqs" else value
    _refuse_options(options)
    return tls


def _memory(name: str, options: dict[str, str]) -> Location:
    _refuse_options(options)
    if not _MEMORY_NAME.fullmatch(name):
        _refuse("memory:// takes a name of letters, digits, dots, dashes and underscores, or nothing")
    return Location(kind="memory", scheme="memory", path=name)
