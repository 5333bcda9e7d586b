"""Which classes share an expert, what the experts are called, and how long they train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from planning.kinship import has_side
from sammoe_pipeline.artefacts import ExpertTraining, Grouping, Task
from sammoe_pipeline.foundations import NATIVE
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.paths import LOCATOR, safe_name

SCALE_RATIO = 3
"""Classes of one task differ in thickness by at most this factor."""
VIEWS_PER_TARGET = 12
FEWEST_VIEWS, MOST_VIEWS = 400, 3000
FEWEST_ITERATIONS, MOST_ITERATIONS = 300, 1500


def shared_configuration(configuration_of: Mapping[str, str]) -> str:
    """Returns the configuration that most classes want; of several, the one that comes first."""
    counts = Counter(configuration_of.values())
    return counts.most_common(1)[0][0] if counts else NATIVE


def group_into_tasks(
    configuration_of: Mapping[str, str], thickness_mm: Mapping[str, float], dataset: str, grouping: Grouping
) -> tuple[Task, ...]:
    """Groups classes into tasks.

    Args:
        configuration_of: configuration of each class that needs an expert, in the dataset's order of classes.
        thickness_mm: of each class.
        dataset: folder name, such as `Dataset004_Hippocampus`.
        grouping: how many share an expert; only classes of one configuration can.
    """
    short = dataset.split("_", 1)[-1]
    tasks: list[Task] = []
    taken = {LOCATOR}
    for configuration in dict.fromkeys(configuration_of.values()):
        members = [name for name, of in configuration_of.items() if of == configuration]
        if grouping == "one_each":
            groups = [[name] for name in members]
        else:
            groups = [members] if grouping == "one" else _by_scale(members, thickness_mm)
        for group in groups:
            name = _unique(group[0] if len(group) == 1 else f"{short}_{configuration}", taken)
            tasks.append(Task(name=name, classes=tuple(group), configuration=configuration, start_from=GENERAL))
    return tuple(tasks)


def _by_scale(names: Sequence[str], thickness_mm: Mapping[str, float]) -> list[list[str]]:
    """Splits classes so that thicknesses within a group differ by at most `SCALE_RATIO`; keeps their order."""
    group_of: dict[str, int] = {}
    thinnest, group = 0.0, -1
    for name in sorted(names, key=lambda name: (thickness_mm[name], name)):
        if group < 0 or thickness_mm[name] > SCALE_RATIO * thinnest:
            group, thinnest = group + 1, thickness_mm[name]
        group_of[name] = group
    return [[name for name in names if group_of[name] == number] for number in range(group + 1)]


def _unique(words: str, taken: set[str]) -> str:
    """Makes a name that can be a folder's, and adds a number where another task has it, in any letter case."""
    base = safe_name(words)
    name, number = base, 2
    while name.lower() in taken:
        name, number = f"{base}_{number}", number + 1
    taken.add(name.lower())
    return name


def training_budget(tasks: Iterable[Task], train_cases: Mapping[str, int], classes: Iterable[str]) -> ExpertTraining:
    """Sets how long experts train, by the number of targets that the largest task has.

    Views are mirrored left to right only where no class has a side, and never along the other axes, which would turn a
    patient upside down or back to front.

    Args:
        tasks: to train.
        train_cases: by class, cases of one fold's `train` that have it.
        classes: names of all classes of the dataset.
    """
    targets = max((sum(train_cases[name] for name in task.classes) for task in tasks), default=0)
    views = min(max(VIEWS_PER_TARGET * targets, FEWEST_VIEWS), MOST_VIEWS)
    return ExpertTraining(
        views=views,
        # With 8 views a step each one is seen at least four times.
        iterations=min(max(views // 2, FEWEST_ITERATIONS), MOST_ITERATIONS),
        batch_size=8,
        learning_rate=1e-3,
        interactions=2,
        mirror_axes=() if any(has_side(name) for name in classes) else (0,),
    )
