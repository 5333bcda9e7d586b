from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sammoe_pipeline.artefacts import Configuration, FoldSplit, FoundationCard, Splits, provenance
from sammoe_pipeline.errors import ArtefactError

CARD: dict[str, Any] = {
    "name": "tiny",
    "builder": "tiny",
    "spacing_mm": 3.0,
    "patch_size": 64,
    "normalisation": "equalised",
    "trained_on": ["Dataset901_PhantomTorso: liver"],
    "sha256": "00",
    "licence": "Apache-2.0",
    "source": "sammoe_pretrain",
}


def load(folder: Path, **changes: Any) -> FoundationCard:
    path = folder / "foundation.json"
    path.write_text(json.dumps({key: value for key, value in {**CARD, **changes}.items() if value != "absent"}))
    return FoundationCard.load(path)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    card = load(tmp_path, provenance=provenance(seed=3, device="cpu", threads=1).model_dump())
    card.save(tmp_path / "again.json")
    assert FoundationCard.load(tmp_path / "again.json") == card
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["again.json", "foundation.json"]


def test_nested_records_survive(tmp_path: Path) -> None:
    splits = Splits(folds=(FoldSplit(train=("a", "b"), calibration=("c",), val=()),))
    splits.save(tmp_path / "splits_final.json")
    assert Splits.load(tmp_path / "splits_final.json") == splits


def test_a_misspelt_field_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"patchsize: Extra inputs.* Did you mean 'patch_size'\?"):
        load(tmp_path, patchsize=64)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError) as caught:
        load(tmp_path, spacing_mm=-1.0, licence="absent", normalisation="positve")
    message = str(caught.value)
    assert "is not a valid FoundationCard" in message
    assert all(f"  - {field}: " in message for field in ("spacing_mm", "licence", "normalisation"))


@pytest.mark.parametrize("changes", [{"patch_size": "64"}, {"patch_size": 64.5}, {"name": 3}, {"sha256": None}])
def test_types_are_not_converted(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ArtefactError, match=next(iter(changes))):
        load(tmp_path, **changes)


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="schema_version: Input should be 1"):
        load(tmp_path, schema_version=2)


def test_a_missing_file_says_which_stage_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"plan\.json does not exist\. Run the stage that writes it first"):
        Splits.load(tmp_path / "plan.json")


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_file_of_something_else_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "splits_final.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"splits_final\.json is not a valid Splits"):
        Splits.load(tmp_path / "splits_final.json")


def test_records_cannot_be_changed() -> None:
    configuration = Configuration(name="native", spacing_mm=1.5, patch_size=128)
    with pytest.raises(ValidationError, match="frozen"):
        configuration.spacing_mm = 2.0
