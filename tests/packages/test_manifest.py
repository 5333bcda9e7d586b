from __future__ import annotations

from pathlib import Path

from sammoe_pipeline.artefacts import ExpertCard
from sammoe_pipeline.packages.export import export_mixture
from sammoe_pipeline.packages.install import install_package
from sammoe_pipeline.packages.inventory import find_mixture
from sammoe_pipeline.packages.manifest import manifest_of
from sammoe_pipeline.paths import EXPERT_JSON, MANIFEST_JSON
from tests.packages.conftest import MIXTURE, Site

DATASET = "Dataset007_Boxes"


def test_part_that_was_trained_anew_is_no_longer_of_the_package(expert_package: Path, theirs: Site) -> None:
    install_package(expert_package, foundation=theirs.foundation, places=theirs.places)
    path = theirs.places.expert_fold(DATASET, "boxes", 0) / EXPERT_JSON
    assert manifest_of(path.parent, path, theirs.places) is not None
    ExpertCard.load(path).model_copy(update={"seconds": 0.0}).save(path)
    assert manifest_of(path.parent, path, theirs.places) is None


def test_part_that_was_trained_here_has_no_manifest(ours: Site) -> None:
    path = ours.places.expert_fold(DATASET, "boxes", 0) / EXPERT_JSON
    assert manifest_of(path.parent, path, ours.places) is None


def test_package_of_parts_with_several_licences_names_them_all(
    mixture_package: Path, theirs: Site, tmp_path: Path
) -> None:
    install_package(mixture_package, foundation=theirs.foundation, places=theirs.places)
    (theirs.places.locator_fold(DATASET, 0) / MANIFEST_JSON).unlink()
    mixture = find_mixture(MIXTURE, theirs.places)
    manifest = export_mixture(
        mixture, tmp_path / "m.zip", foundation=theirs.foundation, places=theirs.places, licence=None
    )
    assert manifest.licence == "CC-BY-4.0 AND unknown"
