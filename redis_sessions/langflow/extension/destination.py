"""Which Redis a flow may name, and the settings that reach it.

Who writes a flow may be another than who runs the server. So what a flow names is held to Langflow's rules
for connectors (``LANGFLOW_CONNECTOR_SSRF_*``, ``LANGFLOW_SSRF_*``, ``LANGFLOW_RESTRICT_LOCAL_FILE_ACCESS``),
and never gets the credentials that the server has for its own Redis. As with Langflow's own connectors, a
name is looked up here and once more when connecting, and an address that a Sentinel or a cluster gives out is
not checked.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lfx.utils.file_path_security import is_local_file_access_restricted
from lfx.utils.ssrf_protection import SSRFProtectionError, validate_connector_hostname_for_ssrf

from redis_sessions.errors import ConfigurationError
from redis_sessions.langchain.pool import load_settings
from redis_sessions.urls import parse_url

if TYPE_CHECKING:
    from redis_sessions.settings import Settings

_TLS_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_CREDENTIALS = (
    "username",
    "password",
    "password_file",
    "tls_ca_file",
    "tls_cert_file",
    "tls_key_file",
    "sentinel_username",
    "sentinel_password",
)


def destination(
    url: str, *, username: str = "", password: str = "", prefix: str = "", ttl: int = 0
) -> Settings:
    """The settings for what a flow's author entered; empty values are not given.

    Looks up the names of hosts, and so may take a while.

    Args:
        ttl: seconds; 0: the server's setting, which by default is never.

    Raises:
        ConfigurationError: they cannot work. The text holds nothing secret.
        SSRFProtectionError: the server's rules do not let a flow connect there.
    """
    if ttl < 0:
        raise ConfigurationError("the time to live is a number of seconds, or 0 for the server's setting")
    options: dict[str, Any] = {
        "prefix": prefix or None,
        "ttl": timedelta(seconds=ttl) if ttl else None,
        "username": username or None,
        "password": password or None,
    }
    if url:
        check(url)
        settings = load_settings(url, **options)
        return settings.model_copy(update={name: None for name in _CREDENTIALS if not options.get(name)})
    if username or password:
        raise ConfigurationError(
            "a user or password needs a Redis URL: the server's own Redis is reached with its own"
        )
    settings = load_settings(**options)
    if settings.url is None:
        raise ConfigurationError(
            "there is no Redis: enter a Redis URL, such as redis://localhost:6379/0, or have the server set "
            "REDIS_SESSIONS_URL"
        )
    return settings


def check(url: str) -> None:
    """Refuse a URL that the server's rules do not let a flow connect to.

    Raises:
        ConfigurationError: it is not one of ours.
        SSRFProtectionError
    """
    location = parse_url(url)
    for host, _ in location.hosts:
        validate_connector_hostname_for_ssrf(host)
    local = location.kind == "embedded" or (location.kind == "standalone" and not location.hosts)
    if (local or _TLS_FILES & location.tls_options.keys()) and is_local_file_access_restricted():
        msg = (
            "a flow may not name sockets, folders or TLS files of the server "
            "(LANGFLOW_RESTRICT_LOCAL_FILE_ACCESS); use redis:// or rediss://"
        )
        raise SSRFProtectionError(msg)
