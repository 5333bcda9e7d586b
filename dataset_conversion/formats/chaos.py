"""CHAOS (Kavur et al. 2021): abdominal organs in CT and in MR of other patients; DICOM with a PNG a slice.

`{CT|MR}/ID/[{T1DUAL|T2SPIR}/]DICOM_anon/*.dcm` and `Ground/*.png` beside `DICOM_anon`. T1 has two echoes, in phase and
out of phase, with one set of labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_conversion.dicom_series import DicomSeries
from dataset_conversion.format import Format
from dataset_conversion.source import Case, Fault, LabelFile, Source, classes_of
from dataset_conversion.tables import CHAOS_CT, CHAOS_MR
from dataset_conversion.walking import all_folders, is_visible, natural_key, require_folder, subfolders
from sammoe_pipeline.errors import UnreadableFileError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sammoe_pipeline.image_io import Header

_SLICES, _LABELS = "DICOM_anon", "Ground"


@dataclass(frozen=True)
class _Sequence:
    """Where the files of one kind of image lie.

    Attributes:
        modality: folder above the patients.
        folder: below a patient; empty for none.
        channels: folder below `DICOM_anon`, by channel.
        meaning: of gray values.
    """

    modality: str
    folder: str
    channels: dict[str, str]
    meaning: dict[int, str]


_SEQUENCES = {
    "ct": _Sequence("CT", "", {"CT": ""}, CHAOS_CT),
    "t1": _Sequence("MR", "T1DUAL", {"T1 in phase": "InPhase", "T1 out of phase": "OutPhase"}, CHAOS_MR),
    "t2": _Sequence("MR", "T2SPIR", {"T2": ""}, CHAOS_MR),
}


@dataclass(frozen=True)
class PngStack:
    """Label maps of slices, one PNG each, on the grid of the slices that they show.

    PNG has no place in space, so the first PNG, in the order of the numbers in file names, belongs to the DICOM file
    that is first by its name, wherever that lies.

    Attributes:
        folder: of the PNG.
        files: in any order.
        series: the slices.
    """

    folder: Path
    files: tuple[Path, ...]
    series: DicomSeries

    def __str__(self) -> str:
        return f"{self.folder} (PNG)"

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def header(self) -> Header:
        """Returns the grid of the slices, if there are as many of them."""
        if len(self.files) != len(self.series.files):
            raise UnreadableFileError(
                f"{self} has {len(self.files)} files for {len(self.series.files)} slices in {self.series}. Download "
                f"the case again."
            )
        return replace(self.series.header(), dtype="uint8", moved_voxels=0.0)

    def voxels(self) -> NDArray[np.uint8]:
        """Returns gray values (x, y, z)."""
        import numpy as np
        from PIL import Image, UnidentifiedImageError

        header = self.header()
        named = sorted(self.series.files, key=natural_key)
        shown = dict(zip(named, sorted(self.files, key=natural_key), strict=True))
        stack = np.zeros(header.shape, np.uint8, order="F")
        for z, path in enumerate(self.series.slices()):
            try:
                with Image.open(shown[path]) as image:
                    pixels = np.asarray(image.convert("L")).T
            except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
                raise UnreadableFileError(
                    f"{shown[path]} cannot be read as PNG ({error}). Download the case again."
                ) from error
            if pixels.shape != header.shape[:2]:
                raise UnreadableFileError(
                    f"{shown[path]} has {pixels.shape} pixels, and its slice {header.shape[:2]}. Download it again."
                )
            stack[:, :, z] = pixels
        return stack


def read_source(folder: Path, *, sequence: str) -> Source:
    """Reads the cases of one kind of image; those without labels, from the test sets, are test cases.

    Args:
        folder: `Train_Sets`, or a folder around it, which may hold `Test_Sets` too.
        sequence: "ct", "t1" or "t2".

    Raises:
        UsageError: there is no such image.
    """
    require_folder(folder)
    wanted = _SEQUENCES[sequence]
    # The folders of slices hold thousands of files and no folders of patients.
    roots = [path for path in (folder, *all_folders(folder)) if path.name == wanted.modality]
    patients = [path for root in roots for path in subfolders(root) if (path / wanted.folder / _SLICES).is_dir()]
    if not patients:
        where = "/".join(filter(None, (wanted.modality, "ID", wanted.folder, _SLICES)))
        raise UsageError(f"-i {folder} has no {where} at any depth. Is it CHAOS, extracted?")
    cases: list[Case] = []
    faults: list[Fault] = []
    for patient in patients:
        base, name = patient / wanted.folder, f"chaos_{sequence}_{patient.name}"
        series = [_series(base / _SLICES / channel) for channel in wanted.channels.values()]
        empty = [one.folder for one in series if not one.files]
        if empty:
            faults.append(Fault(f"{empty[0]} has no .dcm file. Download the case again, or remove it.", name))
            continue
        pngs = _files(base / _LABELS, ".png")
        labels = (LabelFile(PngStack(base / _LABELS, pngs, series[0]), wanted.meaning),) if pngs else ()
        cases.append(Case(name=name, images=tuple(series), labels=labels, test=not labels))
    return Source(
        channels=tuple(wanted.channels),
        classes=classes_of(wanted.meaning),
        cases=tuple(cases),
        faults=tuple(faults),
        description=f"CHAOS: abdominal organs in {wanted.modality}",
        reference="Kavur et al., CHAOS, Medical Image Analysis 2021, chaos.grand-challenge.org",
    )


def _series(folder: Path) -> DicomSeries:
    return DicomSeries(folder=folder, files=_files(folder, ".dcm"))


def _files(folder: Path, ending: str) -> tuple[Path, ...]:
    found = folder.iterdir() if folder.is_dir() else ()
    return tuple(sorted(path for path in found if path.name.lower().endswith(ending) and is_visible(path)))


_TREE = """\
CHAOS_Train_Sets/Train_Sets/          and Test_Sets/, without Ground: test cases
  CT/ID/
    DICOM_anon/*.dcm
    Ground/liver_GT_NNN.png
  MR/ID/
    T1DUAL/DICOM_anon/{InPhase, OutPhase}/*.dcm
    T1DUAL/Ground/*.png
    T2SPIR/DICOM_anon/*.dcm
    T2SPIR/Ground/*.png"""
_ORDER = (
    "PNG say nothing of their place: they are tied to DICOM files by the numbers in file names, and lie where these "
    "lie. This was not checked on the archive itself: look at a case before you train on it.",
    "Numbers of PNG and slices that differ are faults.",
)
_LICENCE = "sources disagree: CC BY-NC-SA, or CC BY-SA 4.0"
_WHERE = "zenodo.org/records/3431873, chaos.grand-challenge.org"
_RANGES = "Gray values: 55 to 70 liver, 110 to 135 right kidney, 175 to 200 left kidney, 240 to 255 spleen."

CT = Format(
    read=partial(read_source, sequence="ct"),
    summary="CHAOS: the liver in CT",
    modality="CT",
    classes=classes_of(CHAOS_CT),
    licence=_LICENCE,
    where=_WHERE,
    tree=_TREE,
    notes=(*_ORDER, "CT and MR show different patients."),
)
MR_T1 = Format(
    read=partial(read_source, sequence="t1"),
    summary="CHAOS: abdominal organs in T1-weighted MR, in and out of phase",
    modality="MR: T1 in phase, T1 out of phase",
    classes=classes_of(CHAOS_MR),
    licence=_LICENCE,
    where=_WHERE,
    tree=_TREE,
    notes=(
        *_ORDER,
        _RANGES,
        "In test case 35 the two phases have different numbers of slices: `--skip-faulty` goes on without it.",
        "`chaos_mr_t2` shows the same patients on other grids. Do not evaluate one on the other.",
    ),
)
MR_T2 = Format(
    read=partial(read_source, sequence="t2"),
    summary="CHAOS: abdominal organs in T2-weighted MR",
    modality="MR: T2",
    classes=classes_of(CHAOS_MR),
    licence=_LICENCE,
    where=_WHERE,
    tree=_TREE,
    notes=(
        *_ORDER,
        _RANGES,
        "`chaos_mr_t1` shows the same patients on other grids. Do not evaluate one on the other.",
    ),
)
