"""The files that describe a converted dataset: `dataset.json`, and whom each case shows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dataset_conversion.files import FILE_ENDING
from dataset_conversion.selection import Numbering
from dataset_conversion.source import BACKGROUND, Case, Source
from sammoe_pipeline.atomic import write_text
from sammoe_pipeline.paths import DATASET_JSON, PATIENTS_JSON

_REORIENTING = "NibabelIOWithReorient"
"""What nnU-Net calls its reader that brings all scans to one orientation."""


def write_description(
    source: Source, numbering: Numbering, folder: Path, cases: Sequence[Case], converter: str
) -> None:
    """Writes `patients.json`, where the source tells patients apart, and `dataset.json` last.

    Args:
        source: what the format read.
        numbering: of the classes.
        folder: the dataset's.
        cases: that are in it.
        converter: command, format and version.
    """
    patients = {case.name: case.patient for case in cases if case.is_training and case.patient is not None}
    if patients:
        write_if_other(folder / PATIENTS_JSON, json.dumps(patients, indent=2) + "\n")
    write_if_other(folder / DATASET_JSON, _dataset_json(source, numbering, folder.name, cases, converter))


def _dataset_json(source: Source, numbering: Numbering, name: str, cases: Sequence[Case], converter: str) -> str:
    from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json

    fields = dict(source.verbatim or {})
    labels = fields.pop("labels", {BACKGROUND: 0, **numbering.classes})
    with tempfile.TemporaryDirectory() as temporary:
        generate_dataset_json(
            temporary,
            channel_names=dict(enumerate(source.channels)),
            labels=labels,
            num_training_cases=sum(case.is_training for case in cases),
            file_ending=FILE_ENDING,
            dataset_name=name,
            description=source.description,
            reference=source.reference,
            release=source.release,
            license=source.licence,
            converted_by=converter,
            overwrite_image_reader_writer=_REORIENTING if source.mixed_orientations else None,
            **fields,
        )
        return (Path(temporary) / DATASET_JSON).read_text(encoding="utf-8")


def write_if_other(path: Path, content: str) -> None:
    """Writes a text, unless it is there: the time of an equal file tells later stages that nothing changed."""
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        write_text(path, content)
