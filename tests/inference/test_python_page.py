"""The examples of the page on Python run as they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[2] / "documentation" / "how-to" / "python.md"


@pytest.fixture(scope="module")
def ran(tiny_foundation: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the examples leave behind, one after another, in a folder with an image."""
    folder = tmp_path_factory.mktemp("examples")
    data = np.random.default_rng(0).normal(size=(40, 36, 30)).astype(np.float32)
    data[24:36, 20:32, 16:28] += 20
    nibabel.save(nibabel.Nifti1Image(data, np.diag([-3.0, -3.0, 3.0, 1.0])), folder / "case_0000.nii.gz")
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("sammoe_results", str(folder / "results"))
        patch.setenv("sammoe_default_foundation", str(tiny_foundation))
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)):
            exec(compile(code, f"example {number} of {PAGE.name}", "exec"), names)
        names["written"] = nibabel.load("mask.nii.gz").get_fdata()
    return names


def test_mask_lies_on_the_grid_of_the_image(ran: dict[str, Any]) -> None:
    np.testing.assert_array_equal(ran["mask"].affine, ran["image"].affine)
    np.testing.assert_array_equal(ran["written"], ran["mask"].get_fdata())
    assert ran["written"].any()


def test_every_kind_of_image_gives_the_same_mask(ran: dict[str, Any]) -> None:
    import SimpleITK

    expected = ran["written"] > 0
    np.testing.assert_array_equal(ran["in_numpy"].mask(), expected)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(ran["in_simpleitk"].mask()).T > 0, expected)


def test_negative_click_changed_the_mask(ran: dict[str, Any]) -> None:
    assert (ran["corrected"].get_fdata() != ran["written"]).any()
