"""A package's content under another name: numbers of datasets are everyone's own, so names may be taken."""

from __future__ import annotations

from pathlib import PurePosixPath

from sammoe_pipeline.artefacts import MixtureCard
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.packages.contents import name_in_package, place_of
from sammoe_pipeline.packages.manifest import PackageManifest, Scores
from sammoe_pipeline.packages.received import Received
from sammoe_pipeline.paths import LOCATOR, Results, is_dataset_folder, safe_name


def renamed(received: Received, name: str, places: Results) -> Received:
    """Returns a package's content under another name, in cards, scores and paths alike. Weights stay as they are.

    Args:
        received: a checked package.
        name: `DatasetXXX_Name/task` for an expert, a word for a mixture. Experts and locators of a mixture keep theirs.
        places: where its parts would lie.

    Raises:
        UsageError: the name is not fit to be that of folders.
    """
    dataset, _, task = name.partition("/")
    if received.manifest.kind == "expert":
        if not is_dataset_folder(dataset) or task != safe_name(task) or task == LOCATOR:
            raise UsageError(
                f"--as {name!r}: an expert is called DatasetXXX_Name/task, such as Dataset104_Mine/lesion."
            )
        changes = {"dataset": dataset, "task": task}
        cards = {path: card.model_copy(update=changes) for path, card in received.cards.items()}
    else:
        if name != safe_name(name):
            raise UsageError(f"--as {name!r}: a name has letters, digits, '_' and '-' only, such as {safe_name(name)}.")
        cards = {
            path: card.model_copy(update={"name": name}) if isinstance(card, MixtureCard) else card
            for path, card in received.cards.items()
        }
    moved = {path: name_in_package(place_of(card, places), places) for path, card in cards.items()}
    return Received.of(
        received.manifest.model_copy(update={"name": name, "scores": _renamed_scores(received.manifest, name)}),
        {moved[path]: card for path, card in cards.items()},
        {_beside(path, moved): file for path, file in received.weights.items()},
    )


def _beside(path: str, moved: dict[str, str]) -> str:
    """Returns where a file goes whose card, in its folder or in the one above, goes elsewhere."""
    folders = {PurePosixPath(old).parent: PurePosixPath(new).parent for old, new in moved.items()}
    old = PurePosixPath(path)
    folder = next(folder for folder in old.parents if folder in folders)
    return str(folders[folder] / old.relative_to(folder))


def _renamed_scores(manifest: PackageManifest, name: str) -> Scores:
    if manifest.kind == "mixture":
        return manifest.scores
    changes = {"dataset": name.partition("/")[0], "expert": name}
    classes = tuple(score.model_copy(update=changes) for score in manifest.scores.classes)
    return manifest.scores.model_copy(update={"classes": classes})
