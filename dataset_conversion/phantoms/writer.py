"""Datasets of phantoms in nnU-Net v2's raw format."""

from __future__ import annotations

import json
import logging
import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset_conversion.phantoms.case import PhantomCase
from dataset_conversion.phantoms.head import HEAD_LABELS, head_case
from dataset_conversion.phantoms.shapes import SHAPES_LABELS, shapes_case
from dataset_conversion.phantoms.torso import torso_case
from dataset_conversion.phantoms.torso_patient import TORSO_LABELS
from sammoe_pipeline.atomic import write_text
from sammoe_pipeline.errors import UsageError, did_you_mean
from sammoe_pipeline.image_io import Volume, write_volume
from sammoe_pipeline.paths import DATASET_JSON, IMAGES_TR, IMAGES_TS, LABELS_TR

logger = logging.getLogger(__name__)

_FILE_ENDING = ".nii.gz"
_RECIPE = "phantoms"
"""Where `dataset.json` has kind and seed."""
_UNFINISHED = ".phantoms.json"
"""Has them in the same place until `dataset.json` is written."""


@dataclass(frozen=True)
class PhantomKind:
    """One kind of phantom."""

    index: int
    """Part of every case's seed: never changed once published."""
    make_case: Callable[[np.random.Generator], PhantomCase]
    labels: dict[str, int]
    """Label value of each class, background excluded."""
    channel: str
    """Channel name, which decides nnU-Net's normalisation."""
    description: str


PHANTOM_KINDS: dict[str, PhantomKind] = {
    "shapes": PhantomKind(0, shapes_case, SHAPES_LABELS, "MR", "Random shapes of random intensity"),
    "torso": PhantomKind(1, torso_case, TORSO_LABELS, "CT", "CT-like torsos of small patients"),
    "head": PhantomKind(2, head_case, HEAD_LABELS, "MR", "MR-like heads of random contrast"),
}
"""The kinds that can be written, by name."""


@dataclass(frozen=True)
class _Job:
    kind: str
    seed: int
    index: int
    test: bool
    out_dir: Path

    @property
    def name(self) -> str:
        return f"{self.kind}_test_{self.index:04d}" if self.test else f"{self.kind}_{self.index:04d}"

    @property
    def image(self) -> Path:
        return self.out_dir / (IMAGES_TS if self.test else IMAGES_TR) / f"{self.name}_0000{_FILE_ENDING}"

    @property
    def label(self) -> Path | None:
        return None if self.test else self.out_dir / LABELS_TR / f"{self.name}{_FILE_ENDING}"

    def is_done(self) -> bool:
        return self.image.is_file() and (self.label is None or self.label.is_file())


def write_phantoms(kind: str, out_dir: Path, num_cases: int, seed: int, workers: int = 1, num_test: int = 0) -> None:
    """Write a dataset of phantoms; cases that are there already are kept.

    A case depends on the kind, the seed and its own number alone, so more cases can be added later, by any number of
    workers. `dataset.json` is written last; until then a hidden file holds kind and seed, so that no other goes on.

    Args:
        kind: one of `PHANTOM_KINDS`.
        out_dir: the dataset's folder, such as `sammoe_raw/Dataset901_Torso`.
        num_cases: labelled cases.
        seed: seed of the dataset, from 0.
        workers: processes; 1 works in this one.
        num_test: further cases, without labels.

    Raises:
        UsageError: the kind is unknown, a number is out of range, or the folder holds cases of something else.

    Example:
        >>> write_phantoms("torso", Path("raw/Dataset901_Torso"), num_cases=20, seed=0)  # doctest: +SKIP
    """
    if kind not in PHANTOM_KINDS:
        raise UsageError(f"kind {kind!r} is none of {', '.join(PHANTOM_KINDS)}.{did_you_mean(kind, PHANTOM_KINDS)}")
    for name, value, least in (
        ("num_cases", num_cases, 1),
        ("seed", seed, 0),
        ("workers", workers, 1),
        ("num_test", num_test, 0),
    ):
        if value < least:
            raise UsageError(f"{name} is {value}; it must be at least {least}.")
    jobs = [_Job(kind, seed, index, False, out_dir) for index in range(num_cases)]
    jobs += [_Job(kind, seed, index, True, out_dir) for index in range(num_test)]
    _refuse_other_content(out_dir, kind, seed, jobs)
    write_text(out_dir / _UNFINISHED, json.dumps({_RECIPE: {"kind": kind, "seed": seed}}))
    _write_cases([job for job in jobs if not job.is_done()], workers)
    _write_dataset_json(out_dir, kind, seed, num_cases)
    (out_dir / _UNFINISHED).unlink()
    logger.info("%s holds %d %s phantoms and %d test cases.", out_dir, num_cases, kind, num_test)


def _refuse_other_content(out_dir: Path, kind: str, seed: int, jobs: list[_Job]) -> None:
    remedy = "Choose an empty folder, or remove this one."
    records = [path for path in (out_dir / DATASET_JSON, out_dir / _UNFINISHED) if path.is_file()]
    for record in records:
        made_with = json.loads(record.read_text(encoding="utf-8")).get(_RECIPE)
        if made_with != {"kind": kind, "seed": seed}:
            raise UsageError(
                f"{out_dir} holds {made_with or 'a dataset that is no phantom'}, not {kind} of seed {seed}. {remedy}"
            )
    expected = {path for job in jobs for path in (job.image, job.label)}
    for folder in (IMAGES_TR, LABELS_TR, IMAGES_TS):
        there = set((out_dir / folder).glob(f"[!.]*{_FILE_ENDING}"))
        strange = sorted(there - expected)
        if strange:
            raise UsageError(f"{strange[0]} is none of the {len(jobs)} cases asked for. Ask for more cases. {remedy}")
        if there and not records:
            raise UsageError(f"{out_dir / folder} holds files, and nothing says of which kind and seed. {remedy}")


def _write_cases(jobs: list[_Job], workers: int) -> None:
    progress = tqdm(total=len(jobs), desc="phantoms", unit="case", disable=None)
    with progress:
        if workers == 1 or len(jobs) < 2:
            for job in jobs:
                _write_case(job)
                progress.update()
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=min(workers, len(jobs)), mp_context=context) as pool:
            for done in as_completed([pool.submit(_write_case, job) for job in jobs]):
                done.result()
                progress.update()


def _write_case(job: _Job) -> None:
    kind = PHANTOM_KINDS[job.kind]
    case = kind.make_case(np.random.default_rng([job.seed, kind.index, job.index, int(job.test)]))
    write_volume(job.image, Volume(data=case.image, affine=case.affine))
    if job.label is not None:
        write_volume(job.label, Volume(data=case.labels, affine=case.affine))


def _write_dataset_json(out_dir: Path, kind: str, seed: int, num_cases: int) -> None:
    from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json

    recipe = PHANTOM_KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        generate_dataset_json(
            folder,
            channel_names={0: recipe.channel},
            labels={"background": 0, **recipe.labels},
            num_training_cases=num_cases,
            file_ending=_FILE_ENDING,
            dataset_name=out_dir.name,
            description=f"{recipe.description}, made by computer; not of any person.",
            license="CC0-1.0",
            converted_by="sammoe_convert_dataset",
            **{_RECIPE: {"kind": kind, "seed": seed}},
        )
        write_text(out_dir / DATASET_JSON, (Path(folder) / DATASET_JSON).read_text(encoding="utf-8"))
