"""What a format says of a public dataset: which files make a case, and what its labels mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sammoe_pipeline.image_io import Header

BACKGROUND = "background"
IGNORE = "ignore"


class Readable(Protocol):
    """A volume that is no file of its own: slices in many files, contours, one segment of several in a file.

    It goes to other processes (is picklable), and its text names it in messages.
    """

    @property
    def name(self) -> str:
        """In short, and unlike those of others in the case."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What it is made of."""

    def header(self) -> Header:
        """Returns its grid, told without decoding voxels.

        Raises:
            UnreadableFileError: a file is broken, or does not have what it should.
        """

    def voxels(self) -> NDArray[Any]:
        """Returns its voxels (x, y, z).

        Raises:
            UnreadableFileError: a file is broken, or does not have what it should.
        """


Input = Path | Readable
"""Where a volume is read from."""


@dataclass(frozen=True)
class LabelFile:
    """A label map, or the mask of one class.

    Attributes:
        path: the file, or what stands for one.
        meaning: of a label map, the class of each value beside 0; of a mask, the class of every voxel that is not 0.
            None is a label map whose values nobody has named: the classes are then called after them.
    """

    path: Input
    meaning: Mapping[int, str] | str | None


@dataclass(frozen=True)
class Case:
    """The files of one case, which must share a grid.

    Attributes:
        name: of the case.
        images: one file a channel, or one 4D file with all channels along its fourth axis.
        labels: a label map, or several files of which each later one is painted over the earlier ones; none for a case
            without labels.
        patient: whom the case shows, where several cases can show one patient.
        test: belongs to the dataset's own test set, and so never to training, even if it has labels.
    """

    name: str
    images: tuple[Input, ...]
    labels: tuple[LabelFile, ...] = ()
    patient: str | None = None
    test: bool = False

    @property
    def is_training(self) -> bool:
        """Whether a network may learn from it."""
        return bool(self.labels) and not self.test


@dataclass(frozen=True)
class Fault:
    """What is wrong.

    Attributes:
        text: one sentence with the file, the value and the remedy.
        case: whose fault it is; None where leaving out a case would not help.
    """

    text: str
    case: str | None = None


@dataclass(frozen=True)
class Source:
    """A public dataset as downloaded: its cases, its channels and its classes.

    Attributes:
        channels: names of the images of a case, in order.
        classes: in the order of their numbers; empty where values that nobody has named are still to be looked up.
        cases: labelled cases, and cases without labels to predict on.
        faults: what the format found amiss, such as unpaired files; reported together with everything else.
        left_out: reason why, by case, where a format knows that a case is of no use.
        description: what the dataset shows, in words.
        licence: as the dataset itself gives it; empty where it does not.
        reference: who made it, or where it comes from.
        release: the dataset's version, where it has one.
        empty_is_unlabelled: a label map without any foreground means that nobody has labelled the case.
        mixed_orientations: axes run differently from scan to scan, so nnU-Net is told to reorient on reading, which it
            does not do by itself. This pipeline always does.
        verbatim: fields of `dataset.json` to take over as they are, such as regions of nnU-Net; the values of labels
            are then kept too.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    cases: tuple[Case, ...]
    faults: tuple[Fault, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    licence: str = ""
    reference: str = "not stated"
    release: str | None = None
    empty_is_unlabelled: bool = False
    mixed_orientations: bool = False
    verbatim: Mapping[str, Any] | None = None


def classes_of(meaning: Mapping[int, str]) -> tuple[str, ...]:
    """Returns the classes of a label map in the order of their values.

    >>> classes_of({20: "kidney", 3: "liver", 21: "kidney"})
    ('liver', 'kidney')
    """
    return tuple(dict.fromkeys(meaning[value] for value in sorted(meaning) if meaning[value] != BACKGROUND))
