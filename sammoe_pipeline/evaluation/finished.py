"""Cases whose evaluation is finished, kept on disk: an interrupted evaluation goes on, and memory holds few cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.artefacts import Artefact, Record
from sammoe_pipeline.atomic import atomic_path
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.evaluation.pictures import Picture, Plane
from sammoe_pipeline.evaluation.records import CaseRecord, ExpertRecord, RoutingRecord
from sammoe_pipeline.paths import fold_name

_TRUTH, _GENERAL, _MIXTURE = 1, 2, 4
"""Bits of a pixel."""


class KeptPicture(Record):
    """What goes with the planes of a picture."""

    class_name: str
    general_dice: float | None
    mixture_dice: float | None
    pixel_mm: tuple[tuple[float, float], ...]
    """Height and width of a pixel, a plane."""


class FinishedCase(Artefact):
    """`evaluation/finished/DATASET/fold_K/CASE.json`: all that was measured on one held-out case."""

    key: str
    """SHA-256 of everything that the answers depend on; a case with another key is asked again."""
    dataset: str
    case: str
    cases: tuple[CaseRecord, ...]
    routing: tuple[RoutingRecord, ...]
    experts: tuple[ExpertRecord, ...]
    absent: tuple[str, ...]
    """Classes that the reference does not have."""
    pictures: tuple[KeptPicture, ...]
    """Their planes lie in the file beside, as (image, masks), a pair a plane."""
    seconds: float
    """For all its prompts, several cases side by side."""
    memory_mb: float | None
    """Most that the process had held by then."""
    gpu_memory_mb: float | None
    """Most that had been allocated on the card."""


@dataclass(frozen=True)
class FinishedCases:
    """The folder of finished cases.

    Attributes:
        folder: of one evaluation.
    """

    folder: Path

    def load(self, dataset: str, fold: int, case: str, key: str) -> FinishedCase | None:
        """Returns a case if it was finished with this key."""
        path = self._path(dataset, fold, case)
        if not path.is_file():
            return None
        try:
            found = FinishedCase.load(path)
        except ArtefactError:
            return None  # Written by another version: it is asked again.
        whole = not found.pictures or path.with_suffix(".npz").is_file()
        return found if found.key == key and whole else None

    def save(self, finished: FinishedCase, fold: int, pictures: Sequence[Picture]) -> None:
        """Writes a case atomically, its pictures first."""
        path = self._path(finished.dataset, fold, finished.case)
        if pictures:
            arrays = {
                f"{index}_{place}": np.stack([plane.image, _bits(plane)])
                for index, picture in enumerate(pictures)
                for place, plane in enumerate(picture.planes)
            }
            with atomic_path(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        finished.save(path)

    def pictures(self, finished: Iterable[tuple[int, FinishedCase]], dataset: str, class_name: str) -> list[Picture]:
        """Returns the pictures of one class of a dataset.

        Args:
            finished: folds and cases.
            dataset: whose class.
            class_name: which.
        """
        found = []
        for fold, one in finished:
            names = [kept.class_name for kept in one.pictures]
            if one.dataset != dataset or class_name not in names:
                continue
            index = names.index(class_name)
            kept = one.pictures[index]
            with np.load(self._path(dataset, fold, one.case).with_suffix(".npz"), allow_pickle=False) as arrays:
                planes = tuple(_plane(arrays[f"{index}_{place}"], mm) for place, mm in enumerate(kept.pixel_mm))
            found.append(
                Picture(
                    dataset=dataset,
                    case=one.case,
                    class_name=class_name,
                    general_dice=kept.general_dice,
                    mixture_dice=kept.mixture_dice,
                    planes=planes,
                )
            )
        return found

    def _path(self, dataset: str, fold: int, case: str) -> Path:
        return self.folder / dataset / fold_name(fold) / f"{case}.json"


def kept(pictures: Iterable[Picture]) -> tuple[KeptPicture, ...]:
    """Returns what goes with the planes of pictures."""
    return tuple(
        KeptPicture(
            class_name=picture.class_name,
            general_dice=picture.general_dice,
            mixture_dice=picture.mixture_dice,
            pixel_mm=tuple(plane.pixel_mm for plane in picture.planes),
        )
        for picture in pictures
    )


def _bits(plane: Plane) -> NDArray[np.uint8]:
    return np.asarray(_TRUTH * plane.truth + _GENERAL * plane.general + _MIXTURE * plane.mixture, dtype=np.uint8)


def _plane(stored: NDArray[np.uint8], pixel_mm: tuple[float, float]) -> Plane:
    image, bits = stored
    truth, general, mixture = ((bits & bit) > 0 for bit in (_TRUTH, _GENERAL, _MIXTURE))
    return Plane(image=image, truth=truth, general=general, mixture=mixture, pixel_mm=pixel_mm)
