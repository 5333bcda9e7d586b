"""From what a format says to a dataset in nnU-Net v2's raw format: checked as a whole first, then written."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dataset_conversion.description import write_description, write_if_other
from dataset_conversion.placing import place, remove
from dataset_conversion.preparation import DECODED_BYTES_A_WORKER, SUBJECT, Options, Plan, plan_conversion, worthwhile
from dataset_conversion.report import ConversionReport, ConvertedCase, SkippedCase, earlier_cases
from dataset_conversion.source import Fault, Source
from dataset_conversion.staging import CaseJob, stage
from dataset_conversion.target import holds_dataset
from sammoe_pipeline.errors import DatasetFaultsError
from sammoe_pipeline.parallel import run_jobs
from sammoe_pipeline.paths import CONVERSION_PROGRESS, CONVERSION_REPORT

logger = logging.getLogger(__name__)

_COPIED_BYTES_A_WORKER = 500 * 2**20


def convert(source: Source, folder: Path, *, converter: str, options: Options) -> None:
    """Writes a dataset in nnU-Net v2's raw format, or brings one up to date with its source.

    Nothing is written unless the whole source is in order, or faulty cases may be skipped. Each file appears complete,
    what is there already is left alone, and `dataset.json` comes last, so that an interrupted conversion never looks
    finished.

    Args:
        source: what a format read.
        folder: of the new dataset, such as `sammoe_raw/Dataset004_Hippocampus`.
        converter: what to name as converter in `dataset.json`.
        options: what the user wants.

    Raises:
        DatasetFaultsError: the source has faults, or the folder holds files of something else; all are named.
        UsageError: an option does not fit the source, or the folder holds what must not be overwritten.
    """
    carry_out(plan_conversion(source, folder, options), converter=converter)


def carry_out(plan: Plan, *, converter: str) -> None:
    """Checks the voxels of the labels and writes the dataset.

    Raises:
        DatasetFaultsError: there are faults, and some cannot be helped by skipping cases, or none may be skipped.
    """
    options = plan.options
    hopeless = [fault for fault in plan.faults if fault.case is None or not options.skip_faulty]
    progress = plan.folder / CONVERSION_PROGRESS
    earlier = earlier_cases(plan.folder, progress)
    known = {job.case.name: earlier[job.case.name] for job in plan.jobs if job.is_done(earlier.get(job.case.name))}
    waiting = [replace(job, write=not hopeless) for job in plan.jobs if job.case.name not in known]
    size = sum(job.bytes_to_decode for job in waiting)
    if hopeless and size > DECODED_BYTES_A_WORKER:
        listed = "\n".join(f"  - {fault.text}" for fault in hopeless)
        logger.warning("Nothing will be written; label maps are read to find all faults. So far:\n%s", listed)
    workers = worthwhile(size, DECODED_BYTES_A_WORKER, options.workers)
    staged = run_jobs(stage, waiting, workers=workers, description="Checking labels")
    faults = [*plan.faults]
    for job, outcome in zip(waiting, staged, strict=True):
        faults += [Fault(text, job.case.name) for text in outcome.faults]
        if outcome.record:
            known[job.case.name] = outcome.record
    jobs = [job for job in plan.jobs if job.case.name in known and known[job.case.name].left_out is None]
    if options.skip_faulty or not faults:
        faults += _nothing_left(jobs, known)
    if any(fault.case is None or not options.skip_faulty for fault in faults):
        _clear(progress)
        raise DatasetFaultsError(SUBJECT, [fault.text for fault in faults])
    _write(plan, jobs, known, faults, converter)


def _write(
    plan: Plan, jobs: list[CaseJob], known: dict[str, ConvertedCase], faults: list[Fault], converter: str
) -> None:
    remove(plan.folder, plan.targets.difference(*(job.targets for job in jobs)))
    placements = [(job, plan.options.link, known[job.case.name]) for job in jobs]
    size = sum(job.bytes_to_copy for job in jobs)
    workers = worthwhile(size, _COPIED_BYTES_A_WORKER, plan.options.workers)
    changes = sum(run_jobs(place, placements, workers=workers, description=f"Writing {plan.folder.name}"))
    write_description(plan.source, plan.numbering, plan.folder, [job.case for job in jobs], converter)
    skipped: dict[str, list[str]] = {}
    for fault in faults:
        skipped.setdefault(str(fault.case), []).append(fault.text)
    left_out = [_left_out(name, reason) for name, reason in plan.source.left_out.items()]
    report = ConversionReport(
        converter=converter,
        cases=(*(known[job.case.name] for job in plan.jobs if job.case.name in known), *left_out),
        skipped=tuple(SkippedCase(name=name, faults=tuple(texts)) for name, texts in skipped.items()),
    )
    write_if_other(plan.folder / CONVERSION_REPORT, report.model_dump_json(indent=2) + "\n")
    _clear(plan.folder / CONVERSION_PROGRESS)
    _log(plan.folder, jobs, report, changes)


def _left_out(name: str, reason: str) -> ConvertedCase:
    return ConvertedCase(
        name=name, inputs="", made=(), overlapping_voxels=0, foreground=True, left_out=reason, repaired=()
    )


def _log(folder: Path, jobs: list[CaseJob], report: ConversionReport, changes: int) -> None:
    training = sum(job.case.is_training for job in jobs)
    logger.info("%s: %d labelled cases, %d test cases", folder, training, len(jobs) - training)
    logger.info("%d files written, %d were there", changes, sum(len(job.targets) for job in jobs) - changes)
    there = [case for case in report.cases if case.left_out is None]
    for number, words in (
        (sum(bool(case.repaired) for case in there), "cases have noise in their headers, which was repaired"),
        (sum(case.overlapping_voxels > 0 for case in there), "cases have masks that overlap; the later class won"),
        (sum(not case.foreground for case in there), "cases have an empty label map (--labels-only-where drops them)"),
        (len(report.cases) - len(there), "cases were left out"),
        (len(report.skipped), "cases with faults were skipped"),
    ):
        if number:
            logger.warning("%d %s: see %s", number, words, folder / CONVERSION_REPORT)


def _nothing_left(jobs: list[CaseJob], known: dict[str, ConvertedCase]) -> Iterator[Fault]:
    training = [job for job in jobs if job.case.is_training]
    if not training and any(case.left_out for case in known.values()):
        yield Fault("no labelled case is left: no wanted class is in any. Ask for other classes.")
    elif not training:
        yield Fault("there is no labelled case to train on. Is the training part missing, or all of it faulty?")
    elif training and not any(known[job.case.name].foreground for job in training):
        yield Fault("all label maps are empty: there is nothing to learn. Check that the right files are labels.")


def _clear(progress: Path) -> None:
    """Removes what was made aside, and the dataset's folder if nothing else is in it.

    Where volumes lie there without a report, it is all that tells whose they are, and stays.
    """
    if holds_dataset(progress.parent) and not (progress.parent / CONVERSION_REPORT).is_file():
        return
    shutil.rmtree(progress, ignore_errors=True)
    if progress.parent.is_dir() and not any(progress.parent.iterdir()):
        progress.parent.rmdir()
