"""Judging any tool's label maps: which files belong together, whether they fit, how well they agree."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sammoe_pipeline.artefacts import provenance
from sammoe_pipeline.errors import ArtefactError, DatasetFaultsError, UsageError, did_you_mean
from sammoe_pipeline.evaluation.judgement import Judgement, Scores, Tool, summarise, write_cases
from sammoe_pipeline.evaluation.label_maps import CaseJob, Classes, score_case, voxel_edge
from sammoe_pipeline.image_io import FILE_ENDINGS, file_ending
from sammoe_pipeline.parallel import run_jobs
from sammoe_pipeline.paths import CASES_CSV, PATIENTS_JSON, SUMMARY_JSON
from sammoe_pipeline.raw_dataset import read_patients
from sammoe_pipeline.verify import CaseFiles, find_faults

logger = logging.getLogger(__name__)

_SEED = 0
"""Of the bootstrap."""


def judge(
    predictions: Sequence[Path],
    references: Path,
    *,
    output: Path,
    labels: Path | None,
    tolerance_mm: float | None,
    class_tolerances_mm: Mapping[str, float],
    workers: int,
    patients: Path | None = None,
) -> Judgement:
    """Scores the label maps of one or more folders against references, and writes what it found.

    A prediction belongs to the reference whose name it has; their formats may differ. References without a prediction
    are counted and named, and are in no mean of that folder; folders are compared on the cases that both have.

    Args:
        predictions: folders, the first of which the others are compared with.
        references: folder.
        output: folder for `summary.json` and `cases.csv`.
        labels: a `dataset.json` with the classes, regions and the ignored value; by default every value above 0 is a
            class.
        tolerance_mm: of surface Dice; by default the edge of a cube as large as a voxel, median over references.
        class_tolerances_mm: of single classes, in place of `tolerance_mm`.
        workers: processes; each holds two label maps at a time.
        patients: a `patients.json`; by default that beside the folder of references, as in a raw dataset. A case that
            it does not name is a patient of its own.

    Raises:
        UsageError: folders are missing, empty or named twice, no names match, or a tolerance names no class.
        ArtefactError: `labels` or `patients` is missing or no JSON.
        DatasetFaultsError: files are broken, off their reference's grid, or have values that `labels` does not name.
            All faults are named, those of headers before any voxel is read.
    """
    folders = _tool_names(predictions)
    _require_own_folder(output, (*predictions, references))
    classes = Classes() if labels is None else Classes.read(labels)
    if classes.values is not None:
        _require_known(class_tolerances_mm, classes.values)
    truths = _label_maps(references)
    maps = {tool: _label_maps(folder) for tool, folder in folders.items()}
    files = {
        case: {tool: found[case] for tool, found in maps.items() if case in found}
        for case in truths
        if any(case in found for found in maps.values())
    }
    if not files:
        some = next(iter(maps[next(iter(maps))]))
        raise UsageError(
            f"No label map in {', '.join(map(str, predictions))} has the name of one in {references} (there is "
            f"'{some}', and '{next(iter(truths))}'). Name predictions like their references."
        )
    patient_of = _patients(patients, references, list(files))
    _require_same_grids(references, {case: (truths[case], *found.values()) for case, found in files.items()})
    usual_mm = voxel_edge([truths[case] for case in files]) if tolerance_mm is None else tolerance_mm
    scores = _score(
        [CaseJob(truths[case], found, classes, usual_mm, class_tolerances_mm) for case, found in files.items()],
        cases=list(files),
        tools=list(folders),
        workers=workers,
    )
    found = classes.values or _classes_in(scores)
    if not found:
        raise UsageError(f"All label maps in {references} and of the predictions are empty. Nothing can be judged.")
    _require_known(class_tolerances_mm, found)
    judgement = summarise(
        scores,
        classes=found,
        tolerances_mm={name: class_tolerances_mm.get(name, usual_mm) for name in found},
        tools={
            tool: Tool(
                folder=str(folder),
                missing=tuple(case for case in truths if case not in maps[tool]),
                without_reference=tuple(case for case in maps[tool] if case not in truths),
            )
            for tool, folder in folders.items()
        },
        references=str(references),
        patients=patient_of,
        provenance=provenance(seed=_SEED, device="cpu", threads=1),
    )
    write_cases(output / CASES_CSV, scores, list(found))
    judgement.save(output / SUMMARY_JSON)
    logger.info("Wrote %s and %s", output / SUMMARY_JSON, output / CASES_CSV)
    return judgement


def _tool_names(folders: Sequence[Path]) -> dict[str, Path]:
    """Returns what each folder is called: its own name, or its path as it was given where names are alike."""
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError(f"--predictions {' '.join(map(str, folders))}: a folder is named twice.")
    names = [folder.resolve().name for folder in folders]
    return dict(zip(names if len(set(names)) == len(names) else map(str, folders), folders, strict=True))


def _patients(given: Path | None, references: Path, cases: Sequence[str]) -> dict[str, str]:
    """Returns the patient of each case."""
    if given is not None and not given.is_file():
        raise ArtefactError(f"--patients {given}: there is no such file.")
    path = references.resolve().parent / PATIENTS_JSON if given is None else given
    if path.is_file():
        logger.info("Cases of one patient, which intervals and tests take together, are those of %s", path)
    return read_patients(path, cases)


def _require_own_folder(output: Path, folders: Iterable[Path]) -> None:
    for folder in folders:
        if output.resolve() == folder.resolve():
            raise UsageError(f"-o {output}: label maps lie there. Give a folder of its own, so that nothing mixes.")


def _require_known(tolerances_mm: Mapping[str, float], classes: Mapping[str, tuple[int, ...]]) -> None:
    for name, tolerance_mm in tolerances_mm.items():
        if name not in classes:
            raise UsageError(
                f"--tolerance {name}={tolerance_mm:g}: there is no class '{name}'.{did_you_mean(name, classes)} "
                f"There are: {', '.join(classes)}."
            )


def _label_maps(folder: Path) -> dict[str, Path]:
    """Returns the volumes of a folder by name without ending, leaving out names that archives leave behind."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. Give folders of label maps to --predictions and --references.")
    maps: dict[str, Path] = {}
    faults = []
    for path in sorted(folder.iterdir()):
        ending = file_ending(path)
        if ending is None or path.name.startswith((".", "_")):
            continue
        name = path.name[: -len(ending)]
        if name in maps:
            faults.append(f"{path} and {maps[name].name} are of one case. Remove one of them.")
        maps[name] = path
    if faults:
        raise DatasetFaultsError(str(folder), faults)
    if not maps:
        raise UsageError(f"{folder} holds no label map, which ends in {', '.join(FILE_ENDINGS)}. Give another folder.")
    return maps


def _require_same_grids(references: Path, files: Mapping[str, tuple[Path, ...]]) -> None:
    """Compares headers; the first file of each case is what the others must fit."""
    cases = [CaseFiles(name=case, images=paths, label=None) for case, paths in files.items()]
    faults = find_faults(cases, channels=1, label_values=(), workers=1, label_voxels=False, image_voxels=False)
    if faults:
        raise DatasetFaultsError(f"Predictions do not fit the references in {references}", faults)


def _score(jobs: Sequence[CaseJob], *, cases: Sequence[str], tools: Sequence[str], workers: int) -> Scores:
    results = run_jobs(score_case, jobs, workers=workers, description="Judging")
    if faults := [fault for result in results for fault in result.faults]:
        raise DatasetFaultsError("Label maps cannot be judged", faults)
    return {
        tool: {case: result.scores[tool] for case, result in zip(cases, results, strict=True) if tool in result.scores}
        for tool in tools
    }


def _classes_in(scores: Scores) -> dict[str, tuple[int, ...]]:
    """Returns every value that occurs as a class of its own."""
    values = {int(name) for cases in scores.values() for classes in cases.values() for name in classes}
    return {str(value): (value,) for value in sorted(values)}
