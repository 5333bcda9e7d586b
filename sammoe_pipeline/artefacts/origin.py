"""How an artefact came to be: versions, commit, seed and device."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from sammoe_pipeline.artefacts.base import Record


class Provenance(Record):
    """How an artefact came to be."""

    versions: dict[str, str]
    """Installed versions of this pipeline and the packages that change numbers."""
    commit: str | None
    """Commit of the source tree, where it is one."""
    seed: int
    """Of everything random."""
    device: str
    """"cuda" or "cpu", and in which precision the image encoder computed where that is not float32."""
    threads: int
    """Threads of torch; results on a CPU are bit-identical at equal count."""


def provenance(*, seed: int, device: str, threads: int) -> Provenance:
    """Collects versions and the commit of the running code."""
    versions = {"python": platform.python_version()}
    for package in ("sammoe_pipeline", "torch", "numpy", "nnunetv2", "SimpleITK"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return Provenance(versions=versions, commit=_commit(), seed=seed, device=device, threads=threads)


def _commit() -> str | None:
    source = Path(__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None
    found = subprocess.run(
        ["git", "-C", os.fspath(source), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None
