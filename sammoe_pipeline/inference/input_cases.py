"""Which images a user wants predicted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sammoe_pipeline.dicom_series import holds_dicom, only_series
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.image_io import FILE_ENDINGS, Volume, file_ending, read_volume

_ENDING_FOR_DICOM = ".nii.gz"
_CHANNEL = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class InputCase:
    """An image to predict.

    Attributes:
        name: of the case, and of its label map.
        files: one a channel; of a DICOM series, the folder that holds it.
    """

    name: str
    files: tuple[Path, ...]

    @property
    def is_dicom(self) -> bool:
        """Whether the image is a DICOM series."""
        return self.files[0].is_dir()

    @property
    def ending(self) -> str:
        """Of the files that are written: the image's own, and `.nii.gz` for DICOM."""
        return _ENDING_FOR_DICOM if self.is_dicom else file_ending(self.files[0]) or _ENDING_FOR_DICOM

    def read(self) -> list[Volume]:
        """Reads the channels.

        Raises:
            UsageError: a channel is missing, images of their own share a beginning, or a folder holds several series.
            UnreadableFileError: a file is broken.
        """
        if self.is_dicom:
            series = only_series(self.files[0])
            return [Volume(data=series.voxels(), affine=series.header().affine)]
        self._require_channels()
        return [read_volume(file) for file in self.files]

    def _require_channels(self) -> None:
        names = [_stem(file) for file in self.files]
        if names not in ([self.name], [f"{self.name}_{channel:04d}" for channel in range(len(names))]):
            raise UsageError(
                f"The files {', '.join(file.name for file in self.files)} are not the channels {self.name}_0000, "
                f"{self.name}_0001, ... of one image. Add what is missing, or rename images of their own."
            )


def find_cases(path: Path) -> list[InputCase]:
    """Lists the images of a folder, or the one that a file or a DICOM series is.

    Files named as nnU-Net has it (`CASE_0000.nii.gz`, `CASE_0001.nii.gz`) are the channels of one case; others are
    cases of one channel, and so are numbered ones such as `CASE_0007.nii.gz` where no image is a `_0000`. A folder with
    DICOM files is one case named like the folder; so is each such folder in `path`.

    Raises:
        UsageError: there is nothing to predict, or two images have one name.
    """
    if not path.exists():
        raise UsageError(f"-i {path}: it does not exist.")
    entries = sorted(path.iterdir()) if path.is_dir() else [path]
    shown = [entry for entry in entries if not entry.name.startswith((".", "_"))]
    cases = _by_case([entry for entry in shown if file_ending(entry) and not entry.is_dir()])
    for folder in [entry for entry in (path, *shown) if entry.is_dir() and holds_dicom(entry)]:
        name = folder.resolve().name
        if name in cases:
            raise UsageError(
                f"-i {path}: {cases[name][0].name} and the DICOM series in {folder} are both called '{name}', and so "
                f"would their label maps be. Rename one."
            )
        cases[name] = [folder]
    if not cases:
        raise UsageError(
            f"-i {path}: it holds no image. Endings that are read: {', '.join(FILE_ENDINGS)}; or DICOM, as a folder "
            f"with the slices of one series, or a folder of such folders."
        )
    return [InputCase(name=name, files=tuple(parts)) for name, parts in sorted(cases.items())]


def _by_case(images: Sequence[Path]) -> dict[str, list[Path]]:
    """Groups channels. Numbers are those of channels where some image is the first of one, else a part of names."""
    split = {image: _CHANNEL.fullmatch(_stem(image)) for image in images}
    have_channels = any(match and int(match[2]) == 0 for match in split.values())
    cases: dict[str, list[Path]] = {}
    for image, match in split.items():
        name = match[1] if match and have_channels else _stem(image)
        cases.setdefault(name, []).append(image)
    return cases


def _stem(image: Path) -> str:
    return image.name[: -len(file_ending(image) or "")]


def part_of(cases: Sequence[InputCase], *, num_parts: int, part_id: int) -> list[InputCase]:
    """Returns every `num_parts`-th case from `part_id` on, as nnU-Net does: the parts share all cases out.

    Raises:
        UsageError: there is no such part.
    """
    if not 0 <= part_id < num_parts:
        raise UsageError(
            f"-part_id {part_id}: with -num_parts {num_parts} the parts are numbered from 0 to {num_parts - 1}."
        )
    return list(cases[part_id::num_parts])
