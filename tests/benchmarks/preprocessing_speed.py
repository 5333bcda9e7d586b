"""How long a case takes to prepare, beside nnU-Net, and how far the resampled images lie apart.

    python -m tests.benchmarks.preprocessing_speed --raw sammoe_raw/Dataset004_Hippocampus --spacing_mm 1 --out a.json

The same cases are brought to the same spacing by as many processes of one thread each: by nnU-Net with its default
resampler (order 3), by nnU-Net with its torch resampler, and by this package. They go by turns; a process begins with a
case that does not count, so that starting up does not either. What resampling loses is the root mean square of the
difference to nnU-Net's order 3, in standard deviations of the image.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT, TORCH, OURS = "nnU-Net", "nnU-Net, torch", "sammoe"
COMPARED_CASES = 5


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="a dataset in nnU-Net's layout")
    parser.add_argument("--spacing_mm", type=float, required=True, metavar="MM", help="isotropic target")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="turns (default: 3)")
    arguments = parser.parse_args()
    raw = arguments.raw.resolve()
    with tempfile.TemporaryDirectory() as folder:
        # Read by nnU-Net when it is imported, in this process and in those that it starts.
        os.environ |= {"nnUNet_raw": str(raw.parent), "nnUNet_preprocessed": folder, "nnUNet_results": folder}
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        ways = _ways(raw, arguments.spacing_mm, Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, (work, jobs) in ways.items():
                seconds[name].append(_seconds_per_case(work, jobs, arguments.workers))
                print(f"{name}: {seconds[name][-1]:.3f} s a case", file=sys.stderr)
    medians = {name: statistics.median(of_rounds) for name, of_rounds in seconds.items()}
    result = {
        "dataset": raw.name,
        "spacing_mm": arguments.spacing_mm,
        "cases": len(next(iter(ways.values()))[1]),
        "workers": arguments.workers,
        "seconds_a_case": seconds,
        "times_faster": {name: medians[name] / medians[OURS] for name in (DEFAULT, TORCH)},
        "rms_error": _errors(raw, arguments.spacing_mm),
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _ways(raw: Path, spacing_mm: float, folder: Path) -> dict[str, tuple[Callable[[Any], Any], list[Any]]]:
    """Returns by name the function that prepares a case, and a job a case."""
    nnunet = _nnunet_jobs(raw, spacing_mm, folder)
    return {
        DEFAULT: (prepare_with_nnunet, [(False, *job) for job in nnunet]),
        TORCH: (prepare_with_nnunet, [(True, *job) for job in nnunet]),
        OURS: (prepare_with_ours, _our_jobs(raw, spacing_mm, folder)),
    }


def _nnunet_jobs(raw: Path, spacing_mm: float, folder: Path) -> list[tuple[Any, ...]]:
    """Plans with nnU-Net at a given spacing; returns what `DefaultPreprocessor.run_case_save` takes of each case."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    number = int(raw.name.removeprefix("Dataset").split("_")[0])
    extract_fingerprints([number], num_processes=2, verbose=False, show_progress_bar=False)
    plan_experiments([number], overwrite_target_spacing=(spacing_mm,) * 3)
    preprocessed = folder / raw.name
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    description = json.loads((preprocessed / "dataset.json").read_text())
    cases = get_filenames_of_train_images_and_targets(str(raw), description)
    return [(plans, description, name, files["images"], files["label"]) for name, files in cases.items()]


def _with_torch_resampling(plans: dict[str, Any]) -> dict[str, Any]:
    plans = copy.deepcopy(plans)
    settings = plans["configurations"]["3d_fullres"]
    for kind in ("data", "seg"):
        settings[f"resampling_fn_{kind}"] = "resample_torch_fornnunet"
        settings[f"resampling_fn_{kind}_kwargs"] = {
            "is_seg": kind == "seg",
            "force_separate_z": False,
            "memefficient_seg_resampling": False,
        }
    return plans


def prepare_with_nnunet(job: tuple[Any, ...]) -> None:
    """Prepares and writes one case as `nnUNetv2_preprocess` does."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    in_torch, plans, description, output, images, label = job
    manager = PlansManager(_with_torch_resampling(plans) if in_torch else plans)
    preprocessor = DefaultPreprocessor(verbose=False)
    # It does not write over what is there: its own command empties the folder first.
    folder = tempfile.mkdtemp(dir=os.environ["nnUNet_preprocessed"])  # noqa: SIM112, it is its name
    output = str(Path(folder) / output)
    preprocessor.run_case_save(output, images, label, manager, manager.get_configuration("3d_fullres"), description)


def _our_jobs(raw: Path, spacing_mm: float, folder: Path) -> list[Any]:
    from sammoe_pipeline.artefacts import Configuration
    from sammoe_pipeline.paths import PreprocessedDataset
    from sammoe_pipeline.preprocessing import Preparation
    from sammoe_pipeline.raw_dataset import read_raw_dataset

    dataset = read_raw_dataset(raw)
    target = PreprocessedDataset(root=folder / "sammoe", dataset=raw.name, foundation="any")
    configuration = Configuration(name="compared", spacing_mm=spacing_mm, patch_size=48)
    return [
        Preparation(case=case, configurations=(configuration,), labels=dataset.labels, target=target)
        for case in dataset.training_cases
    ]


def prepare_with_ours(job: Any) -> None:
    """Prepares and writes one case as `sammoe_plan_and_preprocess` does."""
    from sammoe_pipeline.preprocessing import prepare_case

    prepare_case(job)


def _seconds_per_case(work: Callable[[Any], Any], jobs: list[Any], workers: int) -> float:
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        # A few more than there are processes, so that every one of them has imported what it needs.
        list(pool.map(work, (jobs * 3)[: 3 * workers]))
        began = time.perf_counter()
        list(pool.map(work, jobs))
        return (time.perf_counter() - began) / len(jobs)


def _errors(raw: Path, spacing_mm: float) -> dict[str, float]:
    """Returns what each resampler differs by from nnU-Net's order 3, over some cases."""
    import torch
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
    from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

    from sammoe_pipeline.geometry import resample_image
    from sammoe_pipeline.image_io import read_volume
    from sammoe_pipeline.preprocessing import to_configuration
    from sammoe_pipeline.raw_dataset import read_raw_dataset

    found: dict[str, list[float]] = {TORCH: [], OURS: []}
    for case in read_raw_dataset(raw).training_cases[:COMPARED_CASES]:
        volume = read_volume(case.images[0])
        data = volume.data.astype(np.float32)
        spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
        shape = tuple(to_configuration(volume, spacing_mm).shape)
        if not np.array_equal(volume.affine[:3, :3], np.diag(np.diag(volume.affine[:3, :3]))):
            continue
        channels, steps = data[None], (spacing, [spacing_mm] * 3)
        reference = resample_data_or_seg_to_shape(channels, shape, *steps, order=3, force_separate_z=False)[0]
        others = {
            TORCH: np.asarray(resample_torch_fornnunet(channels, shape, *steps, is_seg=False))[0],
            OURS: resample_image(torch.from_numpy(data), shape).numpy(),
        }
        for name, other in others.items():
            found[name].append(_rms(other, reference))
    return {name: statistics.mean(values) for name, values in found.items()}


def _rms(one: NDArray[Any], reference: NDArray[Any]) -> float:
    difference = np.asarray(one, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    return float(np.sqrt(np.mean(difference**2)) / np.std(reference))


if __name__ == "__main__":
    main()
