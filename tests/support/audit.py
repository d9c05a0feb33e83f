"""Known vulnerabilities of what the package needs: ``python -m tests.support.audit``.

pip-audit asks PyPI about each dependency; what it gets no answer about it skips, and calls the rest clean.
Here that is an outcome of its own: exit code 1 for a vulnerability, 3 when it was not told about all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

UNKNOWN = 3


def needed(package: str) -> dict[str, str]:
    """Name and version of what the package needs with any of its extras, as far as it is installed."""
    found: dict[str, str] = {}
    wanted = [(package, frozenset(metadata.metadata(package).get_all("Provides-Extra") or ()))]
    seen = set()
    while wanted:
        name, extras = wanted.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            here = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # of an extra that is not installed
            continue
        found[name] = here.version
        for requirement in map(Requirement, here.requires or ()):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                wanted.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    del found[package]
    return found


def verdict(report: dict[str, Any]) -> tuple[int, list[str]]:
    """The exit code for a report of pip-audit's, and what to say."""
    audited = [each for each in report["dependencies"] if "skip_reason" not in each]
    skipped = [each["name"] for each in report["dependencies"] if "skip_reason" in each]
    lines = [
        f"{each['name']} {each['version']}: {found['id']}, mended in {', '.join(found['fix_versions'])}"
        for each in audited
        for found in each["vulns"]
    ]
    if lines:
        return 1, lines
    if skipped:
        some = ", ".join(skipped[:3]) + (", ..." if len(skipped) > 3 else "")
        told = f"the index tells nothing about {len(skipped)} of {len(skipped + audited)} packages ({some})"
        return UNKNOWN, [f"not audited: {told}; a mirror may not pass advisories on: ask PyPI itself"]
    return 0, [f"no known vulnerability in {len(audited)} packages"]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        wanted, told = Path(folder) / "wanted", Path(folder) / "told"
        wanted.write_text(
            "".join(f"{name}=={version}\n" for name, version in sorted(needed("redis-sessions").items()))
        )
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--progress-spinner",
            "off",
            "--disable-pip",
            "--no-deps",
        ]
        command += ["--format", "json", "--output", str(told), "--requirement", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not told.exists() or not told.read_text():
            last = done.stderr.strip().splitlines()[-1:] or ["nothing"]
            print(f"not audited: the advisory service cannot be reached: {last[0]}")
            return UNKNOWN
        code, lines = verdict(json.loads(told.read_text()))
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
