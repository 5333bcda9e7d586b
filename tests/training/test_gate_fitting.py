from collections.abc import Sequence

import numpy as np
import pytest
import torch

from sammoe_pipeline.model.gate import Gate, GateDataset
from sammoe_pipeline.training.described_clicks import DescribedClicks
from sammoe_pipeline.training.gate_fitting import fit_gate
from sammoe_pipeline.training.gate_prompts import OFF_TASK

CHANNELS = 12
NAMES = ("liver", "spleen", "vessel")
DATASET = GateDataset(owners=(0, None, 1), configurations=(1,))


def _clicks(
    seed: int, *, names: Sequence[str] = NAMES, at: float = 0.0, cases: int = 10, times: int = 4, spread: float = 1.0
) -> DescribedClicks:
    """Clicks around a mean for each class in two configurations; native tells vessel and spleen apart only weakly.

    What no class names lies around two other means. Cases differ from each other.
    """
    means = np.random.default_rng(7).normal(size=(len(NAMES) + 2, 2, CHANNELS)) * 3
    means[2, 0] = means[1, 0] + 0.05
    rng = np.random.default_rng(seed)
    classes, of_case, descriptions = [], [], []
    for case in range(cases):
        patient = rng.normal(size=(2, CHANNELS))
        for _ in range(times):
            for place, name in enumerate((*NAMES, OFF_TASK, OFF_TASK)):
                if name in (*names, OFF_TASK):
                    classes.append(name)
                    of_case.append(f"case_{case}")
                    descriptions.append(means[place] + at + patient + spread * rng.normal(size=(2, CHANNELS)))
    return DescribedClicks(NAMES, tuple(classes), tuple(of_case), torch.tensor(np.array(descriptions)).float())


def _gate(*datasets: GateDataset) -> Gate:
    return Gate(channels=CHANNELS, expert_configurations=[1, 0], datasets=datasets or (DATASET,))


@pytest.fixture(scope="module")
def fitted() -> Gate:
    return fit_gate(_gate(), [_clicks(0)], seed=0)


def _chosen(gate: Gate, clicks: DescribedClicks) -> torch.Tensor:
    return gate.confidences(clicks.descriptions[:, None], range(len(gate.datasets))).argmax(dim=1)


def test_clicks_of_other_patients_reach_their_expert(fitted: Gate) -> None:
    clicks = _clicks(1)
    whose = {"liver": 1, "spleen": 0, "vessel": 2, OFF_TASK: 0}
    right = [int(found) == whose[name] for found, name in zip(_chosen(fitted, clicks), clicks.classes, strict=True)]
    assert np.mean(right) > 0.97


def test_own_configuration_tells_apart_what_native_cannot(fitted: Gate) -> None:
    clicks = _clicks(1)
    vessel = torch.tensor([name == "vessel" for name in clicks.classes])
    on_all = fitted.confidences(clicks.descriptions[:, None], [0])[vessel, 2]
    on_native = fitted.confidences(clicks.descriptions[:, None], [])[vessel, 2]
    assert (on_all > 0.5).float().mean() > 0.95 > (on_native > 0.5).float().mean()


def test_it_is_less_sure_where_patients_differ_more() -> None:
    gates = {spread: fit_gate(_gate(), [_clicks(0, spread=spread)], seed=0) for spread in (1.0, 6.0)}
    sure = [gate.confidences(_clicks(1, spread=spread).descriptions[:, None], [0]) for spread, gate in gates.items()]
    assert sure[0].amax(dim=1).mean() > sure[1].amax(dim=1).mean() + 0.1


def test_confidence_is_how_often_it_is_right() -> None:
    gate = fit_gate(_gate(), [_clicks(0, spread=5.0, cases=20)], seed=0)
    clicks = _clicks(1, spread=5.0, cases=40)
    own = torch.tensor([{"liver": 1, "vessel": 2}.get(name, 0) for name in clicks.classes])
    confidences = gate.confidences(clicks.descriptions[:, None], [0])
    right = confidences.argmax(dim=1) == own
    assert float(confidences.amax(dim=1).mean()) == pytest.approx(float(right.float().mean()), abs=0.06)


def test_images_unlike_all_datasets_are_the_general_experts(fitted: Gate) -> None:
    assert (_chosen(fitted, _clicks(1, at=8.0)) == 0).float().mean() > 0.99


def test_native_tells_datasets_apart_and_each_keeps_its_experts() -> None:
    other = GateDataset(owners=(None, None, 2), configurations=(1,))
    gate = Gate(channels=CHANNELS, expert_configurations=[1, 0, 1], datasets=(DATASET, other))
    fit_gate(gate, [_clicks(0), _clicks(2, at=4.0)], seed=0)
    for seed, at, vessel in ((1, 0.0, 2), (3, 4.0, 3)):
        clicks = _clicks(seed, at=at)
        found = [int(of) for of, name in zip(_chosen(gate, clicks), clicks.classes, strict=True) if name == "vessel"]
        assert np.mean(np.array(found) == vessel) > 0.9


def test_class_without_clicks_gets_no_confidence() -> None:
    gate = fit_gate(_gate(), [_clicks(0, names=("liver", "spleen"))], seed=0)
    assert (gate.confidences(_clicks(1).descriptions[:, None], [0])[:, 2] == 0).all()


def test_dataset_without_clicks_gets_no_confidence() -> None:
    gate = fit_gate(_gate(DATASET, DATASET), [_clicks(0), _clicks(0).of([])], seed=0)
    assert gate.shares(_clicks(1).descriptions[:, None, 0])[:, 1].max() == 0
    assert gate.confidences(_clicks(1).descriptions[:, None], [0, 1]).isfinite().all()


def test_single_case_is_enough_to_fit() -> None:
    gate = fit_gate(_gate(), [_clicks(0, cases=1, times=2)], seed=0)
    assert gate.confidences(_clicks(1).descriptions[:, None], [0]).isfinite().all()


def test_fit_is_repeated_by_its_seed() -> None:
    first, second = (fit_gate(_gate(), [_clicks(0)], seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_clicks_are_chosen_by_case() -> None:
    clicks = _clicks(0).of({"case_3", "case_5"})
    assert set(clicks.cases) == {"case_3", "case_5"} and len(clicks.classes) == len(clicks.descriptions) == 40
