"""Which classes share an expert, what the experts are called, and how long they train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from planning.kinship import has_side
from sammoe_pipeline.artefacts import Budget, Grouping, Task, Training
from sammoe_pipeline.foundations import NATIVE
from sammoe_pipeline.inference.routing import GENERAL
from sammoe_pipeline.paths import LOCATOR, safe_name

SCALE_RATIO = 3
"""Classes of one task differ in thickness by at most this factor."""
VIEWS_PER_TARGET = 10
MASK_PROMPTS = 0.25
"""An expert that answers its training views well sees few errors to be corrected; coarse masks bring some. On the
hippocampus, held-out Dice at five clicks is 85.2 with them and 83.3 or 84.8 without; at one, 84.2 and 83.9 or 84.9."""
LOCATOR_VIEWS_PER_CASE = 20
LOCATOR_VIEWS_PER_CLASS = 16
"""On the mouse brain, 37 classes and 12 cases, the views of its cases alone let 76 % of the locator's clicks hit their
class; these, with a second look, 96 %, and half as many again do no better."""
FEWEST_VIEWS, FEWEST_LOCATOR_VIEWS, MOST_VIEWS = 240, 320, 3000
ITERATIONS_PER_VIEW = 1.25
"""With four views a step, each view is seen five times."""
LEARNING_RATE = 1e-3
INTERACTIONS = 2


def shared_configuration(configuration_of: Mapping[str, str]) -> str:
    """Returns the configuration that most classes want; of several, the one that comes first."""
    counts = Counter(configuration_of.values())
    return counts.most_common(1)[0][0] if counts else NATIVE


def group_into_tasks(
    configuration_of: Mapping[str, str],
    thickness_mm: Mapping[str, float],
    train_cases: Mapping[str, int],
    dataset: str,
    grouping: Grouping,
    effort: float,
) -> tuple[Task, ...]:
    """Groups classes into tasks.

    Args:
        configuration_of: configuration of each class that needs an expert, in the dataset's order of classes.
        thickness_mm: of each class.
        train_cases: by class, cases of one fold's `train` that have it.
        dataset: folder name, such as `Dataset004_Hippocampus`.
        grouping: how many share an expert; only classes of one configuration can.
        effort: how long experts train, as a share of what is usual.
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
            tasks.append(
                Task(
                    name=name,
                    classes=tuple(group),
                    configuration=configuration,
                    start_from=GENERAL,
                    budget=task_budget(sum(train_cases[member] for member in group), effort),
                )
            )
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


def task_budget(targets: int, effort: float) -> Budget:
    """Sets how long an expert trains.

    Args:
        targets: pairs of a class of the task and a case of one fold's `train` that has it.
        effort: share of what is usual.
    """
    return _budget(VIEWS_PER_TARGET * targets, FEWEST_VIEWS, effort)


def locator_budget(cases: int, classes: int, effort: float) -> Budget:
    """Sets how long a locator trains, which learns all classes of a window at once.

    Args:
        cases: of one fold's `train`.
        classes: that it looks for.
        effort: share of what is usual.
    """
    wanted = max(LOCATOR_VIEWS_PER_CASE * cases, LOCATOR_VIEWS_PER_CLASS * classes)
    return _budget(wanted, FEWEST_LOCATOR_VIEWS, effort)


def _budget(wanted: int, fewest: int, effort: float) -> Budget:
    views = max(1, round(effort * min(max(wanted, fewest), MOST_VIEWS)))
    return Budget(views=views, iterations=round(ITERATIONS_PER_VIEW * views))


def training_settings(classes: Iterable[str], batch_size: int, *, has_detail: bool) -> Training:
    """Returns what all experts of a dataset have in common.

    Views are mirrored left to right only where no class has a side, and never along the other axes, which would turn a
    patient upside down or back to front.

    Args:
        classes: names of all classes of the dataset.
        batch_size: views a step.
        has_detail: whether the foundation's embedding has detail, so that experts can look a second time.
    """
    return Training(
        batch_size=batch_size,
        learning_rate=LEARNING_RATE,
        interactions=INTERACTIONS,
        mirror_axes=() if any(has_side(name) for name in classes) else (0,),
        mask_prompts=MASK_PROMPTS,
        second_look=has_detail,
    )
