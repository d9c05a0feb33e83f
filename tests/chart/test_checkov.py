"""Checkov's rules for Kubernetes, on the reviewed manifests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.chart.rendering import ROOT

ARGUED = {
    "CKV_K8S_11": "a processor limit throttles a server in the middle of a request; requests share fairly",
    "CKV_K8S_15": "images are named by version or digest: pulling them again brings the same",
    "CKV_K8S_21": "Helm's --namespace says where: manifests that name one themselves could not be moved",
    "CKV_K8S_35": "the password of Sentinels has no file variant, and Langflow's chart knows variables only",
    "CKV_K8S_43": "digests are values (image.digest): which one is trusted is the operator's choice",
}
CHECKOV = os.environ.get("CHECKOV") or next(
    (str(path) for path in [ROOT / ".venv" / "checkov" / "bin" / "checkov"] if path.exists()),
    shutil.which("checkov"),
)


@pytest.mark.skipif(
    CHECKOV is None, reason="checkov is not installed: `make test` puts it into .venv/checkov"
)
@pytest.mark.timeout(300)
def test_checkov_finds_nothing_but_what_is_argued() -> None:
    assert CHECKOV is not None
    result = subprocess.run(
        [
            CHECKOV,
            *("--directory", str(Path(__file__).parent / "golden")),
            *("--framework", "kubernetes", "--skip-download", "--quiet", "--output", "json"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LOG_LEVEL": "ERROR"},
    )
    report = json.loads(result.stdout)

    assert report["summary"]["passed"] > 1000
    assert report["summary"]["parsing_errors"] == 0
    failed = {(one["check_id"], one["resource"]) for one in report["results"]["failed_checks"]}
    assert sorted(one for one in failed if one[0] not in ARGUED) == []
    assert {check for check, _ in failed} == {*ARGUED}, "an argument that nothing needs any more"
