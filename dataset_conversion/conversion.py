"""From what a format says to a dataset in nnU-Net v2's raw format: checked as a whole first, then written."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from dataset_conversion.description import write_description, write_if_other
from dataset_conversion.files import FILE_ENDING
from dataset_conversion.headers import check_headers
from dataset_conversion.labels import values_in
from dataset_conversion.placing import place, remove
from dataset_conversion.report import ConversionReport, ConvertedCase, SkippedCase, earlier_cases
from dataset_conversion.selection import Numbering, Selection, number_classes
from dataset_conversion.source import Case, Fault, LabelFile, Source
from dataset_conversion.staging import CaseJob, stage
from sammoe_pipeline.errors import DatasetFaultsError, UsageError
from sammoe_pipeline.parallel import run_jobs
from sammoe_pipeline.paths import (
    CONVERSION_PROGRESS,
    CONVERSION_REPORT,
    IMAGES_TR,
    IMAGES_TS,
    LABELS_TR,
    LABELS_TS,
    safe_name,
)
from sammoe_pipeline.raw_dataset import visible_volumes

logger = logging.getLogger(__name__)

SUBJECT = "The source cannot be converted"
_GIB = 2**30


@dataclass(frozen=True)
class Options:
    """What the user wants of a conversion.

    Attributes:
        selection: which classes.
        channels: names in place of the format's; None keeps these.
        only_with_foreground: leave out labelled cases in which no wanted class occurs.
        link: symbolic links to files that need no change, in place of copies.
        skip_faulty: go on without cases that have faults.
        workers: processes.
    """

    selection: Selection = field(default_factory=Selection)
    channels: tuple[str, ...] | None = None
    only_with_foreground: bool = False
    link: bool = False
    skip_faulty: bool = False
    workers: int = 1


@dataclass(frozen=True)
class Plan:
    """A conversion that headers have been checked for.

    Attributes:
        source: what the format read, with every label value named.
        folder: of the new dataset.
        options: what the user wants.
        numbering: of the classes.
        jobs: cases whose headers are in order.
        targets: files of all cases, relative to the dataset's folder.
        faults: what was found so far.
    """

    source: Source
    folder: Path
    options: Options
    numbering: Numbering
    jobs: tuple[CaseJob, ...]
    targets: frozenset[str]
    faults: tuple[Fault, ...]


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
        UsageError: an option does not fit the source.
    """
    carry_out(plan_conversion(source, folder, options), converter=converter)


def plan_conversion(source: Source, folder: Path, options: Options) -> Plan:
    """Checks all that can be told from names and headers.

    Raises:
        DatasetFaultsError: the source does not say what channels and classes it has, so nothing more can be checked.
        UsageError: an option does not fit the source.
    """
    unnamed = any(label.meaning is None for case in source.cases for label in case.labels)
    if source.faults and not (source.channels and (source.classes or unnamed)):
        raise DatasetFaultsError(SUBJECT, [fault.text for fault in source.faults])
    source, faults = _name_values(source, options.workers)
    source = _rename_channels(source, options.channels)
    numbering = _number(source, options.selection)
    cases, more = _safe_cases(source)
    faults += [*source.faults, *more]
    if not any(case.labels for case in cases):
        faults.append(
            Fault("there is no case with a label map. Is this the right folder, and was it extracted completely?")
        )
    channels = len(source.channels)
    headers = run_jobs(
        check_headers, [(case, channels) for case in cases], workers=options.workers, description="Checking headers"
    )
    jobs = [
        CaseJob(
            case=case,
            channels=channels,
            numbering=numbering,
            headers=found,
            folder=folder,
            only_with_foreground=options.only_with_foreground,
            empty_is_unlabelled=source.empty_is_unlabelled,
            write=True,
        )
        for case, found in zip(cases, headers, strict=True)
    ]
    faults += [Fault(text, job.case.name) for job in jobs for text in job.headers.faults]
    faults += _strange_files(folder, jobs)
    faulty = {fault.case for fault in faults}
    sound = tuple(job for job in jobs if job.case.name not in faulty)
    faults += _lack_of_space(folder, sound, options)
    return Plan(
        source=source,
        folder=folder,
        options=options,
        numbering=numbering,
        jobs=sound,
        targets=frozenset(target for job in jobs for target in job.targets),
        faults=tuple(faults),
    )


def carry_out(plan: Plan, *, converter: str) -> None:
    """Checks the voxels of the labels and writes the dataset.

    Raises:
        DatasetFaultsError: there are faults, and some cannot be helped by skipping cases, or none may be skipped.
    """
    options = plan.options
    # Without a chance to succeed, what is left to do is to find the other faults too.
    hopeless = [fault for fault in plan.faults if fault.case is None or not options.skip_faulty]
    for fault in hopeless:
        logger.warning("%s", fault.text)
    progress = plan.folder / CONVERSION_PROGRESS
    earlier = earlier_cases(plan.folder, progress)
    known = {job.case.name: earlier[job.case.name] for job in plan.jobs if job.is_done(earlier.get(job.case.name))}
    waiting = [replace(job, write=not hopeless) for job in plan.jobs if job.case.name not in known]
    staged = run_jobs(stage, waiting, workers=options.workers, description="Checking labels")
    faults = [*plan.faults]
    for job, outcome in zip(waiting, staged, strict=True):
        faults += [Fault(text, job.case.name) for text in outcome.faults]
        if outcome.record:
            known[job.case.name] = outcome.record
    jobs = [job for job in plan.jobs if job.case.name in known and known[job.case.name].left_out is None]
    faults += _nothing_left(jobs, known, faults)
    if any(fault.case is None or not options.skip_faulty for fault in faults):
        _clear(progress)
        raise DatasetFaultsError(SUBJECT, [fault.text for fault in faults])
    _write(plan, jobs, known, faults, converter)


def describe(plan: Plan) -> str:
    """Returns what a conversion would write, for `--dry-run`.

    Raises:
        DatasetFaultsError: faults are known already that would end it.
    """
    if any(fault.case is None or not plan.options.skip_faulty for fault in plan.faults):
        raise DatasetFaultsError(SUBJECT, [fault.text for fault in plan.faults])
    kept = "link" if plan.options.link else "copy"
    lines = [f"{plan.folder}", "classes:"]
    lines += [f"  {number} {name}" for name, number in plan.numbering.classes.items()]
    for job in plan.jobs:
        lines += [f"{kept if target in job.sources else 'make'} {target}" for target in job.targets]
    lines += [f"skip {name}" for name in dict.fromkeys(fault.case for fault in plan.faults)]
    lines += [f"leave out {name}: {reason}" for name, reason in plan.source.left_out.items()]
    training = sum(job.case.is_training for job in plan.jobs)
    size = sum(job.headers.bytes_needed for job in plan.jobs) / _GIB
    lines.append(f"{training} labelled cases, {len(plan.jobs) - training} test cases, about {size:.2f} GiB as copies")
    return "\n".join(lines) + "\n"


def _write(
    plan: Plan, jobs: list[CaseJob], known: dict[str, ConvertedCase], faults: list[Fault], converter: str
) -> None:
    remove(plan.folder, plan.targets.difference(*(job.targets for job in jobs)))
    placements = [(job, plan.options.link, known[job.case.name]) for job in jobs]
    changes = sum(run_jobs(place, placements, workers=plan.options.workers, description=f"Writing {plan.folder.name}"))
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


def _name_values(source: Source, workers: int) -> tuple[Source, list[Fault]]:
    """Looks up the values of label maps that nobody has named."""
    unnamed = [(case.name, label.path) for case in source.cases for label in case.labels if label.meaning is None]
    if not unnamed:
        return source, []
    found = run_jobs(
        values_in, [path for _, path in unnamed], workers=workers, description="Finding label values", unit="file"
    )
    faults = [Fault(text, name) for (name, _), text in zip(unnamed, found, strict=True) if isinstance(text, str)]
    values = sorted({value for listed in found if not isinstance(listed, str) for value in listed})
    meaning = {value: f"class_{value}" for value in values}
    faulty = {fault.case for fault in faults}

    def named(case: Case) -> Case:
        labels = (LabelFile(label.path, meaning if label.meaning is None else label.meaning) for label in case.labels)
        return replace(case, labels=tuple(labels))

    cases = tuple(named(case) for case in source.cases if case.name not in faulty)
    return replace(source, cases=cases, classes=(*source.classes, *meaning.values())), faults


def _rename_channels(source: Source, names: tuple[str, ...] | None) -> Source:
    if names is None:
        return source
    if len(names) != len(source.channels):
        raise UsageError(
            f"--channels names {len(names)}, but the source has {len(source.channels)}: {', '.join(source.channels)}."
        )
    return replace(source, channels=names)


def _number(source: Source, selection: Selection) -> Numbering:
    if source.verbatim is None:
        return number_classes(source.classes, selection)
    if selection != Selection():
        raise UsageError(
            "--classes, --merge and --split-sides cannot be used on a dataset with regions, whose classes are nested. "
            "Convert it without them."
        )
    values = {value: int(value) for value in source.classes}
    return Numbering(classes=values, source=values, right={})


def _safe_cases(source: Source) -> tuple[list[Case], list[Fault]]:
    """Makes file names of the names of cases; two that come out the same are faults."""
    cases = [replace(case, name=safe_name(case.name)) for case in source.cases]
    times = Counter(case.name for case in cases)
    twice = {
        Fault(f"{case.images[0]}: the case {case.name!r} exists {times[case.name]} times. Rename one.", case.name)
        for case in cases
        if times[case.name] > 1
    }
    return cases, sorted(twice, key=lambda fault: fault.text)


def _strange_files(folder: Path, jobs: list[CaseJob]) -> list[Fault]:
    expected = {folder / target for job in jobs for target in job.targets}
    folders = (IMAGES_TR, LABELS_TR, IMAGES_TS, LABELS_TS)
    there = [path for name in folders for path in visible_volumes(folder / name, FILE_ENDING)[0].values()]
    strange = [path for path in there if path not in expected]
    if not strange:
        return []
    return [
        Fault(
            f"{folder} exists and holds {len(strange)} file(s) that this source does not have, such as {strange[0]}. "
            f"Remove the folder, or choose another ID (-d)."
        )
    ]


def _lack_of_space(folder: Path, jobs: tuple[CaseJob, ...], options: Options) -> list[Fault]:
    missing = [job for job in jobs if not all((folder / target).exists() for target in job.targets)]
    needed = sum(
        job.headers.bytes_needed for job in missing if not (options.link and len(job.sources) == len(job.targets))
    )
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed <= free:
        return []
    return [
        Fault(
            f"{existing} has {free / _GIB:.1f} GiB free, and the dataset needs about {needed / _GIB:.1f}. Make room, "
            f"use another --raw, or --link."
        )
    ]


def _nothing_left(jobs: list[CaseJob], known: dict[str, ConvertedCase], faults: list[Fault]) -> Iterator[Fault]:
    training = [job for job in jobs if job.case.is_training]
    if not training and any(case.left_out for case in known.values()):
        yield Fault("no labelled case is left: no wanted class is in any. Ask for other classes.")
    elif not training and not faults:
        yield Fault("there is no labelled case to train on, only test cases. Is the training part missing?")
    elif training and not any(known[job.case.name].foreground for job in training):
        yield Fault("all label maps are empty: there is nothing to learn. Check that the right files are labels.")


def _clear(progress: Path) -> None:
    """Removes what was made aside, and the dataset's folder if nothing else is in it."""
    shutil.rmtree(progress, ignore_errors=True)
    if progress.parent.is_dir() and not any(progress.parent.iterdir()):
        progress.parent.rmdir()
