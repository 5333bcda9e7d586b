"""Fixtures that several test modules use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sammoe_pipeline.foundations import Foundation
    from sammoe_pipeline.model import SamMed3D
    from sammoe_pipeline.paths import Folders
    from sammoe_pipeline.planned_dataset import PlannedDataset
    from sammoe_pipeline.raw_dataset import RawDataset


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real labelled volumes beside the repository; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real volumes (../shared/data beside the repository) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def tiny_foundation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a foundation with the `tiny` network and random weights: for what does not depend on good masks."""
    folder = tmp_path_factory.mktemp("foundations") / "random"
    _write_foundation(folder, builder="tiny", spacing_mm=3.0)
    return folder


@pytest.fixture(scope="session")
def nano_foundation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundation]:
    """A foundation of random weights on patches of 16 voxels at 1 mm, so small that it trains in a unit test."""
    from sammoe_pipeline.artefacts import FoundationCard
    from sammoe_pipeline.foundations import Foundation
    from sammoe_pipeline.model.build import BUILDERS
    from sammoe_pipeline.paths import FOUNDATION_JSON

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BUILDERS, "nano", build_nano)
        folder = tmp_path_factory.mktemp("foundations") / "nano"
        _write_foundation(folder, builder="nano", spacing_mm=1.0)
        yield Foundation(card=FoundationCard.load(folder / FOUNDATION_JSON), folder=folder)


def _write_foundation(folder: Path, *, builder: str, spacing_mm: float) -> None:
    import torch
    from safetensors.torch import save_file

    from sammoe_pipeline.artefacts import FoundationCard, sha256_of
    from sammoe_pipeline.model import build_sam_med3d
    from sammoe_pipeline.paths import FOUNDATION_JSON, FOUNDATION_WEIGHTS

    folder.mkdir()
    torch.manual_seed(0)
    model = build_sam_med3d(builder)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / FOUNDATION_WEIGHTS)
    FoundationCard(
        name=folder.name,
        builder=builder,
        spacing_mm=spacing_mm,
        patch_size=model.patch_size,
        normalisation="equalised",
        trained_on=(),
        sha256=sha256_of(folder / FOUNDATION_WEIGHTS),
        licence="Apache-2.0",
        source="random weights",
    ).save(folder / FOUNDATION_JSON)


def build_nano(patch_size: int = 16) -> SamMed3D:
    from sammoe_pipeline.model import MaskDecoder, SamMed3D
    from sammoe_pipeline.model.attention import Attention
    from sammoe_pipeline.model.image_encoder import Block, ImageEncoder
    from sammoe_pipeline.model.prompt_encoder import PromptEncoder
    from sammoe_pipeline.model.transformer import TwoWayTransformer

    # Four cells a side: the gradient of a bfloat16 convolution over two of them is not a number in torch 2.13.
    stride, width = 4, 24
    block = Block(attention=Attention(width=width, num_heads=2), width=width, mlp_width=width)
    return SamMed3D(
        image_encoder=ImageEncoder(
            patch_size=patch_size, stride=stride, width=width, blocks=[block], embedding_channels=width
        ),
        prompt_encoder=PromptEncoder(
            patch_size=patch_size,
            embedding_size=patch_size // stride,
            channels=width,
            mask_channels=8,
            dense_axes=(0, 1, 2),
            draw_clicks=True,
            no_mask_embedding=False,
        ),
        mask_decoder=MaskDecoder(
            transformer=TwoWayTransformer(depth=1, width=width, cross_width=width, num_heads=2, mlp_width=width),
            channels=width,
            num_mask_tokens=1,
            quality_width=None,
        ),
    )


@dataclass(frozen=True)
class Workspace:
    """A dataset that was planned for the `nano` foundation."""

    folders: Folders
    foundation: Foundation
    planned: PlannedDataset
    raw: RawDataset


MakeWorkspace = Callable[..., Workspace]


@pytest.fixture(scope="session")
def make_workspace(tmp_path_factory: pytest.TempPathFactory, nano_foundation: Foundation) -> MakeWorkspace:
    """Returns a function that writes a raw dataset, prepares it and writes a plan in native configuration."""
    from sammoe_pipeline.artefacts import (
        Budget,
        CaseFingerprint,
        ClassPlan,
        DatasetFingerprint,
        FoldSplit,
        Plan,
        Splits,
        Task,
        Training,
    )
    from sammoe_pipeline.image_io import Volume, write_volume
    from sammoe_pipeline.paths import Folders, PreprocessedDataset
    from sammoe_pipeline.planned_dataset import PlannedDataset
    from sammoe_pipeline.preprocessing import prepare_dataset
    from sammoe_pipeline.raw_dataset import read_raw_dataset

    def make(
        cases: Mapping[str, NDArray[Any]],
        labels: Mapping[str, Any],
        *,
        root: Path | None = None,
        name: str = "Dataset007_Boxes",
        folds: Sequence[tuple[Sequence[str], Sequence[str], Sequence[str]]] = (),
        components: Sequence[str] = (),
        general: Sequence[str] = (),
        **description: Any,
    ) -> Workspace:
        """Makes a workspace.

        Args:
            cases: label maps (x, y, z) by case name; images are as bright as their labels.
            labels: values by class.
            root: of the folders; a new one by default.
            name: of the dataset.
            folds: names to train on, to calibrate on and to hold out; by default all cases serve for all.
            components: classes of which a click means one component.
            general: classes without an expert; the others share the task `boxes`.
            description: more fields of `dataset.json`.
        """
        root = root or tmp_path_factory.mktemp("workspace")
        folders = Folders(raw=root / "raw", preprocessed=root / "preprocessed", results=root / "results")
        folder, affine = folders.raw / name, np.diag([-1.0, -1.0, 1.0, 1.0])
        for index, (case, label) in enumerate(cases.items()):
            noise = np.random.default_rng(index).normal(0, 5, label.shape)
            image = (50.0 * label + noise).astype(np.float32)
            write_volume(folder / "imagesTr" / f"{case}_0000.nii.gz", Volume(data=image, affine=affine))
            write_volume(folder / "labelsTr" / f"{case}.nii.gz", Volume(data=label.astype(np.uint8), affine=affine))
        content = {
            "channel_names": {"0": "MR"},
            "labels": {"background": 0, **labels},
            "numTraining": len(cases),
            "file_ending": ".nii.gz",
            **description,
        }
        (folder / "dataset.json").write_text(json.dumps(content))
        raw = read_raw_dataset(folder)
        paths = PreprocessedDataset(folders.preprocessed, name, nano_foundation.card.name)
        prepare_dataset(raw, paths, [nano_foundation.native], workers=1)
        paths.dataset_json.write_text(json.dumps(content))
        DatasetFingerprint(
            dataset=name,
            cases=tuple(
                CaseFingerprint(
                    case=case,
                    shape=(label.shape[0], label.shape[1], label.shape[2]),
                    spacing_mm=(1.0, 1.0, 1.0),
                    orientation="LPS",
                    classes=tuple(c for c, values in raw.labels.items() if np.isin(label, values).any()),
                )
                for case, label in cases.items()
            ),
            classes={},
            channels=(),
            raw_digest="",
        ).save(paths.fingerprint)
        served = tuple(c for c in raw.labels if c not in general)
        budget = Budget(views=8, iterations=6)
        task = Task(name="boxes", classes=served, configuration="native", start_from="general", budget=budget)
        Plan(
            dataset=name,
            foundation=nano_foundation.card.name,
            foundation_sha256=nano_foundation.card.sha256,
            configurations={"native": nano_foundation.native},
            classes={
                c: ClassPlan(
                    configuration="native",
                    target="component" if c in components else "class",
                    task="boxes" if c in served else None,
                    reason="written by hand",
                    evidence={},
                )
                for c in raw.labels
            },
            tasks=(task,) if served else (),
            locator_configuration="native",
            locator_budget=budget,
            training=Training(batch_size=2, learning_rate=1e-3, interactions=2, mirror_axes=(0,)),
            expert_threshold=0.9,
            num_folds=max(1, len(folds)),
            seed=0,
            raw_digest="",
        ).save(paths.plan)
        everything = (tuple(cases), tuple(cases), tuple(cases))
        splits = [FoldSplit(train=tuple(t), calibration=tuple(c), val=tuple(v)) for t, c, v in folds or [everything]]
        Splits(folds=tuple(splits)).save(paths.splits)
        return Workspace(folders, nano_foundation, PlannedDataset.load(folders, name, nano_foundation), raw)

    return make


@pytest.fixture(scope="session")
def boxes() -> dict[str, NDArray[np.uint8]]:
    """Label maps of four cases, 24 x 22 x 20 voxels: class 1 is one block, class 2 two smaller ones; no two alike."""
    maps = {}
    for index in range(4):
        label = np.zeros((24, 22, 20), dtype=np.uint8)
        label[3 : 9 + index, 4:11, 5:12] = 1
        label[15:19, 3:8, 4:8] = 2
        label[15:20, 13:18, 11 : 14 + index] = 2
        maps[f"case_{index}"] = label
    return maps


@pytest.fixture(scope="session")
def workspace(make_workspace: MakeWorkspace, boxes: dict[str, NDArray[np.uint8]]) -> Workspace:
    """The boxes planned in two folds, `near` served whole and `far` by component; not to be changed."""
    a, b, c, d = boxes
    folds = [((a, b), (c,), (d,)), ((c, d), (a,), (b,))]
    return make_workspace(boxes, {"near": 1, "far": 2}, folds=folds, components=["far"])
