from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_conversion import files
from dataset_conversion.files import channels_of, header_of, is_ready, voxels_of
from sammoe_pipeline.errors import UnreadableFileError
from tests.dataset_conversion.volumes import SHAPE, scan


def test_headers_voxels_and_channels_are_read(tmp_path: Path) -> None:
    assert header_of(scan(tmp_path / "a.nii.gz")).shape == voxels_of(tmp_path / "a.nii.gz").shape == SHAPE
    assert len(channels_of(scan(tmp_path / "b.nii.gz", channels=2), 2)) == 2


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("read_header", header_of),
        ("read_voxels", voxels_of),
        ("read_channels", lambda path: channels_of(path, 2)),
    ],
)
def test_what_the_system_refuses_is_a_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch, name: str, read: Callable[[Path], object]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, name, refuse)
    with pytest.raises(
        UnreadableFileError, match=r"a\.nii cannot be read \(Permission denied\)\. Check its permissions"
    ):
        read(Path("a.nii"))


@pytest.mark.parametrize(("name", "ready"), [("a.nii.gz", True), ("a.nii", False), ("a.nrrd", False)])
def test_only_gzipped_nifti_is_taken_over(name: str, ready: bool) -> None:
    assert is_ready(Path(name)) is ready
