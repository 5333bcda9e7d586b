"""Experts and mixtures told in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sammoe_pipeline.artefacts import Configuration, Provenance, thresholds_in_words
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.packages.inventory import Expert, InstalledMixture, users_of
from sammoe_pipeline.packages.manifest import ClassScore, PackageManifest, Scores, manifest_of
from sammoe_pipeline.packages.scores import scores_of_expert, scores_of_mixture
from sammoe_pipeline.paths import EXPERT_JSON, MIXTURE_JSON, Results

_SHOWN_CLASSES = 4


def list_in_words(experts: Sequence[Expert], mixtures: Sequence[InstalledMixture], places: Results) -> str:
    """Returns a block of lines for each expert and each mixture."""
    return "\n".join([*(_expert_lines(one, places) for one in experts), *(_mixture_lines(m, places) for m in mixtures)])


def _expert_lines(expert: Expert, places: Results) -> str:
    card = expert.cards[0]
    general = _mean(value for one in expert.cards for value in one.general_calibration_dice.values())
    own = _mean(value for one in expert.cards for value in one.calibration_dice.values())
    return _block(
        f"{expert.key} (expert)",
        classes=shortened(card.classes),
        configuration=configuration_words(card.configuration),
        folds=" ".join(map(str, expert.folds)),
        dice=f"{general} -> {own} on calibration cases, general expert -> expert",
        weights=megabytes(path for path, _ in expert.weights(places)),
    )


def _mean(values: Iterable[float]) -> str:
    found = list(values)
    return dice_words(sum(found) / len(found)) if found else "-"


def _mixture_lines(mixture: InstalledMixture, places: Results) -> str:
    card = mixture.card
    return _block(
        f"{mixture.folder.name} (mixture)",
        experts=", ".join(f"{expert.dataset}/{expert.task}" for expert in card.experts) or "none",
        folds=" ".join(map(str, card.folds)),
        thresholds=thresholds_in_words(card.thresholds),
        weights=megabytes(path for path, _ in mixture.weights(places)),
    )


def expert_in_words(expert: Expert, places: Results) -> str:
    """Returns what an expert was trained on, how it does, which weights it has and how they were made."""
    first = expert.cards[0]
    start = "the general expert" if first.start_from == GENERAL else first.start_from
    paths = [places.expert_fold(card.dataset, card.task, card.fold) / EXPERT_JSON for card in expert.cards]
    lines = {
        "foundation": f"{first.foundation}, SHA-256 {first.foundation_sha256}",
        "trained on": f"{first.dataset}, starting from {start}",
        "configuration": configuration_words(first.configuration),
        "used by": ", ".join(f"mixture {name}" for name in users_of(expert.folder, places)) or "no mixture",
        "origin": origin_words(manifest_of(path.parent, path, places) for path in paths),
        "made by": "; ".join(dict.fromkeys(provenance_words(card.provenance) for card in expert.cards)),
    }
    for card in expert.cards:
        kept = f"iteration {card.best_iteration} of {card.iterations} kept, {card.seconds:.0f} s"
        lines[f"fold {card.fold}"] = f"SHA-256 {card.sha256}, {kept}"
    return "\n".join([_block(f"{expert.key} (expert)", **lines), scores_in_words(scores_of_expert(expert, places))])


def mixture_in_words(mixture: InstalledMixture, places: Results) -> str:
    """Returns what a mixture joins, how it does, which weights it has and how its gate was made."""
    card = mixture.card
    manifest = manifest_of(mixture.folder, mixture.folder / MIXTURE_JSON, places)
    lines = {
        "foundation": f"{card.foundation}, SHA-256 {card.foundation_sha256}",
        "datasets": ", ".join(member.dataset for member in card.datasets),
        "experts": ", ".join(f"{expert.dataset}/{expert.task}" for expert in card.experts) or "none",
        "thresholds": thresholds_in_words(card.thresholds),
        "origin": origin_words([manifest]),
        "made by": provenance_words(card.provenance),
    }
    weights = {path.relative_to(places.folder).as_posix(): sha256 for path, sha256 in mixture.weights(places)}
    blocks = [_block(f"{mixture.folder.name} (mixture)", **lines), scores_in_words(scores_of_mixture(mixture, places))]
    return "\n".join([*blocks, _block("SHA-256 of weights:", **weights)] if weights else blocks)


def scores_in_words(scores: Scores) -> str:
    """Returns a line a class, and what the numbers were measured on."""
    prompt = f"{scores.clicks} click{'s'[: scores.clicks != 1]}" if scores.clicks else "the locator's prompt"
    lines = {f"{score.dataset}/{score.class_name}": _score_words(score) for score in scores.classes}
    return _block(f"Dice on {scores.scored_on}, {prompt}:", **lines)


def _score_words(score: ClassScore) -> str:
    told = [f"{method} {dice_words(dice)}" for method, dice in score.dice.items()]
    if score.cases is not None:
        told.append(f"{score.cases} cases")
    return ", ".join(told) or "not scored"


def dice_words(dice: float) -> str:
    """Returns a Dice with three digits."""
    return f"{dice:.3f}"


def configuration_words(configuration: Configuration) -> str:
    """Returns how images are seen."""
    channel = f", channel {configuration.channel}" if configuration.channel else ""
    return f"{configuration.name}: {configuration.spacing_mm:g} mm, {configuration.patch_size} voxels a side{channel}"


def provenance_words(made: Provenance) -> str:
    """Returns how something came to be."""
    versions = ", ".join(f"{package} {version}" for package, version in made.versions.items())
    commit = f", commit {made.commit[:12]}" if made.commit else ""
    return f"{versions}{commit}, seed {made.seed}, on {made.device} with {made.threads} threads"


def origin_words(manifests: Iterable[PackageManifest | None]) -> str:
    """Returns where parts come from: trained here, or packages with their licences."""
    found = dict.fromkeys(
        f"installed from a package, licence {manifest.licence}" if manifest else "trained here"
        for manifest in manifests
    )
    return "; ".join(found)


def shortened(names: Sequence[str]) -> str:
    """Returns the first few names, and how many there are beside them."""
    more = f" and {len(names) - _SHOWN_CLASSES} more" if len(names) > _SHOWN_CLASSES else ""
    return ", ".join(names[:_SHOWN_CLASSES]) + more


def megabytes(paths: Iterable[Path]) -> str:
    """Returns the size of the files that are there."""
    return f"{sum(path.stat().st_size for path in paths if path.is_file()) / 1e6:.1f} MB"


def _block(title: str, **lines: str) -> str:
    width = max((len(name) for name in lines), default=0)
    return f"{title}\n" + "".join(f"  {name:<{width}}  {text}\n" for name, text in lines.items())
