"""What a conversion will do, told from names and headers alone, with everything that they show to be amiss."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dataset_conversion.files import size_of
from dataset_conversion.headers import check_headers
from dataset_conversion.labels import values_in
from dataset_conversion.selection import Numbering, Selection, number_classes
from dataset_conversion.source import Case, Fault, LabelFile, Source
from dataset_conversion.staging import CaseJob
from dataset_conversion.target import require_place, strange_files
from sammoe_pipeline.errors import DatasetFaultsError, UsageError
from sammoe_pipeline.parallel import run_jobs
from sammoe_pipeline.paths import safe_name

SUBJECT = "The source cannot be converted"
DECODED_BYTES_A_WORKER = 20 * 2**20
"""Compressed bytes to decode, above which a process more is worth starting."""
_FILES_A_WORKER = 1000
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


def plan_conversion(source: Source, folder: Path, options: Options) -> Plan:
    """Checks all that can be told from names and headers.

    Raises:
        DatasetFaultsError: the source does not say what channels and classes it has, so nothing more can be checked.
        UsageError: an option does not fit the source, or the folder holds what must not be overwritten.
    """
    require_place(folder, source.cases)
    unnamed = any(label.meaning is None for case in source.cases for label in case.labels)
    if source.faults and not (source.channels and (source.classes or unnamed)):
        raise DatasetFaultsError(SUBJECT, [fault.text for fault in source.faults])
    source = _rename_channels(source, options.channels)
    cases, faults = _safe_cases(source)
    faults += source.faults
    if not any(case.labels for case in cases):
        faults.append(
            Fault("there is no case with a label map. Is this the right folder, and was it extracted completely?")
        )
    channels = len(source.channels)
    files = sum(len(case.images) + len(case.labels) for case in cases)
    headers = run_jobs(
        check_headers,
        [(case, channels) for case in cases],
        workers=worthwhile(files, _FILES_A_WORKER, options.workers),
        description="Checking headers",
    )
    faults += [Fault(text, case.name) for case, found in zip(cases, headers, strict=True) for text in found.faults]
    if unnamed:
        cases, classes, more = _name_values(cases, _faulty(faults), options.workers)
        source = replace(source, classes=(*source.classes, *classes))
        faults += more
    if not source.classes:
        faults.append(Fault("no label map has a value beside 0: there is nothing to learn. Are these the label maps?"))
        raise DatasetFaultsError(SUBJECT, [fault.text for fault in faults])
    numbering = _number(source, options.selection)
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
    faults += strange_files(folder, jobs)
    faulty = _faulty(faults)
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


def worthwhile(amount: int, each: int, workers: int) -> int:
    """Returns how many processes are worth starting, which takes longer than a little work does in this one.

    Args:
        amount: of work.
        each: that a process should have at least.
        workers: the most that there may be.

    Example:
        >>> worthwhile(2500, 1000, 8)
        2
    """
    return max(1, min(workers, amount // each))


def _faulty(faults: Sequence[Fault]) -> set[str]:
    """Returns the names of cases that have faults."""
    return {safe_name(fault.case) for fault in faults if fault.case is not None}


def _name_values(
    cases: Sequence[Case], faulty: set[str], workers: int
) -> tuple[list[Case], tuple[str, ...], list[Fault]]:
    """Looks up the values of label maps that nobody has named, and names classes after them.

    Returns:
        The cases with every value named, the classes, and the faults of files that could not be read.
    """
    files = [
        (case.name, label.path)
        for case in cases
        for label in case.labels
        if label.meaning is None and case.name not in faulty
    ]
    size = sum(size_of(path) for _, path in files)
    found = run_jobs(
        values_in,
        [path for _, path in files],
        workers=worthwhile(size, DECODED_BYTES_A_WORKER, workers),
        description="Finding label values",
        unit="file",
    )
    faults = [Fault(text, name) for (name, _), text in zip(files, found, strict=True) if isinstance(text, str)]
    values = sorted({value for listed in found if not isinstance(listed, str) for value in listed})
    meaning = {value: f"class_{value}" for value in values}

    def named(case: Case) -> Case:
        labels = (LabelFile(label.path, meaning if label.meaning is None else label.meaning) for label in case.labels)
        return replace(case, labels=tuple(labels))

    return [named(case) for case in cases], tuple(meaning.values()), faults


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
