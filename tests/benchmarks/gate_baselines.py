"""Who answers: the gate beside simpler and richer rules, on clicks in the cases that each fold holds out.

    python -m tests.benchmarks.gate_baselines --home HOME -m within --rows rows.pkl --out result.json

Of a finished mixture in `--home`, every class of every case is clicked on `--clicks` times, once with the decoders of
the fold that holds the case out, once with those of the fold that calibrates on it. Every decoder answers every click.
What any rule would have chosen, and what that is worth, is then known without another answer, so `--rows` is all that
takes long. Rules that give a confidence get the threshold as `sammoe_train_gate` sets it.

Teaching clicks are those of `sammoe_train_gate`. Structures that are not seen are measured by taking each class of the
general expert in turn from the teaching: "unnamed" leaves as many clicks on it as clicks beside the classes would have
hit, as clicks on what nobody names; "never" leaves none.
"""

from __future__ import annotations

import argparse
import json
import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from sammoe_pipeline.foundations import Foundation, find_foundation
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.prompt_description import describe, gate_configurations, new_gate
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.inference.segment import Answer
from sammoe_pipeline.model import decoder_with
from sammoe_pipeline.model.gate import Gate
from sammoe_pipeline.paths import Folders, find_dataset
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_dataset import read_raw_dataset
from sammoe_pipeline.threads import side_by_side
from sammoe_pipeline.training.described_clicks import DescribedClicks, describe_clicks
from sammoe_pipeline.training.gate_fitting import fit_gate
from sammoe_pipeline.training.gate_prompts import OFF_TASK, GatePrompt, Member, prompts_in
from sammoe_pipeline.training.thresholds import THRESHOLDS

SEED = 1000
WORTHWHILE = 0.05
MAX_LOSS = 0.1

Confidences = NDArray[np.float64]


@dataclass
class Row:
    """A click, how it is described, and what every answer to it is worth.

    Attributes:
        dataset: index in the mixture.
        held_out: by the fold whose decoders answered; else it calibrates.
        expert: index of the expert whose class it is, or -1.
        description: (K, F) in all configurations of the mixture.
        place: (K, 3), of the click in its windows, in voxels.
        dice: of the general decoder and each expert.
        sure: their masks' soft Dice with their own probabilities.
        joined: Dice of joined answers, by how they are joined.
    """

    fold: int
    held_out: bool
    dataset: int
    case: str
    class_key: str
    expert: int
    description: Tensor
    place: Tensor
    dice: NDArray[np.float64]
    sure: NDArray[np.float64]
    joined: dict[str, float]


def main() -> None:
    """Collects rows where there are none, and compares the rules."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("-m", default="default")
    parser.add_argument("--clicks", type=int, default=3)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("-device", choices=("cuda", "cpu"), default="cpu")
    arguments = parser.parse_args()
    home = arguments.home
    folders = Folders(home / "sammoe_raw", home / "sammoe_preprocessed", home / "sammoe_results")
    foundation = find_foundation(None, folders.results)
    bench = Bench(arguments.m, folders, foundation, arguments.device, arguments.clicks)
    if not arguments.rows.is_file():
        arguments.rows.write_bytes(pickle.dumps(bench.rows()))
    result = compare(bench, pickle.loads(arguments.rows.read_bytes()))
    print(as_table(result))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


class Bench:
    """A mixture, its datasets and what its gates were taught with."""

    def __init__(self, name: str, folders: Folders, foundation: Foundation, device: str, clicks: int) -> None:
        self.foundation, self.device, self.clicks = foundation, device, clicks
        self.load: Callable[[int], Mixture] = lambda fold: Mixture.load(
            name, foundation=foundation, results=folders.results, device=device, folds=[fold]
        )
        self.mixture = self.load(0)
        card = self.mixture.card
        assert card is not None
        self.card = card
        self.keys = [expert_key(one.dataset, one.task) for one in card.experts]
        self.configurations, _ = gate_configurations(foundation, card.experts)
        self.members = []
        for one in card.datasets:
            planned = PlannedDataset.load(folders, one.dataset, foundation)
            served = {name: self.keys.index(key) for name, key in one.experts.items()}
            raw = read_raw_dataset(folders.raw / find_dataset(folders.raw, one.dataset))
            self.members.append(Member(planned=planned, raw=raw, experts=served))

    @property
    def threshold(self) -> float:
        """The lowest of the mixture's datasets."""
        return min(self.card.thresholds.values())

    def gate(self) -> Gate:
        """Returns a gate that is not fitted."""
        return new_gate(self.foundation, self.mixture.model, self.card.datasets, self.card.experts)

    def taught(self, fold: int) -> list[DescribedClicks]:
        """Returns the clicks that the gate of a fold was taught with, a dataset each."""
        found = []
        for member, told in zip(self.members, self.gate().datasets, strict=True):
            own = fold % member.planned.num_folds
            configurations = [self.configurations[index] for index in told.everything]
            seed = self.card.provenance.seed
            clicks = describe_clicks(
                member, [own], configurations, self.mixture.model, self.foundation, seed, self.device
            )
            found.append(clicks)
        return found

    def rows(self) -> list[Row]:
        """Clicks on every case and lets every decoder answer."""
        rows: list[Row] = []
        for fold in self.card.folds:
            mixture = self.load(fold)
            jobs = []
            for index, member in enumerate(self.members):
                if fold >= member.planned.num_folds:
                    continue
                split = member.planned.fold(fold)
                jobs += [(index, case, True) for case in split.val] + [
                    (index, case, False) for case in split.calibration
                ]

            def of_case(job: tuple[int, str, bool], fold: int = fold, mixture: Mixture = mixture) -> list[Row]:
                index, case, held_out = job
                prompts = prompts_in(
                    case,
                    self.members[index],
                    model=mixture.model,
                    foundation=self.foundation,
                    seed=SEED,
                    clicks=self.clicks,
                    off_task=max(2, len(self.members[index].planned.description.labels) // 4) * self.clicks
                    if held_out
                    else 0,
                )
                return [self._row(prompt, mixture, fold, index, held_out) for prompt in prompts]

            bar = tqdm(side_by_side(of_case, jobs), desc=f"Fold {fold}", total=len(jobs), unit="case")
            rows += [row for of in bar for row in of]
        return rows

    def _row(self, prompt: GatePrompt, mixture: Mixture, fold: int, dataset: int, held_out: bool) -> Row:
        description = describe(prompt.case, [prompt.click], self.configurations)[0]
        places = []
        for configuration in self.configurations:
            at = np.array(prompt.case.image.click_in_configuration(prompt.click, configuration).position)
            places.append(at - np.array(prompt.case.at(configuration).window_around(tuple(at))))
        clicks = [prompt.click]
        dice, sure, joined = np.full(1 + len(self.keys), np.nan), np.full(1 + len(self.keys), np.nan), {}
        if prompt.class_name != OFF_TASK:
            answers = [prompt.case.answer(clicks, self.foundation.native)]
            answers += [mixture.expert_answer(prompt.case, clicks, key) for key in self.keys]
            dice = np.array([prompt.dice_of(answer.mask()) for answer in answers])
            sure = np.array([soft_dice(answer) for answer in answers])
            full = [answer.full() for answer in answers]
            mean = torch.stack(full).mean(dim=0)
            joined["mean of all logits"] = prompt.dice_of((mean > 0).numpy())
            chances = torch.stack([one.sigmoid() for one in full]).mean(dim=0)
            joined["mean of all probabilities"] = prompt.dice_of((chances > 0.5).numpy())
            averaged = prompt.case.answer(clicks, self.foundation.native, [mean_decoder(mixture)])
            joined["one decoder of mean weights"] = prompt.dice_of(averaged.mask())
            gate = mixture.gates[0].confidences(description[None, None], range(len(self.members)))[0, 1:]
            weight, best = gate.topk(min(2, len(gate)))
            weight = (weight / weight.sum()).tolist()
            pair = [full[1 + index] for index in best.tolist()]
            by_logits = sum(w * one for w, one in zip(weight, pair, strict=True))
            by_chances = sum(w * one.sigmoid() for w, one in zip(weight, pair, strict=True))
            assert isinstance(by_logits, Tensor) and isinstance(by_chances, Tensor)
            joined["two likeliest experts, logits"] = prompt.dice_of((by_logits > 0).numpy())
            joined["two likeliest experts, probabilities"] = prompt.dice_of((by_chances > 0.5).numpy())
        return Row(
            fold=fold,
            held_out=held_out,
            dataset=dataset,
            case=prompt.labelled.name,
            class_key=OFF_TASK if prompt.class_name == OFF_TASK else prompt.class_key,
            expert=-1 if prompt.expert is None else prompt.expert,
            description=description.float().cpu(),
            place=torch.tensor(np.array(places)).float(),
            dice=dice,
            sure=sure,
            joined=joined,
        )


def soft_dice(answer: Answer) -> float:
    """Returns how sure an answer is: the soft Dice of its mask with its own probabilities."""
    chances = answer.full().sigmoid()
    mask = chances > 0.5
    return float(2 * chances[mask].sum() / (chances.sum() + mask.sum()).clamp(min=1e-6))


def mean_decoder(mixture: Mixture) -> nn.Module:
    """Returns a decoder whose weights are the mean of the general decoder's and all experts'."""
    decoders = [mixture.model.mask_decoder, *(folds[0] for folds in mixture.decoders.values())]
    states = [decoder.state_dict() for decoder in decoders]
    # The general decoder has no second look: there the mean is over the experts.
    names = {name for state in states for name in state}
    means = {name: torch.stack([state[name] for state in states if name in state]).mean(dim=0) for name in names}
    return decoder_with(mixture.model, means)


Rule = Callable[[int, Sequence[Row]], Confidences]
"""Confidences (N, 1 + E) of the general decoder and the experts, for rows of a fold."""


def rules(bench: Bench, rows: Sequence[Row], taught: dict[int, list[DescribedClicks]]) -> dict[str, Rule]:
    """Returns the rules that give confidences, by name."""
    experts = len(bench.keys)
    everything = tuple(range(len(bench.configurations)))

    def stacked(some: Sequence[Row]) -> Tensor:
        return torch.stack([row.description for row in some])

    def closed_form(fold: int, some: Sequence[Row]) -> Confidences:
        gate = fit_gate(bench.gate(), taught[fold], seed=0)
        return numpy(gate.confidences(stacked(some)[:, None], range(len(bench.members))))

    def closed_form_native(fold: int, some: Sequence[Row]) -> Confidences:
        return numpy(fit_gate(bench.gate(), taught[fold], seed=0).confidences(stacked(some)[:, None], []))

    def told(
        some: Sequence[Row], fold: int, view: Sequence[int]
    ) -> tuple[Tensor, NDArray[np.int64], list[str], Tensor]:
        """Teaching descriptions and decoders and classes, and those to be judged; for a single dataset."""
        (clicks,) = taught[fold]
        (member,) = bench.members
        owner = np.array([1 + member.experts.get(name, -1) for name in clicks.classes])
        seen, judged = clicks.descriptions[:, list(view)].flatten(1), stacked(some)[:, list(view)].flatten(1)
        mean, deviation = seen.mean(dim=0), seen.std(dim=0).clamp(min=1e-4)
        return (seen - mean) / deviation, owner, list(clicks.classes), (judged - mean) / deviation

    def network(by_class: bool, view: Sequence[int]) -> Rule:
        def rule(fold: int, some: Sequence[Row]) -> Confidences:
            seen, owner, classes, judged = told(some, fold, view)
            names = sorted(set(classes)) if by_class else list(range(1 + experts))
            target = torch.tensor([names.index(one) for one in (classes if by_class else owner)])
            chances = trained_softmax(seen, target, len(names), judged)
            of = dict(zip(classes, owner, strict=True))
            owners = [of[name] if by_class else name for name in names]
            return summed(chances, owners, 1 + experts)

        return rule

    def prototypes(view: Sequence[int]) -> Rule:
        def rule(fold: int, some: Sequence[Row]) -> Confidences:
            seen, owner, classes, judged = told(some, fold, view)
            names = sorted(set(classes))
            means = torch.stack([seen[[c == name for c in classes]].mean(dim=0) for name in names])
            distances = torch.cdist(judged, means).square()
            of = dict(zip(classes, owner, strict=True))
            return summed(
                numpy((-distances / distances.mean() * 10).softmax(dim=1)), [of[n] for n in names], 1 + experts
            )

        return rule

    def neighbours(fold: int, some: Sequence[Row]) -> Confidences:
        seen, owner, _, judged = told(some, fold, everything)
        nearest = torch.cdist(judged, seen).topk(9, largest=False).indices
        votes = torch.nn.functional.one_hot(torch.from_numpy(owner)[nearest], 1 + experts).double().mean(dim=1)
        return numpy(votes)

    def by_performance(fold: int, some: Sequence[Row]) -> Confidences:
        """Taught which decoder had the best Dice on the calibration clicks: the experts were trained on the others."""
        measured = [row for row in rows if not row.held_out and row.fold == fold]
        seen = stacked(measured).flatten(1)
        mean, deviation = seen.mean(dim=0), seen.std(dim=0).clamp(min=1e-4)
        target = torch.tensor([int(row.dice.argmax()) for row in measured])
        judged = (stacked(some).flatten(1) - mean) / deviation
        return trained_softmax((seen - mean) / deviation, target, 1 + experts, judged)

    def placebo(fold: int, some: Sequence[Row]) -> Confidences:
        """Taught and judged by where in their windows clicks lie; on other clicks of the cases that it is judged on."""
        others = [row for row in rows if row.held_out and row.fold != fold]
        seen, judged = (torch.stack([row.place for row in of]).flatten(1) / 48 for of in (others, some))
        return trained_softmax(seen, torch.tensor([1 + row.expert for row in others]), 1 + experts, judged)

    def surest(fold: int, some: Sequence[Row]) -> Confidences:
        found = np.zeros((len(some), 1 + experts))
        for index, row in enumerate(some):
            found[index, int(np.nan_to_num(row.sure, nan=-1).argmax())] = 1
        return found

    found = {
        "gate": closed_form,
        "gate, native alone": closed_form_native,
        "surest answer (soft Dice)": surest,
        "placebo: place in the window": placebo,
    }
    if len(bench.members) == 1:
        found |= {
            "softmax network, by task": network(False, everything),
            "softmax network, by task, native alone": network(False, (0,)),
            "softmax network, by class": network(True, everything),
            "nearest prototype": prototypes(everything),
            "nearest prototype, native alone": prototypes((0,)),
            "nine nearest clicks": neighbours,
            "network, by measured Dice": by_performance,
        }
    return found


def trained_softmax(seen: Tensor, target: Tensor, outputs: int, judged: Tensor) -> Confidences:
    """Returns what a network of one hidden layer says, trained with noise and each output counting the same."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(seen.shape[1], 48), nn.GELU(), nn.Linear(48, outputs))
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 400)
    counts = torch.bincount(target, minlength=outputs).float()
    weight = counts.sum() / (counts.clamp(min=1) * outputs)
    with torch.inference_mode(False), torch.enable_grad():
        for _ in range(400):
            noisy = seen + 0.3 * torch.randn_like(seen)
            loss = nn.functional.cross_entropy(network(noisy), target, weight=weight, label_smoothing=0.02)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        return numpy(network(judged).softmax(dim=1))


def numpy(values: Tensor) -> Confidences:
    """Returns an array of doubles."""
    return np.asarray(values.detach().double().numpy())


def summed(chances: Confidences, owners: Sequence[int], number: int) -> Confidences:
    """Sums the chances (N, C) of classes by who answers them."""
    found = np.zeros((len(chances), number))
    for column, owner in enumerate(owners):
        found[:, owner] += chances[:, column]
    return found


def compare(bench: Bench, rows: Sequence[Row]) -> dict[str, Any]:
    """Returns what every rule is worth on held-out cases, and what the gate does with what it was not taught."""
    taught = {fold: bench.taught(fold) for fold in bench.card.folds}
    held_out = [row for row in rows if row.held_out and row.class_key != OFF_TASK]
    table: dict[str, Any] = {}
    for name, rule in rules(bench, rows, taught).items():
        began = time.perf_counter()
        judged = Judged.by(rule, rows, bench.card.folds)
        table[name] = judged.worth() | {"seconds": round(time.perf_counter() - began, 2)}
    rng = np.random.default_rng(0)
    random = [int(rng.integers(1 + len(bench.keys))) for _ in held_out]
    fixed = {
        "general alone": [0] * len(held_out),
        "anyone, at random": random,
        "oracle by task": [1 + row.expert for row in held_out],
        "oracle by prompt": [int(row.dice.argmax()) for row in held_out],
    }
    for name, chosen in fixed.items():
        table[name] = worth(held_out, chosen, [row.dice[who] for row, who in zip(held_out, chosen, strict=True)])
    for name in held_out[0].joined:
        dice = [row.joined[name] if row.expert >= 0 or "two" not in name else row.dice[0] for row in held_out]
        table[name] = worth(held_out, None, dice)
    return {
        "foundation_sha256": bench.foundation.card.sha256,
        "mixture": bench.card.name,
        "experts": bench.keys,
        "cases": len({(row.dataset, row.case) for row in held_out}),
        "prompts": len(held_out),
        "rules": table,
        "unseen": unseen(bench, rows, taught),
    }


@dataclass
class Judged:
    """Held-out rows and what a rule chose for each, at the threshold that calibration rows set."""

    rows: list[Row]
    chosen: list[int]
    threshold: float

    @classmethod
    def by(cls, rule: Rule, rows: Sequence[Row], folds: Sequence[int]) -> Judged:
        """Applies a rule, with the best threshold of the calibration rows among those that cost little."""
        confidences: dict[bool, list[tuple[Row, NDArray[np.float64]]]] = {True: [], False: []}
        for fold in folds:
            for held_out in (True, False):
                some = [row for row in rows if row.fold == fold and row.held_out == held_out]
                confidences[held_out] += list(zip(some, rule(fold, some), strict=True) if some else [])
        best, best_dice = THRESHOLDS[-1], -1.0
        calibration = [row for row, _ in confidences[False]]
        for threshold in THRESHOLDS:
            chosen = [choice(values, threshold) for _, values in confidences[False]]
            found = worth(calibration, chosen, [row.dice[who] for row, who in zip(calibration, chosen, strict=True)])
            if found["general_loss"] <= MAX_LOSS and found["mean_dice"] > best_dice:
                best, best_dice = threshold, found["mean_dice"]
        chosen = [choice(values, best) for _, values in confidences[True]]
        return cls([row for row, _ in confidences[True]], chosen, best)

    def worth(self) -> dict[str, Any]:
        """Returns what the choices are worth, and how many clicks beside the classes the general expert got."""
        pairs = list(zip(self.rows, self.chosen, strict=True))
        named = [(row, who) for row, who in pairs if row.class_key != OFF_TASK]
        beside = [who == 0 for row, who in pairs if row.class_key == OFF_TASK]
        rows, chosen = [row for row, _ in named], [who for _, who in named]
        found = worth(rows, chosen, [row.dice[who] for row, who in named])
        return found | {"threshold": self.threshold, "beside_fall_back": percent(np.mean(beside))}


def choice(confidences: NDArray[np.float64], threshold: float) -> int:
    """Returns the likeliest expert from the threshold on, else 0."""
    best = int(confidences[1:].argmax())
    return 1 + best if confidences[1 + best] >= threshold else 0


def worth(rows: Sequence[Row], chosen: Sequence[int] | None, dice: Sequence[float]) -> dict[str, Any]:
    """Returns Dice, means over the classes of means over clicks, and how many clicks went where they belong."""
    by_class: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    general_classes = {row.class_key for row in rows if row.expert < 0}
    for row, found in zip(rows, dice, strict=True):
        by_class[row.class_key].append((found, float(row.dice[0]), float(row.dice[1 + row.expert])))
    means = {name: np.mean(of, axis=0) for name, of in by_class.items()}
    served = [of for name, of in means.items() if name not in general_classes and of[2] - of[1] > 0.01]
    losses = {name: 100 * (of[1] - of[0]) for name, of in means.items() if name in general_classes}
    result: dict[str, Any] = {
        "mean_dice": percent(np.mean([of[0] for of in means.values()])),
        "recovered": percent(sum(of[0] - of[1] for of in served) / sum(of[2] - of[1] for of in served)),
        "general_loss": round(float(np.mean(list(losses.values()))), 2) if losses else 0.0,
        "worst_general_loss": round(max(losses.values()), 2) if losses else 0.0,
    }
    if chosen is not None:
        pairs = list(zip(rows, chosen, strict=True))
        own = [who == 1 + row.expert for row, who in pairs if row.expert >= 0]
        gaining = [
            who == 1 + row.expert
            for row, who in pairs
            if row.expert >= 0 and row.dice[1 + row.expert] - row.dice[0] > WORTHWHILE
        ]
        general = [who == 0 for row, who in pairs if row.expert < 0]
        result |= {
            "right_expert": percent(np.mean(own)),
            "right_expert_where_it_gains": percent(np.mean(gaining)),
            "general_kept": percent(np.mean(general)) if general else 100.0,
        }
    return result


def percent(share: Any) -> float:
    """Returns per cent, rounded."""
    return round(100 * float(share), 1)


def unseen(bench: Bench, rows: Sequence[Row], taught: dict[int, list[DescribedClicks]]) -> dict[str, Any]:
    """Returns which share of clicks on structures that the gate was not taught falls back to the general expert."""
    found: dict[str, Any] = {"threshold": bench.threshold}
    for how in ("unnamed", "never"):
        share: dict[str, float] = {}
        for index, member in enumerate(bench.members):
            for name in member.planned.description.labels:
                if name in member.experts:
                    continue
                kept: list[bool] = []
                for fold in bench.card.folds:
                    some = [r for r in rows if r.held_out and r.fold == fold and r.class_key == member.name_of(name)]
                    if not some:
                        continue
                    clicks = list(taught[fold])
                    clicks[index] = hidden(clicks[index], name, hits(bench, member, name) if how == "unnamed" else 0.0)
                    gate = fit_gate(bench.gate(), clicks, seed=0)
                    judged = gate.confidences(
                        torch.stack([row.description for row in some])[:, None], range(len(bench.members))
                    )
                    kept += [choice(values, bench.threshold) == 0 for values in numpy(judged)]
                if kept:
                    share[member.name_of(name)] = percent(np.mean(kept))
        found[how] = {"mean": round(float(np.mean(list(share.values()))), 1) if share else None, "by_class": share}
    return found


def hits(bench: Bench, member: Member, name: str) -> float:
    """Returns how many voxels of a class there are for each without a label that is not dark; 1 at most."""
    from sammoe_pipeline.image_io import read_volume

    own = nothing = 0
    for case in member.raw.training_cases[:10]:
        image, labels = read_volume(case.images[0]).data, read_volume(member.planned.paths.ground_truth(case.name)).data
        own += int(np.isin(labels, member.planned.description.labels[name]).sum())
        nothing += int(((labels == 0) & (image > np.percentile(image, 25))).sum())
    return min(1.0, own / max(1, nothing))


def hidden(clicks: DescribedClicks, name: str, hit: float) -> DescribedClicks:
    """Returns the clicks with those on a class taken for ones on nothing, as many of them as would have hit it."""
    beside = sum(one == OFF_TASK for one in clicks.classes)
    left = round(beside * hit)
    kept, classes = [], []
    for index, one in enumerate(clicks.classes):
        if one == name:
            if left <= 0:
                continue
            left -= 1
        kept.append(index)
        classes.append(OFF_TASK if one == name else one)
    cases = tuple(clicks.cases[index] for index in kept)
    return DescribedClicks(clicks.names, tuple(classes), cases, clicks.descriptions[kept])


def as_table(result: dict[str, Any]) -> str:
    """Returns the comparison as Markdown."""
    columns = {
        "recovered": "Gain recovered, %",
        "right_expert_where_it_gains": "Right expert, where it gains, %",
        "general_kept": "General kept, %",
        "general_loss": "General loss",
        "worst_general_loss": "Worst",
        "mean_dice": "Dice, all classes",
        "threshold": "Threshold",
    }
    lines = ["| Rule | " + " | ".join(columns.values()) + " |", "| --- |" + " ---: |" * len(columns)]
    for name, row in result["rules"].items():
        lines.append(f"| {name} | " + " | ".join(str(row.get(key, "-")) for key in columns) + " |")
    lines += [f"\nUnseen, {how}: {result['unseen'][how]}" for how in ("unnamed", "never")]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
