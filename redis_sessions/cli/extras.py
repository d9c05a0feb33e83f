"""What commands need that is not always installed."""

from __future__ import annotations

import importlib

from redis_sessions.errors import MissingExtraError


def need(command: str, *modules: str) -> None:
    """Check that modules can be imported; one that is missing is named with the extra that brings it.

    Raises:
        MissingExtraError
    """
    try:
        for module in modules:
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("redis_sessions"):
            raise
        raise MissingExtraError(
            f"{command} needs {error.name}: pip install 'redis-sessions[serve]'"
        ) from None
