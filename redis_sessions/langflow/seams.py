"""Replacing functions of Langflow, in one place: checked before, complete, and undone when asked.

Langflow 1.13 has no service for chat memory, nor hooks at most of the places that read or write messages. So
the plug-in puts its own function where Langflow looks its function up: a module's attribute, or a class's
method. :func:`replace` first checks that what is there takes what our function takes (names, order, kinds and
defaults of the parameters): in a Langflow that has changed it, nothing is replaced and the start-up check
says so. Modules that had imported the function by name get ours as well.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from redis_sessions.errors import RedisSessionsError

if TYPE_CHECKING:
    from collections.abc import Collection


class SeamError(RedisSessionsError):
    """Langflow does not have the function, or it takes other parameters than ours was written for."""


class _Seam(NamedTuple):
    owner: ModuleType | type
    name: str
    stock: Any
    ours: Any
    importers: list[tuple[ModuleType, str]]


_seams: dict[tuple[str, str], _Seam] = {}
_before: set[str] = set()
"""Modules that were there when the first function was replaced: what they import by name is theirs."""


def replace(owner: ModuleType | type, name: str, new: Any, *, everywhere: bool = True) -> Any:
    """Put ``new`` in the place of ``owner.name``, and of every import of it by name; return the stock one.

    ``new`` takes the same parameters as the stock one; annotations do not matter. What is not a function is
    not compared. Replacing again replaces ours; the stock one stays the first.

    Args:
        everywhere: False leaves other modules what they have: for what a module of Langflow's imported
        itself.

    Raises:
        SeamError: there is no such attribute, or its parameters differ. Nothing was replaced.
    """
    place = _place(owner), name
    present = inspect.getattr_static(owner, name, None)
    if present is None:
        msg = f"this Langflow has no {place[0]}.{name}"
        raise SeamError(msg)
    known = _seams.get(place)
    original = known.stock if known is not None else present
    _check(place, _plain(original), _plain(new))
    if known is not None:
        importers = known.importers
    else:
        importers = _importers(owner, name, original) if everywhere else []
    if not _seams:
        _before.update(sys.modules)
    setattr(owner, name, new)
    for module, alias in importers:
        setattr(module, alias, new)
    _seams[place] = _Seam(owner, name, original, new, importers)
    return original


def stock(owner: ModuleType | type, name: str) -> Any:
    """What was at this place before the plug-in, replaced or not."""
    seam = _seams.get((_place(owner), name))
    return seam.stock if seam is not None else getattr(owner, name)


def restore() -> None:
    """Put everything back as it was, in modules that were imported meanwhile as well."""
    for seam in reversed(_seams.values()):
        setattr(seam.owner, seam.name, seam.stock)
        for module, alias in seam.importers:
            if vars(module).get(alias) is seam.ours:
                setattr(module, alias, seam.stock)
    stock = {id(seam.ours): seam.stock for seam in _seams.values()}
    for module in _modules(but=_before) if stock else ():
        for alias, value in list(vars(module).items()):
            if id(value) in stock:
                setattr(module, alias, stock[id(value)])
    _seams.clear()
    _before.clear()


def _place(owner: ModuleType | type) -> str:
    return owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"


def _plain(function: Any) -> Any:
    return function.__func__ if isinstance(function, staticmethod | classmethod) else function


def _check(place: tuple[str, str], present: Any, new: Any) -> None:
    if not (inspect.isfunction(present) and inspect.isfunction(new)):
        return
    if inspect.iscoroutinefunction(present) and not inspect.iscoroutinefunction(new):
        msg = f"{'.'.join(place)} of this Langflow is a coroutine function"
        raise SeamError(msg)
    theirs, ours = _parameters(present), _parameters(new)
    if theirs != ours:
        msg = f"{'.'.join(place)} of this Langflow takes ({_shown(theirs)}), not ({_shown(ours)})"
        raise SeamError(msg)


def _parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


def _shown(parameters: list[tuple[str, Any, Any]]) -> str:
    return ", ".join(
        name if default is inspect.Parameter.empty else f"{name}={default!r}"
        for name, _, default in parameters
    )


def _importers(owner: ModuleType | type, name: str, original: Any) -> list[tuple[ModuleType, str]]:
    """Where else the function is known by name. Our own modules keep what they hold of Langflow's."""
    if not isinstance(owner, ModuleType):
        return []
    return [
        (module, alias)
        for module in _modules()
        for alias, value in list(vars(module).items())
        if value is original and (module is not owner or alias != name)
    ]


def _modules(but: Collection[str] = ()) -> list[ModuleType]:
    """All that are not ours, and are not named."""
    modules: list[tuple[str, Any]] = list(sys.modules.items())  # None: it must not be imported
    return [
        module
        for name, module in modules
        if name not in but
        and isinstance(module, ModuleType)
        and not module.__name__.startswith("redis_sessions.")
    ]
