"""A mixture of several hospitals' experts, from their packages alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sammoe_pipeline.artefacts import MixtureCard
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.packages.archive import Package
from sammoe_pipeline.packages.install import install_package
from sammoe_pipeline.packages.inventory import find_mixture
from sammoe_pipeline.paths import Results
from sammoe_pipeline.training.join_mixtures import join_mixtures


def join_packages(
    packages: Sequence[Path],
    *,
    name: str,
    foundation: Foundation,
    results: Path,
    seed: int,
) -> MixtureCard:
    """Installs mixtures and joins them into one.

    Args:
        packages: files of mixtures. What is installed already, the same, stays as it is.
        name: of the joined mixture.
        foundation: what all belong to.
        results: root of results.
        seed: of the gate.

    Raises:
        UsageError: a package holds an expert alone, or its parts cannot be installed beside what is there.
        ArtefactError: a package is not what it says, belongs to another foundation or brings no routing set.
    """
    for path in packages:
        with Package.open(path) as package:
            if package.manifest.kind == "expert":
                raise UsageError(
                    f"--from_packages {path}: this is the expert {package.manifest.name} alone, without what tells a "
                    f"gate which prompts are its own. Ask its maker for a mixture of it: sammoe_train_gate -m NAME "
                    f"--experts {package.manifest.name}, then sammoe_experts export -m NAME."
                )
    places = Results(root=results, foundation=foundation.card.name)
    installed = [install_package(path, foundation=foundation, places=places) for path in packages]
    return join_mixtures(
        [find_mixture(one.manifest.name, places).card for one in installed],
        name=name,
        foundation=foundation,
        places=places,
        seed=seed,
    )
