"""A case of a planned dataset as prediction would meet it: the raw image, with the truth on the same canonical grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sammoe_pipeline.clicks import Click, component_at, component_clicks, first_click
from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.image_io import read_volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.label_boxes import Box, LabelBoxes
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_dataset import RawDataset


@dataclass(frozen=True)
class RawLabelledCase:
    """An image and its truth.

    Attributes:
        name: of the case.
        image: as prediction reads it.
        labels: (x, y, z), values of the dataset, canonical axes.
        planned: whose classes the values mean.
    """

    name: str
    image: CaseImage
    labels: NDArray[np.int16]
    planned: PlannedDataset

    @classmethod
    def read(cls, planned: PlannedDataset, raw: RawDataset, name: str) -> RawLabelledCase:
        """Reads a case from the raw dataset and the preprocessed ground truth.

        Raises:
            ArtefactError: the raw dataset has no such case any more.
            UnreadableFileError: a file is missing or broken.
        """
        files = next((case for case in raw.training_cases if case.name == name), None)
        if files is None:
            raise ArtefactError(
                f"{raw.folder} has no labelled case '{name}', but {planned.paths.splits} names it. Put its files back, "
                f"or plan again."
            )
        image = CaseImage([read_volume(path) for path in files.images])
        truth = read_volume(planned.paths.ground_truth(name))
        labels = np.ascontiguousarray(image.orientation.to_canonical(truth.data)).astype(np.int16)
        return cls(name=name, image=image, labels=labels, planned=planned)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Sides of a voxel along the canonical axes."""
        x, y, z = (float(side) for side in np.linalg.norm(self.image.affine[:3, :3], axis=0))
        return x, y, z

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """False where the truth is unknown."""
        ignore = self.planned.description.ignore
        return np.ones(self.labels.shape, dtype=np.bool_) if ignore is None else np.asarray(self.labels != ignore)

    def truth(self, class_name: str) -> NDArray[np.bool_]:
        """Returns the mask of a class."""
        return self._on_grid(class_name, self._within(class_name))

    def clicks(self, class_name: str, rng: np.random.Generator) -> list[Click]:
        """Draws the first click on each target of a class: one, or one a component where the plan says so.

        Of a class whose targets are components, at most the five largest are clicked on.
        """
        mask = self._within(class_name)
        if self.planned.plan.classes[class_name].target == "class":
            click = first_click(mask, rng)
            drawn = [] if click is None else [click]
        else:
            drawn = component_clicks(mask, rng)
        return [click.moved_by(side.start for side in self._box(class_name)) for click in drawn]

    def target(self, class_name: str, click: Click) -> NDArray[np.bool_]:
        """Returns what a click on a class means: the class, or the component that it lies in."""
        mask = self._within(class_name)
        if self.planned.plan.classes[class_name].target == "component":
            mask = component_at(mask, click.moved_by(-side.start for side in self._box(class_name)))
        return self._on_grid(class_name, mask)

    @cached_property
    def _boxes(self) -> LabelBoxes:
        return LabelBoxes.of(self.labels)

    def _box(self, class_name: str) -> Box:
        """Returns the box of a class with a voxel of what is around it, so that its border is seen; empty if absent."""
        found = self._boxes.around(self.planned.description.labels[class_name], margin=1)
        return found if found is not None else (slice(0, 0),) * 3

    def _within(self, class_name: str) -> NDArray[np.bool_]:
        """Returns the mask of a class in its box."""
        return np.isin(self.labels[self._box(class_name)], self.planned.description.labels[class_name])

    def _on_grid(self, class_name: str, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        whole = np.zeros(self.labels.shape, dtype=np.bool_)
        whole[self._box(class_name)] = mask
        return whole
