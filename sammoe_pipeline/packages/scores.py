"""How well experts and mixtures did: on held-out cases where there was an evaluation, else on calibration cases."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from sammoe_pipeline.artefacts import MixtureCard
from sammoe_pipeline.evaluation.comparison import ClassRow
from sammoe_pipeline.evaluation.summary import EvaluationSummary
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.packages.inventory import Expert, InstalledMixture, list_experts, list_mixtures
from sammoe_pipeline.packages.manifest import ClassScore, Scores, manifest_of
from sammoe_pipeline.paths import EVALUATION, EXPERT_JSON, MIXTURE_JSON, SUMMARY_JSON, Results


def scores_of_expert(expert: Expert, places: Results) -> Scores:
    """Returns the scores of an expert's classes.

    Held-out scores are those of a mixture with just these weights that was evaluated here, or else where the expert was
    installed from. Calibration scores are means over folds.
    """
    card = expert.cards[0]
    classes = [(card.dataset, name, expert.key) for name in card.classes]
    weights = set(expert.weights(places))
    for mixture in list_mixtures(places):
        if {pair for pair in mixture.weights(places) if expert.folder in pair[0].parents} == weights:
            found = _evaluated(mixture, classes)
            if found is not None:
                return found
    for own in expert.cards:
        path = places.expert_fold(own.dataset, own.task, own.fold) / EXPERT_JSON
        if manifest := manifest_of(path.parent, path, places):
            of_expert = tuple(score for score in manifest.scores.classes if score.expert == expert.key)
            return manifest.scores.model_copy(update={"classes": of_expert})
    return Scores(
        scored_on=_judged_on([expert]),
        clicks=1,
        classes=tuple(
            ClassScore(dataset=dataset, class_name=name, expert=key, dice=_calibration_dice(expert, name), cases=None)
            for dataset, name, key in classes
        ),
    )


def scores_of_mixture(mixture: InstalledMixture, places: Results) -> Scores:
    """Returns the scores of a mixture's classes; without an evaluation, calibration scores of its experts."""
    classes = [
        (member.dataset, name, member.experts.get(name))
        for member in mixture.card.datasets
        for name in member.configurations
    ]
    if found := _evaluated(mixture, classes):
        return found
    if manifest := manifest_of(mixture.folder, mixture.folder / MIXTURE_JSON, places):
        return manifest.scores
    experts = {expert.key: expert for expert in list_experts(places)}
    return Scores(
        scored_on=_judged_on([experts[key] for _, _, key in classes if key in experts]),
        clicks=1,
        classes=tuple(
            ClassScore(
                dataset=dataset,
                class_name=name,
                expert=key,
                dice=_calibration_dice(experts[key], name) if key in experts else {},
                cases=None,
            )
            for dataset, name, key in classes
        ),
    )


def _judged_on(experts: Sequence[Expert]) -> Literal["calibration cases", "calibration or training cases"]:
    every = all(card.judged_on == "calibration" for expert in experts for card in expert.cards)
    return "calibration cases" if every else "calibration or training cases"


def _calibration_dice(expert: Expert, class_name: str) -> dict[str, float]:
    by_method = {
        "general": [card.general_calibration_dice.get(class_name) for card in expert.cards],
        "expert": [card.calibration_dice.get(class_name) for card in expert.cards],
    }
    found = {method: [dice for dice in folds if dice is not None] for method, folds in by_method.items()}
    return {method: fmean(folds) for method, folds in found.items() if folds}


def _evaluated(mixture: InstalledMixture, classes: Sequence[tuple[str, str, str | None]]) -> Scores | None:
    """Returns held-out scores of classes, or None where the mixture was not evaluated as it now is."""
    path = mixture.folder / EVALUATION / SUMMARY_JSON
    if not path.is_file():
        return None
    summary = EvaluationSummary.load(path)
    # The summary names no gate. One that is older than the mixture's card is of a gate that was fitted again since.
    newer = path.stat().st_mtime >= (mixture.folder / MIXTURE_JSON).stat().st_mtime
    if not newer or not _is_about(summary, mixture.card):
        return None
    table = summary.tables[0]
    rows = {(row.dataset, row.class_name): row for row in table.rows}
    return Scores(
        scored_on="held-out cases",
        clicks=table.clicks,
        classes=tuple(_held_out(rows.get((dataset, name)), dataset, name, key) for dataset, name, key in classes),
    )


def _is_about(summary: EvaluationSummary, card: MixtureCard) -> bool:
    return (summary.experts, summary.foundation_sha256, summary.thresholds) == (
        tuple(expert_key(expert.dataset, expert.task) for expert in card.experts),
        card.foundation_sha256,
        card.thresholds,
    )


def _held_out(row: ClassRow | None, dataset: str, name: str, expert: str | None) -> ClassScore:
    return ClassScore(
        dataset=dataset,
        class_name=name,
        expert=expert,
        dice={str(method): dice for method, dice in row.scored.dice.items() if not method.startswith("oracle")}
        if row
        else {},
        cases=row.cases if row else None,
    )
