"""How long converting takes, beside what else one would use.

    python tests/benchmarks/conversion_speed.py --shared ../shared/data --out result.json

Two comparisons, the competitors by turns, in fresh processes, medians of several runs: the hippocampus task against
nnU-Net's own converter, which copies without looking at labels; and a torso of 117 masks against a plain loop over
SimpleITK, one process each. The torso is enlarged to the 1.5 mm of the real dataset. For the torso the time of ours is
taken apart.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from tqdm import tqdm

from dataset_conversion.labels import distinct
from dataset_conversion.tables import TOTALSEGMENTATOR_CT
from sammoe_pipeline.gzipped_nifti import Scratch
from sammoe_pipeline.image_io import Volume, read_header, read_volume, read_voxels, write_volume

ENLARGED = 2
CONVERT = "import sys; from dataset_conversion.cli import main; sys.exit(main())"
PLAIN_LOOP = """
import sys
from pathlib import Path
from typing import Any
import numpy as np
import SimpleITK as sitk
case, target, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
image = sitk.ReadImage(str(case / "ct.nii.gz"))
label = np.zeros(image.GetSize()[::-1], np.uint8)
for number, name in enumerate(names, start=1):
    label[sitk.GetArrayFromImage(sitk.ReadImage(str(case / "segmentations" / f"{name}.nii.gz"))) > 0] = number
target.mkdir()
result = sitk.GetImageFromArray(label)
result.CopyInformation(image)
sitk.WriteImage(image, str(target / "image.nii.gz"))
sitk.WriteImage(result, str(target / "label.nii.gz"), useCompression=True)
"""


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, metavar="DIR", help="real volumes of the tests")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON to write")
    parser.add_argument("--runs", type=int, default=5, help="of each (default: 5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "cores": os.cpu_count(),
            "runs": arguments.runs,
            "hippocampus_seconds": hippocampus(arguments.shared / "Task04_Hippocampus", Path(folder), arguments.runs),
            "torso_seconds": torso(arguments.shared / "totalsegmentator_v2", Path(folder), arguments.runs),
        }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def hippocampus(task: Path, folder: Path, runs: int) -> dict[str, float]:
    """Converts the task with both converters, each with its own default number of processes."""
    source = folder / task.name
    shutil.copytree(task, source)
    nnunet = Path(sys.executable).with_name("nnUNetv2_convert_MSD_dataset")

    def ours(out: Path) -> list[str]:
        return [sys.executable, "-c", CONVERT, "msd", "-i", str(source), "-d", "4", "--raw", str(out)]

    def theirs(_: Path) -> list[str]:
        return [str(nnunet), "-i", str(source)]

    return medians({"sammoe_convert_dataset": ours, "nnUNetv2_convert_MSD_dataset": theirs}, folder, runs)


def torso(dataset: Path, folder: Path, runs: int) -> dict[str, object]:
    """Converts the enlarged case in one process, and takes the time apart."""
    case = enlarge(dataset / "s0001", folder / "torso" / "s0001")

    def ours(out: Path) -> list[str]:
        flags = ["-i", str(case.parent), "-d", "5", "--raw", str(out), "-np", "1"]
        return [sys.executable, "-c", CONVERT, "totalsegmentator_ct", *flags]

    def loop(out: Path) -> list[str]:
        return [sys.executable, "-c", PLAIN_LOOP, str(case), str(out / "loop"), *TOTALSEGMENTATOR_CT]

    times: dict[str, object] = dict(medians({"sammoe_convert_dataset": ours, "plain loop": loop}, folder, runs))
    return {
        **times,
        "parts_of_117_masks": parts(case / "segmentations"),
        "shape": read_header(case / "ct.nii.gz").shape,
    }


def enlarge(case: Path, target: Path) -> Path:
    """Writes a case with each voxel repeated along each axis."""
    shrink = np.diag([1 / ENLARGED, 1 / ENLARGED, 1 / ENLARGED, 1])
    for path in tqdm(sorted(case.rglob("*.nii.gz")), desc="Enlarging", disable=None):
        volume = read_volume(path)
        data = volume.data
        for axis in range(3):
            data = data.repeat(ENLARGED, axis=axis)
        write_volume(target / path.relative_to(case), Volume(data=data, affine=volume.affine @ shrink))
    return target


def medians(commands: dict[str, Callable[[Path], list[str]]], folder: Path, runs: int) -> dict[str, float]:
    """Runs each command several times, by turns, and returns the medians of its seconds."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        for name, command in commands.items():
            with tempfile.TemporaryDirectory(dir=folder) as out:
                variables = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), out)
                began, used = time.perf_counter(), processor_seconds()
                subprocess.run(
                    command(Path(out)), env={**os.environ, **variables}, check=True, capture_output=True, text=True
                )
                seconds[name].append(time.perf_counter() - began)
                seconds[f"{name}, of the processor"].append(processor_seconds() - used)
    return {name: round(statistics.median(values), 3) for name, values in seconds.items()}


def processor_seconds() -> float:
    """Returns the seconds that processors worked for all ended children: less shaken by other work than the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def parts(folder: Path) -> dict[str, float]:
    """Returns the seconds of each step of reading all masks, this process alone."""
    files = [folder / f"{name}.nii.gz" for name in TOTALSEGMENTATOR_CT]
    scratch = Scratch()
    steps: dict[str, Callable[[Path, NDArray[Any]], object]] = {
        "headers": lambda path, _: read_header(path),
        "decompression and checksums, in the same memory": lambda path, _: read_voxels(path, scratch),
        "headers, decompression and checksums, in new memory": lambda path, _: read_volume(path),
        "headers and decompression by SimpleITK": lambda path, _: SimpleITK.ReadImage(str(path)),
        "decompression and checksums by Python's zlib": lambda path, _: zlib.decompress(path.read_bytes(), wbits=31),
        "values": lambda _, mask: distinct(mask),
        "masking": lambda _, mask: np.count_nonzero(mask),
    }
    found = dict.fromkeys(steps, 0.0)
    for path in files:
        mask = read_volume(path).data
        for name, step in steps.items():
            began = time.perf_counter()
            step(path, mask)
            found[name] += time.perf_counter() - began
    return {name: round(seconds, 3) for name, seconds in found.items()}


if __name__ == "__main__":
    main()
