"""Writes the table of values in README.md from values.yaml; ``--check`` fails where it is another one.

A value's sentence is the comment above it. Types and limits are in values.schema.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
BEGIN, END = "<!-- values -->\n", "<!-- end of values -->\n"


def rows() -> list[tuple[str, str]]:
    """Path and sentence of every value that has a sentence of its own."""
    lines = (HERE / "values.yaml").read_text().splitlines()
    found: list[tuple[str, str]] = []
    parents: list[tuple[int, str]] = []
    comment = ""
    for line in lines:
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if text.startswith("#"):
            comment = text.lstrip("# ")
            continue
        if ":" not in text or text.startswith("- "):
            comment = ""
            continue
        name = text.partition(":")[0]
        parents = [one for one in parents if one[0] < indent]
        path = ".".join([*(parent for _, parent in parents), name])
        if comment:
            found.append((path, comment))
        parents.append((indent, name))
        comment = ""
    return found


def _default(path: str, described: set[str]) -> str:
    value: Any = yaml.safe_load((HERE / "values.yaml").read_text())
    for name in path.split("."):
        value = value[name]
    if value == "" or any(other.startswith(f"{path}.") for other in described):
        return ""
    return f"`{json.dumps(value)}`"


def table() -> str:
    lines = ["| value | default | |", "|---|---|---|"]
    described = {path for path, _ in rows()}
    for path, sentence in rows():
        text = sentence.replace("|", "\\|").replace("<", "&lt;")
        lines.append(f"| `{path}` | {_default(path, described)} | {text} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    readme = HERE / "README.md"
    text = readme.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}{table()}{END}{after}"
    if "--check" in sys.argv:
        return int(text != wanted)
    readme.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
