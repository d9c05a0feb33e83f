"""Replacing a function: everywhere it is known, only where it fits, and back again."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from redis_sessions.langflow import seams

if TYPE_CHECKING:
    from collections.abc import Iterator


async def ours(name: str, *, limit: int = 0) -> str:
    return "ours"


class Kept:
    def method(self, name: str) -> str:
        return "stock"


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module with a function, and another that has imported it by another name."""
    module, importer = ModuleType("seam_owner"), ModuleType("seam_importer")

    async def read(name: str, *, limit: int = 0) -> str:
        return "stock"

    module.read = importer.fetch = read  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "seam_owner", module)
    monkeypatch.setitem(sys.modules, "seam_importer", importer)
    yield module
    seams.restore()


def imported() -> Any:
    return sys.modules["seam_importer"].fetch


async def test_importers_by_name_get_ours_and_get_theirs_back(owner: ModuleType) -> None:
    stock = seams.replace(owner, "read", ours)
    assert await owner.read("x") == await imported()("x") == "ours"
    assert seams.stock(owner, "read") is stock
    seams.restore()
    assert owner.read is imported() is stock


def test_a_module_that_is_imported_meanwhile_gets_theirs_back(
    owner: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = seams.replace(owner, "read", ours)
    late = ModuleType("seam_late")
    late.read = owner.read  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "seam_late", late)
    seams.restore()
    assert late.read is stock


def test_a_module_that_has_ours_from_us_keeps_it(owner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    early = ModuleType("seam_early")
    early.read = ours  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "seam_early", early)
    seams.replace(owner, "read", ours)
    seams.restore()
    assert early.read is ours


def test_replacing_again_keeps_the_stock_one(owner: ModuleType) -> None:
    stock = seams.replace(owner, "read", ours)
    assert seams.replace(owner, "read", ours) is stock
    seams.restore()
    assert owner.read is stock


async def other_name(names: str, *, limit: int = 0) -> str: ...
async def other_kind(name: str, limit: int = 0) -> str: ...
async def other_default(name: str, *, limit: int = 1) -> str: ...
async def one_more(name: str, *, limit: int = 0, more: int = 0) -> str: ...
def not_async(name: str, *, limit: int = 0) -> str: ...


@pytest.mark.parametrize("new", [other_name, other_kind, other_default, one_more, not_async])
def test_what_does_not_fit_is_refused(owner: ModuleType, new: Any) -> None:
    stock = owner.read
    with pytest.raises(seams.SeamError, match=r"seam_owner\.read of this Langflow"):
        seams.replace(owner, "read", new)
    assert owner.read is imported() is stock


def test_what_is_not_there_is_refused(owner: ModuleType) -> None:
    with pytest.raises(seams.SeamError, match=r"no seam_owner\.gone"):
        seams.replace(owner, "gone", ours)


def test_a_method_of_a_class(owner: ModuleType) -> None:
    def method(self: Kept, name: str) -> str:
        return "ours"

    seams.replace(Kept, "method", method)
    assert Kept().method("x") == "ours"
    seams.restore()
    assert Kept().method("x") == "stock"
