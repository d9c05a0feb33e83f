"""Who we are, and whom we trust: users, passwords and TLS files, as redis-py's arguments.

Settings go before the URL. Nothing here puts a password into an error.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from redis_sessions.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from redis_sessions.settings import Settings
    from redis_sessions.urls import Location


def data_credentials(location: Location, settings: Settings) -> dict[str, str | None]:
    """The user and password for the servers that hold the data.

    Raises:
        ConfigurationError: both a password and a file with one are set, the file cannot be read or is
            empty, or a name or password cannot be sent as UTF-8.
    """
    username = settings.username or location.username
    password = settings.password.get_secret_value() if settings.password else ""
    if password and settings.password_file:
        raise ConfigurationError("password and password_file are both set: unset one of them")
    if settings.password_file:
        password = _first_line(settings.password_file)
    return _sendable(username, password or location.password)


def sentinel_credentials(settings: Settings) -> dict[str, str | None]:
    """The user and password for the Sentinels, which have none in common with the data's servers."""
    secret = settings.sentinel_password
    return _sendable(settings.sentinel_username, secret.get_secret_value() if secret else None)


def tls_arguments(location: Location, settings: Settings) -> dict[str, Any]:
    """redis-py's ``ssl_*`` arguments. Certificate and host name are checked unless the URL says otherwise.

    Raises:
        ConfigurationError: files are named though the URL does not use TLS, or cannot be used. They are
            read here, so that a missing file does not look like an unreachable server later.
    """
    files = {
        "ssl_ca_certs": settings.tls_ca_file,
        "ssl_certfile": settings.tls_cert_file,
        "ssl_keyfile": settings.tls_key_file,
    }
    given = {name: str(path) for name, path in files.items() if path is not None}
    if not location.tls:
        if given:
            raise ConfigurationError(
                f"TLS files are set, but {location.scheme}:// does not use TLS: use rediss:// (or rediss+…)"
            )
        return {}
    arguments: dict[str, Any] = {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        **location.tls_options,
        **given,
    }
    _check_tls_files(arguments)
    return arguments


def _first_line(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="\n") as stream:
            line = stream.readline().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        msg = f"the password file {file} cannot be read: {error.strerror or error}"
        raise ConfigurationError(msg) from error
    except UnicodeError:
        # The error would hold the bytes.
        raise ConfigurationError(f"the password file {file} is not UTF-8") from None
    if not line:
        raise ConfigurationError(f"the password file {file} has nothing in its first line")
    return line


def _sendable(username: str | None, password: str | None) -> dict[str, str | None]:
    for name, value in (("user name", username), ("password", password)):
        try:
            (value or "").encode()
        except UnicodeEncodeError:
            raise ConfigurationError(f"the {name} is not UTF-8, so Redis cannot be sent it") from None
    return {"username": username or None, "password": password or None}


def _check_tls_files(arguments: dict[str, Any]) -> None:
    context = ssl.create_default_context()
    authorities, certificate = arguments.get("ssl_ca_certs"), arguments.get("ssl_certfile")
    key = arguments.get("ssl_keyfile")
    if key and not certificate:
        raise ConfigurationError("tls_key_file is set without tls_cert_file")
    if authorities:
        try:
            context.load_verify_locations(cafile=authorities)
        except OSError as error:
            msg = f"the CA file {authorities} cannot be used: {error.strerror or error}"
            raise ConfigurationError(msg) from error
    if certificate:
        try:
            # Without a password OpenSSL would ask for one on the terminal; bandit takes none for one.
            context.load_cert_chain(certificate, key, password="")  # nosec B106
        except OSError as error:
            files = " and ".join(filter(None, (certificate, key)))
            msg = f"the client certificate {files} cannot be used: {error.strerror or error}"
            raise ConfigurationError(msg) from error
