"""What 1 to 32 experts cost a mixture: routing, the gate's time and size, the time of an answer, and memory.

    python -m tests.benchmarks.gate_scaling --home HOME -m within --rows rows.pkl --out scaling.json

The experts of a finished mixture of one dataset, `--rows` of `gate_baselines.py`, and copies of both: a copied dataset
shows its clicks displaced by one fixed random step of a deviation in every feature, as another scanner may; copied
experts are decoders with a per cent of noise. One more expert is always the next real one, then the next copy. Routed
are held-out clicks of the real dataset. An answer is a click that says no class, in an image whose windows are not
embedded yet, routed and answered in the fold that holds the image out.
"""

from __future__ import annotations

import argparse
import copy
import json
import pickle
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sammoe_pipeline.foundations import find_foundation
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.prompt_description import new_gate
from sammoe_pipeline.inference.routing import expert_key
from sammoe_pipeline.model import MaskDecoder
from sammoe_pipeline.paths import Folders
from sammoe_pipeline.training.gate_fitting import fit_gate
from sammoe_pipeline.training.gate_prompts import OFF_TASK, prompts_in
from tests.benchmarks.gate_baselines import WORTHWHILE, Bench, Row, choice, numpy, percent

NUMBERS = (1, 2, 4, 8, 16, 32)
TURNS = 3


def main() -> None:
    """Measures each number of experts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("-m", default="default")
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    home = arguments.home
    folders = Folders(home / "sammoe_raw", home / "sammoe_preprocessed", home / "sammoe_results")
    foundation = find_foundation(None, folders.results)
    bench = Bench(arguments.m, folders, foundation, "cpu", 1)
    rows: list[Row] = pickle.loads(arguments.rows.read_bytes())
    result = {
        "foundation_sha256": foundation.card.sha256,
        "threads": torch.get_num_threads(),
        "numbers": [measured(number, bench, rows) for number in NUMBERS],
    }
    print(json.dumps(result, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def measured(number: int, bench: Bench, rows: list[Row]) -> dict[str, Any]:
    """Returns what a mixture of so many experts costs, and how it routes the held-out clicks of the real dataset."""
    mixture = grown(number, bench)
    assert mixture.card is not None
    some = [row for row in rows if row.held_out and row.fold == 0]
    (clicks,) = bench.taught(0)
    deviation = clicks.descriptions.std(dim=0)
    taught = [clicks]
    for copied in range(1, len(mixture.card.datasets)):
        step = torch.randn(deviation.shape, generator=torch.Generator().manual_seed(copied)).sign()
        taught.append(replace(clicks, descriptions=clicks.descriptions + step * deviation))
    fitting = []
    for _ in range(TURNS):
        gate = new_gate(bench.foundation, mixture.model, mixture.card.datasets, mixture.experts)
        began = time.perf_counter()
        fit_gate(gate, taught, seed=0)
        fitting.append(time.perf_counter() - began)
    mixture.gates = [gate]
    seen = torch.stack([row.description for row in some])
    began = time.perf_counter()
    judged = numpy(gate.confidences(seen[:, None], range(len(taught))))
    deciding = (time.perf_counter() - began) / len(some)
    whose = [choice(values, bench.threshold) for values in judged]
    pairs = list(zip(some, whose, strict=True))
    right = [
        who == 1 + row.expert
        for row, who in pairs
        if 0 <= row.expert < number and row.dice[1 + row.expert] - row.dice[0] > WORTHWHILE
    ]
    general = [who == 0 for row, who in pairs if row.expert < 0 and row.class_key != OFF_TASK]
    decoders = sum(held.numel() * held.element_size() for held in mixture.model.mask_decoder.state_dict().values())
    held = sum(value.numel() * value.element_size() for value in gate.state_dict().values())
    return {
        "experts": number,
        "datasets": len(taught),
        "right_expert_where_it_gains": percent(np.mean(right)),
        "general_kept": percent(np.mean(general)),
        "fit_seconds": round(statistics.median(fitting), 2),
        "decide_milliseconds": round(1000 * deciding, 3),
        "answer_seconds": round(statistics.median(answered(mixture, bench) for _ in range(TURNS)), 2),
        "gate_megabytes": round(held / 1e6, 2),
        "decoders_megabytes": round(number * decoders / 1e6, 1),
    }


def grown(number: int, bench: Bench) -> Mixture:
    """Returns the mixture with some of its experts, or with copies of them that serve copies of its dataset."""
    real = bench.mixture
    (dataset,) = bench.card.datasets
    datasets, experts, decoders = [], [], {}
    for copied in range(-(-number // len(real.experts))):
        name = dataset.dataset if copied == 0 else f"Dataset{700 + copied}_Copy"
        members = real.experts[: number - copied * len(real.experts)]
        keys = {expert_key(one.dataset, one.task): expert_key(name, one.task) for one in members}
        served = {class_name: keys[key] for class_name, key in dataset.experts.items() if key in keys}
        datasets.append(dataset.model_copy(update={"dataset": name, "experts": served}))
        for own in members:
            joined = own.model_copy(update={"dataset": name})
            experts.append(joined)
            (decoder,) = real.decoders[expert_key(own.dataset, own.task)]
            decoders[expert_key(name, own.task)] = [decoder if copied == 0 else noisy(decoder, copied)]
    card = bench.card.model_copy(update={"datasets": tuple(datasets), "experts": tuple(experts)})
    return Mixture(
        foundation=bench.foundation, model=real.model, card=card, experts=tuple(experts), decoders=decoders, folds=(0,)
    )


def noisy(decoder: MaskDecoder, seed: int) -> MaskDecoder:
    """Returns a decoder whose weights are a per cent off."""
    changed = copy.deepcopy(decoder)
    generator = torch.Generator().manual_seed(seed)
    for parameter in changed.parameters():
        parameter.mul_(1 + 0.01 * torch.randn(parameter.shape, generator=generator))
    return changed


def answered(mixture: Mixture, bench: Bench) -> float:
    """Returns the seconds that a click takes whose windows are not embedded yet."""
    (member,) = bench.members
    case = member.planned.fold(0).val[0]
    prompts = prompts_in(case, member, model=mixture.model, foundation=bench.foundation, seed=0, clicks=1)
    prompt = next(prompt for prompt in prompts if prompt.expert == 0)
    began = time.perf_counter()
    routing = mixture.route(prompt.case, [prompt.click])
    mixture.answer(prompt.case, [prompt.click], routing, general_configuration=bench.foundation.native).mask()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
