"""The files that a case is given: its label map, and on request a mask or a probability map for each class.

They are written out of sight and put in place together, so that a case that fails leaves nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sammoe_pipeline.image_io import Volume, write_volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.input_cases import InputCase
from sammoe_pipeline.paths import INSTANCES, MASKS, PROBABILITIES, safe_name


@dataclass
class CaseFiles:
    """Where the files of a case are gathered.

    Attributes:
        case: whose they are.
        image: on whose grid they lie.
        names: of the classes in file names.
        gathered: where they lie until they are put in place.
        folder: of all label maps.
        written: names of the files within `folder`, once they are in place.
    """

    case: InputCase
    image: CaseImage
    names: Mapping[str, str]
    gathered: Path
    folder: Path
    written: tuple[str, ...] = ()

    def write_label_map(self, labels: Tensor) -> None:
        """Writes the label map.

        Args:
            labels: (x, y, z) in canonical axes, values from 0 to 32767.
        """
        dtype = np.uint8 if int(labels.max()) < 256 else np.uint16
        self._write(self.gathered, self.case.name, labels.numpy().astype(dtype))

    def write_instances(self, instances: Tensor) -> None:
        """Writes which answer each voxel (x, y, z) comes from."""
        self._write(self.gathered / INSTANCES, self.case.name, instances.numpy().astype(np.uint16))

    def write_mask(self, label: str, logits: Tensor) -> None:
        """Writes where a class has positive logits (x, y, z), whichever other class won there."""
        self._write(self.gathered / MASKS / self.case.name, self.names[label], (logits > 0).numpy().astype(np.uint8))

    def write_probability(self, label: str, logits: Tensor) -> None:
        """Writes a class's probabilities, made of its logits (x, y, z)."""
        # NIfTI has no float16; values of its precision are mostly 0 and 1, and compress.
        rounded = logits.sigmoid().half().float().numpy()
        self._write(self.gathered / PROBABILITIES / self.case.name, self.names[label], rounded)

    def _write(self, folder: Path, name: str, data: NDArray[Any]) -> None:
        placed = Volume(data=self.image.orientation.from_canonical(data), affine=self.image.channels[0].affine)
        write_volume(folder / f"{name}{self.case.ending}", placed)


@contextmanager
def case_files(case: InputCase, image: CaseImage, labels: Iterable[str], folder: Path) -> Iterator[CaseFiles]:
    """Yields a place to write a case's files to; on success they are put in place, on failure they are gone.

    Args:
        case: whose they are.
        image: on whose grid they lie.
        labels: names of the classes that may be written.
        folder: of all label maps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as name:
        files = CaseFiles(case, image, _file_names(labels), gathered=Path(name), folder=folder)
        yield files
        found = [path.relative_to(name) for path in sorted(Path(name).rglob("*")) if path.is_file()]
        # The label map comes last, and the header of a pair of files after the voxels that it names.
        found.sort(key=lambda path: (len(path.parts) == 1, path.name.endswith(case.ending)))
        for path in found:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (files.gathered / path).replace(folder / path)
        files.written = tuple(path.as_posix() for path in found)


def remove_files(folder: Path, written: Iterable[str]) -> None:
    """Removes the files of an earlier prediction of a case, and the folders that this empties.

    Args:
        folder: of all label maps.
        written: names within `folder`, as they were recorded; one that leads out of it is left alone.
    """
    for path in (folder / name for name in written):
        if not path.resolve().is_relative_to(folder.resolve()):
            continue
        path.unlink(missing_ok=True)
        if path.parent != folder and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _file_names(labels: Iterable[str]) -> dict[str, str]:
    """Returns a file name for each class, no two alike, also where capitals do not tell files apart."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        name = plain = safe_name(label)
        number = 2
        while name.lower() in taken:
            name, number = f"{plain}_{number}", number + 1
        taken.add(name.lower())
        names[label] = name
    return names
