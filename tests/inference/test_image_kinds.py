from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.image_io import Volume, to_simpleitk
from sammoe_pipeline.inference.image_kinds import like, to_volume

OBLIQUE = np.array([[-0.8, 0.6, 0, 11], [-0.6, -0.8, 0, -4], [0, 0, 2, 5], [0, 0, 0, 1.0]])


@pytest.fixture
def data() -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(-100, 100, (6, 5, 4)).astype(np.int16)


def test_each_kind_keeps_voxels_and_place(data: NDArray[np.int16]) -> None:
    nifti = nibabel.Nifti1Image(data, OBLIQUE)
    for volume in (
        to_volume(data, affine=OBLIQUE),
        to_volume(nifti),
        to_volume(to_simpleitk(Volume(data=data, affine=OBLIQUE))),
    ):
        np.testing.assert_array_equal(volume.data, data)
        np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-6)


def test_array_with_spacing_runs_along_ras(data: NDArray[np.int16]) -> None:
    np.testing.assert_allclose(to_volume(data, spacing_mm=(0.5, 1.0, 2.0)).affine, np.diag([0.5, 1, 2, 1]))


def test_mask_is_of_the_kind_of_the_image_and_on_its_very_grid(data: NDArray[np.int16]) -> None:
    mask = data > 0
    volume = Volume(data=data, affine=OBLIQUE)
    made = like(data, mask, volume)
    assert made.dtype == np.bool_ and (made == mask).all()
    itk = to_simpleitk(volume)
    made = like(itk, mask, volume)
    assert (made.GetOrigin(), made.GetSpacing(), made.GetDirection()) == (
        itk.GetOrigin(),
        itk.GetSpacing(),
        itk.GetDirection(),
    )
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(made).T, mask)
    nifti = nibabel.Nifti1Image(data, OBLIQUE)
    made = like(nifti, mask, volume)
    np.testing.assert_array_equal(made.affine, nifti.affine)
    np.testing.assert_array_equal(np.asanyarray(made.dataobj), mask)


def test_what_is_no_number_becomes_zero() -> None:
    data = np.array([np.nan, np.inf, -np.inf, 1.0]).reshape(4, 1, 1)
    np.testing.assert_array_equal(to_volume(data, affine=np.eye(4)).data.ravel(), [0, 0, 0, 1])


@pytest.mark.parametrize(
    ("image", "place", "message"),
    [
        (np.zeros((2, 2, 2)), {}, "either its affine"),
        (np.zeros((2, 2, 2)), {"affine": np.eye(4), "spacing_mm": (1, 1, 1)}, "either its affine"),
        (np.zeros((2, 2, 2)), {"affine": np.eye(3)}, "does not place"),
        (np.zeros((2, 2, 2)), {"spacing_mm": (1.0, 0.0, 1.0)}, "does not place"),
        (np.zeros((2, 2, 2)), {"affine": np.eye(4) + np.eye(4, k=1)}, "degrees off right angles"),
        (np.zeros((2, 2)), {"affine": np.eye(4)}, "three axes"),
        (SimpleITK.Image([2, 2], SimpleITK.sitkFloat32), {}, "three axes"),
        (SimpleITK.Image([2, 2, 2], SimpleITK.sitkVectorFloat32, 3), {}, "three axes"),
        (nibabel.Nifti1Image(np.zeros((2, 2, 2, 3)), np.eye(4)), {}, "three axes"),
        (nibabel.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)), {"spacing_mm": (1, 1, 1)}, "have their own"),
        ("case.nii.gz", {}, "of the type str"),
    ],
)
def test_what_cannot_be_used_is_refused(image: Any, place: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        to_volume(image, **place)
