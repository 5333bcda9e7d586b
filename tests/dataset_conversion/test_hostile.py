"""Sources that are broken on purpose: a clear error, and no output."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dataset_conversion.cli import main
from tests.dataset_conversion.dicom_files import box, rtstruct, series
from tests.dataset_conversion.miniatures import msd, nnunet_v2
from tests.dataset_conversion.volumes import AFFINE, SHAPE, label_map, save, scan

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        scan(tmp_path / "source" / "images" / f"{name}.nii.gz")
        label_map(tmp_path / "source" / "labels" / f"{name}.nii.gz", [1])
    return tmp_path / "source"


def refuse(source: Path, tmp_path: Path, capsys: Captured, name: str = "paired") -> str:
    """Converts, expects an error and no output, and returns the message."""
    (tmp_path / "raw").mkdir(exist_ok=True)
    before = {path for path in tmp_path.rglob("*") if source not in path.parents}
    assert main([name, "-i", str(source), "-d", "7", "--raw", str(tmp_path / "raw"), "-np", "1"]) == 1
    assert {path for path in tmp_path.rglob("*") if source not in path.parents} == before
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def with_header(path: Path, **fields: object) -> None:
    """Writes a NIfTI file with a forged header."""
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), AFFINE)
    for field, value in fields.items():
        image.header[field] = value
    content = image.header.binaryblock + b"\0" * 4 + np.zeros(SHAPE, np.int16).tobytes()
    path.write_bytes(gzip.compress(content))


@pytest.mark.parametrize(
    "fields",
    [
        {"srow_x": [np.nan, 0, 0, 0], "sform_code": 1, "qform_code": 0},
        {"srow_x": [1, 0, 0, np.nan], "sform_code": 1, "qform_code": 0},
        {"srow_x": [0, 0, 0, 0], "sform_code": 1, "qform_code": 0},
        {"srow_x": [1, 0, 0, np.inf], "sform_code": 1, "qform_code": 0},
        {"pixdim": [1, np.nan, 1, 1, 0, 0, 0, 0], "sform_code": 0, "qform_code": 1},
    ],
)
def test_a_header_that_places_the_volume_nowhere(
    source: Path, tmp_path: Path, capsys: Captured, fields: dict[str, object]
) -> None:
    with_header(source / "images" / "a.nii.gz", **fields)
    assert "a.nii.gz" in refuse(source, tmp_path, capsys)


@pytest.mark.parametrize(
    "dim",
    [
        [3, 32767, 32767, 32767, 1, 1, 1, 1],
        [3, 12, 10, 0, 1, 1, 1, 1],
        [3, -12, 10, 8, 1, 1, 1, 1],
        [2, 12, 80, 1, 1, 1, 1, 1],
        [5, 12, 10, 2, 2, 2, 1, 1],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ],
)
def test_dimensions_that_cannot_be(source: Path, tmp_path: Path, capsys: Captured, dim: list[int]) -> None:
    with_header(source / "images" / "a.nii.gz", dim=dim)
    assert "a.nii.gz" in refuse(source, tmp_path, capsys)


@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_a_truncated_gzip(source: Path, tmp_path: Path, capsys: Captured, kept: int) -> None:
    for folder in ("images", "labels"):
        path = source / folder / "a.nii.gz"
        path.write_bytes(path.read_bytes()[:kept])
    error = refuse(source, tmp_path, capsys)
    assert "images/a.nii.gz" in error
    assert "labels/a.nii.gz" in error


def test_a_label_map_with_a_flipped_bit(source: Path, tmp_path: Path, capsys: Captured) -> None:
    path = save(source / "labels" / "a.nii.gz", np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.uint8), AFFINE)
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # the checksum
    path.write_bytes(content)
    assert "labels/a.nii.gz " in refuse(source, tmp_path, capsys)


def test_label_values_beyond_any_table(source: Path, tmp_path: Path, capsys: Captured) -> None:
    label_map(source / "labels" / "a.nii.gz", [1, 2_000_000_000], dtype="int32")
    (source / "names.csv").write_text("label,name\n1,liver\n")
    assert "has values that are no label: 2e+09" in refuse(source, tmp_path, capsys)


def test_a_text_that_is_called_an_image(source: Path, tmp_path: Path, capsys: Captured) -> None:
    (source / "images" / "a.nii.gz").write_text("<html>404</html>")
    assert "a.nii.gz cannot be read as an image" in refuse(source, tmp_path, capsys)


def test_lists_of_files_that_lead_out_of_the_folder(tmp_path: Path, capsys: Captured) -> None:
    source = nnunet_v2(tmp_path / "source")
    content = json.loads((source / "dataset.json").read_text())
    for image in ("../../secret_0000.nrrd", "/etc/hostname"):
        content["dataset"] = {"b_1": {"images": [image], "label": "labelsTr/b_1.nrrd"}}
        (source / "dataset.json").write_text(json.dumps(content))
        assert "outside of its folder. Move it in." in refuse(source, tmp_path, capsys, "nnunet_v2")


@pytest.mark.parametrize("name", ["../../../escaped", "/absolute", "a/../../b", "..", "-rf"])
def test_names_of_cases_that_are_paths_stay_names(tmp_path: Path, capsys: Captured, name: str) -> None:
    source = nnunet_v2(tmp_path / "source")
    content = json.loads((source / "dataset.json").read_text())
    content["dataset"] = {name: {"images": ["imagesTr/b_1_0000.nrrd"], "label": "labelsTr/b_1.nrrd"}}
    (source / "dataset.json").write_text(json.dumps(content))
    raw = tmp_path / "raw"
    assert main(["nnunet_v2", "-i", str(source), "-d", "7", "-n", "Mini", "--raw", str(raw), "-np", "1"]) == 0
    assert {path.parent for path in tmp_path.rglob("*.nii.gz") if source not in path.parents} <= {
        raw / "Dataset007_Mini" / folder for folder in ("imagesTr", "labelsTr", "imagesTs")
    }
    capsys.readouterr()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"modality": 1, "labels": []}', '{"modality": {"0": {}}, "labels": {"1": null}}', "\0"]
)
def test_a_dataset_json_that_is_none(tmp_path: Path, capsys: Captured, text: str) -> None:
    source = msd(tmp_path / "source")
    (source / "dataset.json").write_text(text)
    assert "dataset.json" in refuse(source, tmp_path, capsys, "msd")


def test_class_names_that_are_paths_become_no_paths(tmp_path: Path) -> None:
    source = msd(tmp_path / "source")
    content = json.loads((source / "dataset.json").read_text())
    content["labels"] = {"0": "background", "1": "../../a", "2": "/b"}
    (source / "dataset.json").write_text(json.dumps(content))
    assert main(["msd", "-i", str(source), "-d", "7", "-n", "Mini", "--raw", str(tmp_path / "raw"), "-np", "1"]) == 0
    written = json.loads((tmp_path / "raw" / "Dataset007_Mini" / "dataset.json").read_text())
    assert list(written["labels"]) == ["background", "../../a", "/b"]


def test_label_maps_without_any_value(source: Path, tmp_path: Path, capsys: Captured) -> None:
    for name in ("a", "b"):
        label_map(source / "labels" / f"{name}.nii.gz", [])
    assert "no label map has a value beside 0" in refuse(source, tmp_path, capsys)


def test_images_in_the_place_of_label_maps(source: Path, tmp_path: Path, capsys: Captured) -> None:
    data = np.random.default_rng(0).permutation(30 * 30 * 30).reshape(30, 30, 30).astype(np.int16)
    for folder in ("images", "labels"):
        save(source / folder / "a.nii.gz", data)
    assert "labels/a.nii.gz has 27000 different values. Is it an image?" in refuse(source, tmp_path, capsys)


@pytest.mark.parametrize("patient", ["../../evil", "/etc/passwd", ".."])
def test_ids_of_patients_that_are_paths_stay_names(tmp_path: Path, patient: str) -> None:
    source, raw = tmp_path / "source", tmp_path / "raw"
    series(source, patient=patient)
    rtstruct(source / "rt.dcm", {"../lung": [(2, box(1, 1, 6, 6))]}, patient=patient)
    assert main(["dicom", "-i", str(source), "-d", "7", "-n", "Mini", "--raw", str(raw), "-np", "1"]) == 0
    assert len(list((raw / "Dataset007_Mini" / "labelsTr").iterdir())) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"source", "raw"}


def test_a_series_that_lacks_a_slice(tmp_path: Path, capsys: Captured) -> None:
    source = tmp_path / "source"
    series(source)[3].unlink()
    rtstruct(source / "rt.dcm", {"lung": [(2, box(1, 1, 6, 6))], "heart": [(4, box(1, 1, 6, 6))]})
    error = refuse(source, tmp_path, capsys, "dicom")
    assert error.count("Is one missing?") == 1
