"""Label maps lie on the grid of their images, whatever it is: a folder with an image of each kind, predicted once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from nibabel.orientations import axcodes2ornt, inv_ornt_aff
from numpy.typing import NDArray

from sammoe_pipeline.inference.predictions import PredictedCase
from tests.inference.conftest import MakeMixture, box, predict

SHAPE = (14, 11, 9)
THING = box(SHAPE, (3, 8), (4, 9), (2, 6))
CODES = ["".join(code) for order in permutations(("RL", "AP", "SI")) for code in product(*order)]


@dataclass(frozen=True)
class Scan:
    """An image, its place, and where its thing is: None where the grid is not the network's, voxel by voxel."""

    data: NDArray[Any]
    affine: NDArray[np.float64]
    thing: NDArray[np.bool_] | None


def _bright(thing: NDArray[np.bool_], dtype: type = np.float32) -> NDArray[Any]:
    return np.where(thing, 10, 1).astype(dtype)


def _turned(angles: tuple[float, float, float], spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        around = np.eye(3)
        i, j = [other for other in range(3) if other != axis]
        around[i, i] = around[j, j] = np.cos(angle)
        around[i, j], around[j, i] = -np.sin(angle), np.sin(angle)
        turn = around @ turn
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing_mm)
    affine[:3, 3] = (-31.5, 17.25, 40.0)
    return affine


def _scans() -> Iterator[tuple[str, Scan]]:
    for code in CODES:
        affine = inv_ornt_aff(axcodes2ornt(code), SHAPE)
        yield f"code_{code}", Scan(_bright(THING), affine, THING)
    for number, angles in enumerate([(0.3, 0.0, 0.0), (0.2, -0.4, 0.7), (-1.1, 0.6, 2.5)]):
        yield f"oblique_{number}", Scan(_bright(THING), _turned(angles, (1.0, 1.0, 1.0)), THING)
    for number, spacing_mm in enumerate([(0.8, 0.8, 5.0), (0.1, 0.1, 0.1), (3.0, 0.4, 1.2), (0.05, 2.0, 0.6)]):
        yield f"spacing_{number}", Scan(_bright(THING), _turned((0.2, -0.4, 0.7), spacing_mm), None)
    for number, origin in enumerate([(-250.5, -399.25, -1024.0), (8000.5, -9000.25, 7500.125)]):
        affine = np.diag([-1.0, -1.0, 1.0, 1.0])
        affine[:3, 3] = origin
        yield f"origin_{number}", Scan(_bright(THING), affine, THING)
    for axis in range(3):
        shape = tuple(2 if other == axis else 14 for other in range(3))
        thin = box(shape, *[(0, 2) if other == axis else (3, 7) for other in range(3)])
        yield f"thin_{axis}", Scan(_bright(thin), np.eye(4), thin)
    for dtype in (np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float32, np.float64):
        yield f"type_{np.dtype(dtype).name}", Scan(_bright(THING, dtype), np.eye(4), THING)
    holes = _bright(THING)
    holes[0, 0, :3], holes[13, 10, :2] = np.nan, np.inf
    yield "nan", Scan(holes, np.eye(4), THING)
    yield "all_nan", Scan(np.full(SHAPE, np.nan, dtype=np.float32), np.eye(4), None)
    yield "constant", Scan(np.full(SHAPE, 7, dtype=np.int16), np.eye(4), None)
    yield "zero", Scan(np.zeros(SHAPE, dtype=np.uint8), np.eye(4), None)


SCANS = dict(_scans())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scans as nibabel writes them, and a click in the middle of each thing, in millimetres."""
    made = tmp_path_factory.mktemp("grids")
    (made / "in").mkdir()
    (made / "prompts").mkdir()
    for name, scan in SCANS.items():
        image = nibabel.Nifti1Image(scan.data, scan.affine)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, made / "in" / f"{name}.nii.gz")
        thing = THING if scan.thing is None else scan.thing
        middle = np.array([*np.argwhere(thing).mean(axis=0), 1.0])
        content = {"frame": "RAS", "targets": [{"clicks": [{"position": (scan.affine @ middle)[:3].tolist()}]}]}
        (made / "prompts" / f"{name}.json").write_text(json.dumps(content))
    return made


@pytest.fixture
def predicted(folder: Path, make_mixture: MakeMixture) -> dict[str, PredictedCase]:
    """What became of each; predicted once for all tests."""
    if not _DONE:
        result = predict(make_mixture(), folder, prompts=folder / "prompts")
        _DONE.update({case.case: case for case in result.cases})
    return _DONE


_DONE: dict[str, PredictedCase] = {}


@pytest.mark.parametrize("name", SCANS)
def test_label_map_lies_on_the_grid_of_its_image(name: str, folder: Path, predicted: dict[str, PredictedCase]) -> None:
    scan, path = SCANS[name], folder / "out" / f"{name}.nii.gz"
    assert predicted[name].error is None
    image, written = nibabel.load(folder / "in" / f"{name}.nii.gz"), nibabel.load(path)
    assert written.shape == scan.data.shape
    np.testing.assert_allclose(written.affine, image.affine, rtol=1e-6, atol=1e-5)
    labels = np.asanyarray(written.dataobj)
    if scan.thing is not None:
        np.testing.assert_array_equal(labels > 0, scan.thing)
    # What SimpleITK reads of it is the same, and so is its place.
    seen = SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(seen).T, labels)
    place = np.eye(4)
    place[:3, :3] = np.reshape(seen.GetDirection(), (3, 3)) @ np.diag(seen.GetSpacing())
    place[:3, 3] = seen.GetOrigin()
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ place, written.affine, rtol=1e-5, atol=1e-5)


def test_thing_is_found_whatever_the_spacing(folder: Path, predicted: dict[str, PredictedCase]) -> None:
    for name, scan in SCANS.items():
        if name.startswith("spacing"):
            labels = np.asanyarray(nibabel.load(folder / "out" / f"{name}.nii.gz").dataobj)
            assert labels[tuple(np.argwhere(THING).mean(axis=0).astype(int))] == 1, name
            assert predicted[name].targets[0].volume_ml > 0 and scan.thing is None
