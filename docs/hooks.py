"""Docstrings name code by Sphinx's roles, as the standard library's do; pages show the names."""

import re
from typing import Any

_ROLE = re.compile(r":(?:class|exc|func|meth|mod):<code>(?:~[\w.]*?)?([\w.]+)</code>")


def on_page_content(html: str, **_: Any) -> str:
    return _ROLE.sub(_shown, html)


def _shown(found: re.Match[str]) -> str:
    name = found[1].rpartition(".")[2] if "~" in found[0] else found[1]
    return f"<code>{name}</code>"
