"""Which experts, locators and output values a mixture is made of."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from sammoe_pipeline.artefacts import (
    ExpertCard,
    LabelEntry,
    LocatorCard,
    MixtureDataset,
    MixtureExpert,
    sha256_of,
)
from sammoe_pipeline.errors import ArtefactError, UsageError, did_you_mean
from sammoe_pipeline.foundations import Foundation, check_hash
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.packages.inventory import Expert, list_experts
from sammoe_pipeline.paths import (
    EXPERT_JSON,
    EXPERT_WEIGHTS,
    LOCATOR_JSON,
    LOCATOR_WEIGHTS,
    PLAN_JSON,
    Folders,
    Results,
)
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.training.thresholds import NEVER

logger = logging.getLogger(__name__)

_UNFROZEN = ": what --unfreeze trained has an encoder of its own, and a mixture shares the frozen one"


def finished_datasets(folders: Folders, foundation: Foundation, folds: Sequence[int] | None) -> list[str]:
    """Lists planned datasets whose experts and locators are finished in some folds; the others are named in the log.

    A dataset that the general expert serves alone needs nothing finished.

    Args:
        folders: the three roots.
        foundation: what they were planned for.
        folds: mixture folds; by default all folds of each dataset.

    Raises:
        ArtefactError: there is none.
    """
    places = Results(root=folders.results, foundation=foundation.card.name)
    ready: list[str] = []
    waiting: list[str] = []
    for plan in sorted(folders.preprocessed.glob(f"*/{foundation.card.name}/{PLAN_JSON}")):
        planned = PlannedDataset.load(folders, plan.parent.parent.name, foundation)
        own = sorted({planned.serving(fold) for fold in (folds or range(planned.num_folds))})
        needed = [
            places.expert_fold(planned.name, task.name, fold) / EXPERT_JSON
            for task in planned.plan.tasks
            for fold in own
        ]
        if planned.plan.tasks:
            needed += [places.locator_fold(planned.name, fold) / LOCATOR_JSON for fold in own]
        (ready if all(card.is_file() for card in needed) else waiting).append(planned.name)
    for name in waiting:
        logger.warning(
            "%s is left out: its experts or locator are not finished (sammoe_train_expert -d %s)", name, name[7:10]
        )
    if not ready:
        raise ArtefactError(
            f"{folders.preprocessed} has no dataset whose experts for '{foundation.card.name}' are finished"
            + (f" in folds {', '.join(map(str, folds))}" if folds else " in all folds")
            + ". Run sammoe_plan_and_preprocess and sammoe_train_expert, or choose finished folds with -f."
        )
    return ready


def choose_experts(planned: Sequence[PlannedDataset], experts: Collection[str]) -> list[PlannedDataset]:
    """Returns datasets with a choice of their experts; classes of the others are left to the general one.

    Args:
        planned: the mixture's datasets.
        experts: `DatasetXXX_Name/task` of each, of these datasets or serving classes of theirs.

    Raises:
        UsageError: an expert serves none of the datasets.
    """
    known = sorted({key for dataset in planned for key in dataset.experts.values()})
    for key in experts:
        if key not in known:
            raise UsageError(
                f"--experts {key}: no plan of {', '.join(dataset.name for dataset in planned)} has this expert."
                f"{did_you_mean(key, known)} Their experts are: {', '.join(known) or 'none'}."
            )
    return [dataset.with_experts(experts) for dataset in planned]


def collect_members(
    planned: Sequence[PlannedDataset], folds: Sequence[int], places: Results
) -> tuple[tuple[MixtureExpert, ...], tuple[MixtureDataset, ...]]:
    """Gathers experts and locators; those that are not finished are all named at once.

    An expert of another dataset that serves a member's class joins as its own card describes it, so that an expert that
    was shared needs neither its dataset nor its plan.

    Args:
        planned: the mixture's datasets.
        folds: mixture folds.
        places: where experts and locators lie.

    Returns:
        Experts and datasets, in the order in which the gate knows them.

    Raises:
        ArtefactError: some are not finished, or belong to another plan than there is now.
    """
    missing: list[str] = []
    experts = [expert for dataset in planned for expert in _own_experts(dataset, folds, places, missing)]
    datasets = [_member(dataset, folds, places, missing) for dataset in planned]
    if missing:
        raise ArtefactError(
            "Not finished:\n"
            + "\n".join(f"  - {entry}" for entry in sorted(set(missing)))
            + "\nRun sammoe_train_expert for them, or choose finished folds with -f, or datasets with -d."
        )
    own = {expert_key(expert.dataset, expert.task) for expert in experts}
    return (*experts, *_foreign_experts(planned, own, folds, places)), tuple(datasets)


def _own_experts(
    dataset: PlannedDataset, folds: Sequence[int], places: Results, missing: list[str]
) -> Iterator[MixtureExpert]:
    """Yields the experts that were trained on a dataset; what is not finished is added to `missing`."""
    serving = {fold: dataset.serving(fold) for fold in folds}
    for task in dataset.plan.tasks:
        hashes = {}
        for fold, own in serving.items():
            folder = places.expert_fold(dataset.name, task.name, own)
            if not (folder / EXPERT_JSON).is_file():
                unfrozen = any(folder.parent.glob(f"unfrozen_*/{folder.name}/{EXPERT_JSON}"))
                missing.append(f"{expert_key(dataset.name, task.name)}, fold {own}" + unfrozen * _UNFROZEN)
                continue
            card = ExpertCard.load(folder / EXPERT_JSON)
            if card.unfrozen != "nothing":
                raise ArtefactError(f"{folder / EXPERT_JSON}{_UNFROZEN}. Run sammoe_train_expert without it.")
            _require_recipe(card.recipe, dataset.recipe(own, task), folder / EXPERT_JSON)
            check_hash(folder / EXPERT_WEIGHTS, card.sha256)
            hashes[str(fold)] = card.sha256
        yield MixtureExpert(
            dataset=dataset.name,
            task=task.name,
            classes=task.classes,
            configuration=dataset.plan.configurations[task.configuration],
            sha256=hashes,
            expert_fold={str(fold): own for fold, own in serving.items()},
            threshold=NEVER,
        )


def _member(dataset: PlannedDataset, folds: Sequence[int], places: Results, missing: list[str]) -> MixtureDataset:
    """Returns a dataset as the mixture knows it, with its locators; those not finished are added to `missing`."""
    plan, serving = dataset.plan, {fold: dataset.serving(fold) for fold in folds}
    found: dict[int, LocatorCard] = {}
    for fold, own in serving.items():
        folder = places.locator_fold(dataset.name, own)
        if (folder / LOCATOR_JSON).is_file():
            card = LocatorCard.load(folder / LOCATOR_JSON)
            _require_recipe(card.recipe, dataset.recipe(own), folder / LOCATOR_JSON)
            check_hash(folder / LOCATOR_WEIGHTS, card.sha256)
            found[fold] = card
        elif plan.tasks:
            missing.append(f"locator of {dataset.name}, fold {own}")
    peaks: dict[str, list[float]] = defaultdict(list)
    for card in found.values():
        for class_name, peak in card.thresholds.items():
            peaks[class_name].append(peak)
    return MixtureDataset(
        dataset=dataset.name,
        num_folds=dataset.num_folds,
        held_out_folds=tuple(fold for fold in folds if fold < dataset.num_folds),
        configurations={c: dataset.configuration_of(c) for c in dataset.description.labels},
        values=dataset.description.output_values,
        nested=dataset.description.nested,
        targets={c: plan.classes[c].target for c in dataset.description.labels},
        experts=dataset.experts,
        locator_configuration=plan.configurations[plan.locator_configuration],
        thresholds={class_name: float(np.mean(values)) for class_name, values in peaks.items()},
        locator_longest_mm=max((card.longest_mm for card in found.values()), default=None),
        locator_sha256={str(fold): card.sha256 for fold, card in found.items()},
        locator_fold={str(fold): own for fold, own in serving.items()},
    )


def _foreign_experts(
    planned: Sequence[PlannedDataset], joined: Collection[str], folds: Sequence[int], places: Results
) -> list[MixtureExpert]:
    """Returns the experts of datasets outside the mixture that serve classes of its members, from their own cards.

    Raises:
        ArtefactError: one of them is not there any more.
    """
    wanted = {key: dataset.name for dataset in planned for key in dataset.experts.values() if key not in joined}
    known = {expert.key: expert for expert in list_experts(places)} if wanted else {}
    if absent := sorted(wanted.keys() - known.keys()):
        raise ArtefactError(
            "Not there:\n"
            + "\n".join(f"  - {key}, which serves classes of {wanted[key]}" for key in absent)
            + "\nTrain them or install them again (sammoe_experts install), or plan without them (--replan)."
        )
    return [_foreign_expert(known[key], folds, places) for key in sorted(wanted)]


def _foreign_expert(expert: Expert, folds: Sequence[int], places: Results) -> MixtureExpert:
    for weights, sha256 in expert.weights(places):
        check_hash(weights, sha256)
    serving = {str(fold): expert.cards[fold % len(expert.cards)] for fold in folds}
    card = expert.cards[0]
    return MixtureExpert(
        dataset=card.dataset,
        task=card.task,
        classes=card.classes,
        configuration=card.configuration,
        sha256={fold: own.sha256 for fold, own in serving.items()},
        expert_fold={fold: own.fold for fold, own in serving.items()},
        threshold=NEVER,
    )


def _require_recipe(found: str, wanted: str, path: Path) -> None:
    if found != wanted:
        raise ArtefactError(
            f"{path} was trained by another plan, split or foundation than there is now. Run sammoe_train_expert again."
        )


def output_labels(planned: Sequence[PlannedDataset], path: Path) -> tuple[LabelEntry, ...]:
    """Returns the table of output values: what an earlier version of the mixture gave out stays, new classes follow."""
    return labels_of({dataset.name: dataset.description.class_order for dataset in planned}, path)


def labels_of(classes: Mapping[str, Sequence[str]], path: Path) -> tuple[LabelEntry, ...]:
    """Returns the table of output values.

    Args:
        classes: of each dataset, in the order in which they are given values.
        path: of the mixture's card; what an earlier mixture of that name gave out stays, in whatever form its card is.

    Raises:
        ArtefactError: the table that was given out cannot be read.
    """
    entries = _labels_given_out(path) if path.is_file() else []
    known = {(entry.dataset, entry.name) for entry in entries}
    for dataset, names in classes.items():
        for name in names:
            if (dataset, name) not in known:
                entries.append(LabelEntry(value=len(entries) + 1, dataset=dataset, name=name))
    return tuple(entries)


def _labels_given_out(path: Path) -> list[LabelEntry]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))["labels"]
        return [LabelEntry.model_validate_json(json.dumps(entry)) for entry in table]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{path}: the table of output values cannot be read ({error}), so classes might be given other values than "
            f"before. Put back the file that was there, or remove it to begin a new table."
        ) from error


def weight_hashes(experts: Iterable[MixtureExpert], foundation: Foundation, places: Results) -> dict[str, str]:
    """Returns the SHA-256 of the foundation's weights and of every expert's, by path."""
    files = [foundation.weights]
    for expert in experts:
        files += [
            places.expert_fold(expert.dataset, expert.task, fold) / EXPERT_WEIGHTS
            for fold in sorted(set(expert.expert_fold.values()))
        ]
    return {str(path): sha256_of(path) for path in files}
