"""How many patients a gate needs to tell the structures of one volume apart.

    sammoe_convert_dataset phantom_torso -d 901 --num_cases 80 --seed 31337
    sammoe_plan_and_preprocess -d 901
    python -m tests.benchmarks.gate_patients --home HOME -d 901 --clicks clicks --out result.json

Phantoms, since nobody has as many scans as it takes to see where more patients stop telling more. Gates are fitted to
draws of few and of many of them, for the experts that the plan asks for, which need not be trained: a gate reads frozen
embeddings alone. All gates are asked about the same patients, who taught none of them. An expert's click is reached
where that expert is the surest, and surer than all but one in a hundred clicks on the general expert's classes make any
expert. Once a draw's patients are clicked on as often as the pipeline does, and once as often as the fewest patients
are all together, which tells what more patients bring from what more clicks do.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sammoe_pipeline.foundations import NATIVE, find_foundation
from sammoe_pipeline.inference.prompt_description import describe
from sammoe_pipeline.model.gate import Gate, GateDataset
from sammoe_pipeline.paths import PREPROCESSED, RAW, RESULTS, Folders
from sammoe_pipeline.planned_dataset import PlannedDataset
from sammoe_pipeline.raw_dataset import read_raw_dataset
from sammoe_pipeline.training.described_clicks import DescribedClicks, clicks_by_class, clicks_off_task
from sammoe_pipeline.training.gate_fitting import fit_gate
from sammoe_pipeline.training.gate_prompts import OFF_TASK, Member, prompts_in

NUMBERS = (6, 12, 24, 48)
DRAWS = 4
HELD_OUT = 24
MISROUTED = 0.01


def main() -> None:
    """Measures gates of each number of patients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, metavar="DIR", help="holds the three folders")
    parser.add_argument("-d", required=True, metavar="ID", help="a planned dataset of many cases")
    parser.add_argument(
        "--clicks", type=Path, required=True, metavar="DIR", help="keeps described clicks, a file a case"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    arguments = parser.parse_args()
    folders = Folders(arguments.home / RAW, arguments.home / PREPROCESSED, arguments.home / RESULTS)
    foundation = find_foundation(None, folders.results)
    planned = PlannedDataset.load(folders, arguments.d, foundation)
    clicks = described(planned, folders, arguments.clicks)
    cases = sorted(set(clicks.cases))
    teaching, asked = cases[:-HELD_OUT], clicks.of(cases[-HELD_OUT:])
    rng = np.random.default_rng(0)
    fewest = NUMBERS[0]
    rows: list[dict[str, Any]] = []
    for number in NUMBERS:
        for _ in range(DRAWS):
            drawn = clicks.of([str(case) for case in rng.choice(teaching, number, replace=False)])
            for thinned in (False, True) if number > fewest else (False,):
                taught = thin(drawn, fewest / number, rng) if thinned else drawn
                gate = fit_gate(gate_of(planned, clicks), [taught], seed=0)
                rows.append({"patients": number, "thinned": thinned, "clicks": len(taught.classes)})
                rows[-1] |= reached(gate, asked, planned)
                print(rows[-1], flush=True)
    result = {"foundation_sha256": foundation.card.sha256, "held_out": HELD_OUT, "draws": DRAWS, "gates": summed(rows)}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def described(planned: PlannedDataset, folders: Folders, kept: Path) -> DescribedClicks:
    """Clicks on all cases as often as the pipeline does, and describes the clicks of those that are not kept yet."""
    foundation = find_foundation(planned.plan.foundation, folders.results)
    model = foundation.load_model("cpu")
    member = Member(planned, read_raw_dataset(folders.raw / planned.name), experts={})
    clicks = clicks_by_class(planned)
    configurations = [foundation.native, *(planned.plan.configurations[name] for name in own_configurations(planned))]
    kept.mkdir(exist_ok=True)
    classes: list[str] = []
    cases: list[str] = []
    descriptions: list[Tensor] = []
    for case in tqdm(sorted(case.name for case in member.raw.training_cases), unit="case"):
        path = kept / f"{case}.pt"
        if not path.is_file():
            prompts = prompts_in(
                case,
                member,
                model=model,
                foundation=foundation,
                seed=0,
                clicks=clicks,
                off_task=clicks_off_task(clicks),
            )
            seen = describe(prompts[0].case, [p.click for p in prompts], configurations, for_answers=False)
            torch.save({"classes": [p.class_name for p in prompts], "descriptions": seen.float()}, path)
        held = torch.load(path, weights_only=True)
        classes += held["classes"]
        cases += [case] * len(held["classes"])
        descriptions.append(held["descriptions"])
    names = tuple(planned.description.labels)
    return DescribedClicks(names, tuple(classes), tuple(cases), torch.cat(descriptions))


def own_configurations(planned: PlannedDataset) -> list[str]:
    """Returns the configurations of the plan's experts, without native."""
    return list(dict.fromkeys(task.configuration for task in planned.plan.tasks if task.configuration != NATIVE))


def owners(planned: PlannedDataset) -> list[int | None]:
    """Returns for each class which of the plan's experts answers it."""
    serving = {name: index for index, task in enumerate(planned.plan.tasks) for name in task.classes}
    return [serving.get(name) for name in planned.description.labels]


def gate_of(planned: PlannedDataset, clicks: DescribedClicks) -> Gate:
    """Builds the gate of a mixture of this dataset alone."""
    known = [NATIVE, *own_configurations(planned)]
    places = [known.index(task.configuration) for task in planned.plan.tasks]
    dataset = GateDataset(owners=tuple(owners(planned)), configurations=tuple(range(1, len(known))))
    return Gate(channels=clicks.descriptions.shape[2], expert_configurations=places, datasets=[dataset])


def thin(clicks: DescribedClicks, share: float, rng: np.random.Generator) -> DescribedClicks:
    """Keeps a share of the clicks on each class."""
    kept: list[int] = []
    for name in sorted(set(clicks.classes)):
        of_class = [index for index, other in enumerate(clicks.classes) if other == name]
        kept += rng.choice(of_class, max(1, round(share * len(of_class))), replace=False).tolist()
    return clicks.at(sorted(kept))


def reached(gate: Gate, asked: DescribedClicks, planned: PlannedDataset) -> dict[str, float]:
    """Returns the share of experts' clicks that reach them, the mean over classes and the worst, in per cent."""
    with torch.inference_mode():
        confidences = gate.confidences(asked.descriptions[:, None], [0])[:, 1:]
    sure, likeliest = confidences.max(dim=1)
    classes = np.array(asked.classes)
    serving = dict(zip(asked.names, owners(planned), strict=True))
    general = np.array([name != OFF_TASK and serving[name] is None for name in classes])
    threshold = float(np.quantile(sure[torch.from_numpy(general)].numpy(), 1 - MISROUTED))
    answering = np.where(sure.numpy() > threshold, likeliest.numpy(), -1)
    shares = {
        name: 100 * float((answering[classes == name] == owner).mean())
        for name, owner in serving.items()
        if owner is not None
    }
    worst = min(shares, key=lambda name: shares[name])
    return {"reached": statistics.fmean(shares.values()), **{f"reached {name}": s for name, s in shares.items()}} | {
        "worst": shares[worst],
        "off task misrouted": 100 * float((answering[classes == OFF_TASK] >= 0).mean()),
    }


def summed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns means over draws, and of the mean over classes the least and the most."""
    found = []
    for patients, thinned in dict.fromkeys((row["patients"], row["thinned"]) for row in rows):
        draws = [row for row in rows if (row["patients"], row["thinned"]) == (patients, thinned)]
        means = {key: round(statistics.fmean(row[key] for row in draws), 1) for key in draws[0] if key != "thinned"}
        span = [round(pick(row["reached"] for row in draws), 1) for pick in (min, max)]
        found.append({**means, "thinned": thinned, "reached, least and most": span})
    return found


if __name__ == "__main__":
    main()
