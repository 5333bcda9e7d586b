"""Images of several channels whose files are numbered: `CASE_0000`, `CASE_0001`, ..."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from dataset_conversion.source import Case, Fault, LabelFile
from dataset_conversion.walking import alone

_NUMBERED = re.compile(r"(.+)_(\d{4})")


def group_channels(files: Mapping[str, Path]) -> tuple[dict[str, dict[int, Path]], list[Fault]]:
    """Groups files by case.

    Args:
        files: by name without ending.

    Returns:
        Files by channel, by case, and a fault for each file without a number.
    """
    groups: dict[str, dict[int, Path]] = {}
    faults = []
    for name, path in files.items():
        match = _NUMBERED.fullmatch(name)
        if match is None:
            faults.append(Fault(f"{path} does not end in a channel's number. Rename it to {name}_0000.", name))
        else:
            groups.setdefault(match[1], {})[int(match[2])] = path
    return groups, faults


def multichannel_cases(
    groups: Mapping[str, Mapping[int, Path]],
    labels: Mapping[str, Path],
    meaning: Mapping[int, str] | None,
    *,
    channels: int,
    test: bool,
) -> tuple[list[Case], list[Fault]]:
    """Pairs images with label maps of the same case.

    Args:
        groups: files by channel, by case.
        labels: by case.
        meaning: of the label maps.
        channels: that each case must have.
        test: the cases are test cases, which need no label map.

    Returns:
        The complete cases, and a fault for each other.
    """
    cases, faults = [], []
    for name, files in groups.items():
        if set(files) != set(range(channels)):
            there = ", ".join(path.name for _, path in sorted(files.items()))
            faults.append(
                Fault(f"case {name} has {there}; {channels} channel(s), counted from 0000, are needed.", name)
            )
        elif name not in labels and not test:
            faults.append(alone(name, image=files[0], label=None))
        else:
            images = tuple(files[channel] for channel in range(channels))
            label = (LabelFile(labels[name], meaning),) if name in labels else ()
            cases.append(Case(name=name, images=images, labels=label, test=test))
    faults += [alone(name, image=None, label=path) for name, path in labels.items() if name not in groups]
    return cases, faults
