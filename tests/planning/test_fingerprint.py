from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from planning.fingerprint import digest_of_raw, orientation_code, take_fingerprint
from sammoe_pipeline.errors import DatasetFaultsError
from sammoe_pipeline.image_io import Header, Volume, read_volume, write_volume
from sammoe_pipeline.raw_dataset import read_raw_dataset

MakeRaw = Callable[..., Path]


def test_classes_are_measured_in_mm(make_raw: MakeRaw, blocks: Mapping[str, NDArray[Any]]) -> None:
    raw = read_raw_dataset(make_raw(blocks, {"one": 1, "two": 2}, spacing_mm=2.0))
    classes = take_fingerprint(raw, workers=1).classes
    assert classes["one"].volume_mm3 == 6**3 * 8
    assert classes["one"].extent_mm == (12, 12, 12)
    assert classes["one"].thickness_mm == 12
    assert (classes["one"].components, classes["two"].components) == (1, 2)
    assert classes["two"].extent_mm == (4, 18, 18)


def test_a_class_counts_only_where_it_is(make_raw: MakeRaw, blocks: Mapping[str, NDArray[Any]]) -> None:
    cases = dict(blocks)
    cases["case_0"] = np.where(blocks["case_0"] == 2, 0, blocks["case_0"])
    fingerprint = take_fingerprint(read_raw_dataset(make_raw(cases, {"one": 1, "two": 2, "none": 3})), workers=1)
    assert {name: found.cases for name, found in fingerprint.classes.items()} == {"one": 4, "two": 3, "none": 0}
    assert [case.classes for case in fingerprint.cases] == [("one",), *[("one", "two")] * 3]


def test_intensities_are_those_of_the_foreground(make_raw: MakeRaw, blocks: Mapping[str, NDArray[Any]]) -> None:
    raw = read_raw_dataset(make_raw(blocks, {"one": 1, "two": 2}, channels=2))
    channels = take_fingerprint(raw, workers=1).channels
    assert [channel.name for channel in channels] == ["MR0", "MR1"]
    for channel in channels:
        assert channel.mean == pytest.approx(100, abs=0.5)
        assert channel.std == pytest.approx(1, abs=0.2)


def test_sides_and_lookalikes_are_named(make_raw: MakeRaw) -> None:
    label = np.zeros((20, 20, 20), dtype=np.uint8)
    label[2:6, 2:6, 2:6] = 1
    label[14:18, 2:6, 2:6] = 2
    label[2:14, 9:19, 9:19] = 3
    raw = read_raw_dataset(make_raw({"a": label, "b": label, "c": label}, {"ear_left": 1, "ear_right": 2, "head": 3}))
    classes = take_fingerprint(raw, workers=1).classes
    assert [classes[name].partner for name in raw.labels] == ["ear_right", "ear_left", None]
    assert [classes[name].alike for name in raw.labels] == [("ear_right",), ("ear_left",), ()]


def test_orientation_is_that_of_the_files_axes() -> None:
    affine = np.array([[0.0, 0, -2, 0], [1, 0, 0, 0], [0, -3, 0, 0], [0, 0, 0, 1]])
    assert orientation_code(Header(shape=(4, 5, 6), affine=affine, dtype="int16")) == "AIL"


def test_the_digest_changes_with_a_raw_file(make_raw: MakeRaw, blocks: Mapping[str, NDArray[Any]]) -> None:
    folder = make_raw(blocks, {"one": 1, "two": 2})
    before = digest_of_raw(read_raw_dataset(folder))
    assert digest_of_raw(read_raw_dataset(folder)) == before
    os.utime(folder / "labelsTr" / "case_2.nii.gz", (1, 1))
    assert digest_of_raw(read_raw_dataset(folder)) != before


def test_a_cases_digest_is_of_what_its_files_hold(make_raw: MakeRaw, blocks: Mapping[str, NDArray[Any]]) -> None:
    raw = read_raw_dataset(make_raw(blocks, {"one": 1, "two": 2}))
    before = [case.sha256 for case in take_fingerprint(raw, workers=1).cases]
    first, second, *_ = raw.training_cases
    os.utime(first.label, (0, 0))
    volume = read_volume(second.label)
    write_volume(second.label, Volume(data=volume.data[::-1], affine=volume.affine))
    after = [case.sha256 for case in take_fingerprint(raw, workers=1).cases]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, True]


def test_it_holds_what_nnunets_fingerprint_does(make_raw: MakeRaw, blocks: Mapping[str, NDArray[Any]]) -> None:
    """Spacing, size of the non-zero part and intensities are those that nnU-Net's extractor finds in the same case."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    folder = make_raw(blocks, {"one": 1, "two": 2})
    image = folder / "imagesTr" / "case_1_0000.nii.gz"
    volume = read_volume(image)
    data = np.zeros_like(volume.data)
    data[1:13, 2:12, 1:10] = volume.data[1:13, 2:12, 1:10]
    # Axes in another order than canonical ones, and no two of them alike.
    affine = np.array([[0.0, 0, -2, 0], [1, 0, 0, 0], [0, -3, 0, 0], [0, 0, 0, 1]])
    write_volume(image, Volume(data=data, affine=affine))
    label = folder / "labelsTr" / "case_1.nii.gz"
    write_volume(label, Volume(data=read_volume(label).data, affine=affine))

    ours = take_fingerprint(read_raw_dataset(folder), workers=1)
    theirs = DatasetFingerprintExtractor.analyze_case([str(image)], str(label), SimpleITKIO, num_samples=10**6)
    cropped, spacing, *_, relative_size = theirs
    assert ours.cases[1].nonzero_shape is not None
    assert ours.cases[1].nonzero_shape[::-1] == tuple(cropped)  # it has the file's axes in reverse
    assert ours.cases[1].spacing_mm[::-1] == pytest.approx(spacing)
    assert relative_size == pytest.approx(math.prod(ours.cases[1].nonzero_shape) / math.prod(ours.cases[1].shape))
    assert ours.cases[0].nonzero_shape == ours.cases[0].shape
    assert ours.nonzero_share == 1  # the median
    [channel] = ours.channels
    sampled = np.concatenate(
        [
            read_volume(case.images[0]).data[read_volume(case.label).data > 0]
            for case in read_raw_dataset(folder).training_cases
        ]
    )
    assert (channel.lowest, channel.highest) == pytest.approx((sampled.min(), sampled.max()), rel=1e-5)


def test_cases_that_fail_are_named_and_the_rest_is_measured(
    make_raw: MakeRaw, blocks: Mapping[str, NDArray[Any]]
) -> None:
    raw = read_raw_dataset(make_raw(blocks, {"one": 1, "two": 2}))
    for case in ("case_0", "case_2"):
        path = raw.folder / "imagesTr" / f"{case}_0000.nii.gz"
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
        path.write_bytes(content)
    with pytest.raises(DatasetFaultsError) as caught:
        take_fingerprint(raw, workers=1)
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["case case_0", "case case_2"]
    assert all("_0000.nii.gz" in fault for fault in caught.value.faults)
