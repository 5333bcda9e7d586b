from pathlib import Path

import numpy as np
import pytest

from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.inference.input_cases import InputCase, find_cases, part_of
from tests.dataset_conversion.dicom_files import series
from tests.dataset_conversion.volumes import scan


def test_channels_are_grouped_into_cases_and_hidden_files_left_out(tmp_path: Path) -> None:
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "b.mha", "._c.nii.gz", "notes.txt", "patient_012.nii.gz"):
        (tmp_path / name).touch()
    found = {case.name: [file.name for file in case.files] for case in find_cases(tmp_path)}
    assert found == {
        "a": ["a_0000.nii.gz", "a_0001.nii.gz"],
        "b": ["b.mha"],
        "patient_012": ["patient_012.nii.gz"],
    }


def test_one_image_is_a_case(tmp_path: Path) -> None:
    (tmp_path / "a_0000.nrrd").touch()
    (case,) = find_cases(tmp_path / "a_0000.nrrd")
    assert (case.name, [file.name for file in case.files]) == ("a", ["a_0000.nrrd"])


def test_numbers_without_a_first_channel_belong_to_the_name(tmp_path: Path) -> None:
    names = [f"case_{number:04d}" for number in (7, 12)]
    for name in names:
        (tmp_path / f"{name}.nii.gz").touch()
    assert [case.name for case in find_cases(tmp_path)] == names
    assert [case.name for case in find_cases(tmp_path / "case_0007.nii.gz")] == ["case_0007"]


def test_an_image_called_by_its_number_is_read(tmp_path: Path) -> None:
    scan(tmp_path / "case_0007.nii.gz")
    (case,) = find_cases(tmp_path / "case_0007.nii.gz")
    assert len(case.read()) == 1


@pytest.mark.parametrize("missing", ["b_0000", "b_0001"])
def test_a_missing_channel_is_an_error(tmp_path: Path, missing: str) -> None:
    for name in {f"{base}_{channel:04d}" for base in "ab" for channel in range(3)} - {missing}:
        (tmp_path / f"{name}.nii.gz").touch()
    _, case = find_cases(tmp_path)
    with pytest.raises(UsageError, match=r"b_0002\.nii\.gz are not the channels b_0000, b_0001, \.\.\. of one image"):
        case.read()


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_nothing_to_predict_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=rf"-i .*{name}"):
        find_cases(tmp_path / name)


def test_folder_with_a_dicom_series_is_a_case(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(-1000, 1000, (6, 5, 4))
    series(tmp_path / "patient", data=data, affine=np.diag([-1.0, -1.0, 1.0, 1.0]))
    (case,) = find_cases(tmp_path / "patient")
    assert (case.name, case.ending) == ("patient", ".nii.gz")
    (volume,) = case.read()
    np.testing.assert_array_equal(volume.data, data)


def test_each_folder_of_a_series_is_a_case_beside_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        series(tmp_path / name)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("no image")
    (tmp_path / "three.nii.gz").touch()
    assert [case.name for case in find_cases(tmp_path)] == ["one", "three", "two"]


def test_several_series_in_a_folder_are_listed(tmp_path: Path) -> None:
    series(tmp_path, uid="1.2.3.1", number=4)
    series(tmp_path, uid="1.2.3.2", number=5, name="other_{:03d}.dcm".format)
    (case,) = find_cases(tmp_path)
    with pytest.raises(UsageError, match=r"(?s)2 DICOM series.*series 4.*1\.2\.3\.1.*series 5.*folder of its own"):
        case.read()


def test_dicom_series_and_file_of_one_name_are_refused(tmp_path: Path) -> None:
    series(tmp_path / "a")
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(UsageError, match="both called 'a'"):
        find_cases(tmp_path)


def _named(count: int) -> list[InputCase]:
    return [InputCase(name=str(index), files=(Path(f"{index}.nii.gz"),)) for index in range(count)]


@pytest.mark.parametrize("num_parts", [1, 2, 3, 7])
def test_parts_share_all_cases_out(num_parts: int) -> None:
    cases = _named(5)
    parts = [part_of(cases, num_parts=num_parts, part_id=part) for part in range(num_parts)]
    assert sorted((case for part in parts for case in part), key=lambda case: case.name) == cases


@pytest.mark.parametrize("part_id", [-1, 2])
def test_a_part_that_is_none_is_an_error(part_id: int) -> None:
    with pytest.raises(UsageError, match="numbered from 0 to 1"):
        part_of(_named(3), num_parts=2, part_id=part_id)
