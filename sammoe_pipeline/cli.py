"""The commands that live in the core. Each parses, imports what it needs, and calls one function."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sammoe_pipeline.cli_judge import add_judge_arguments, is_judging, judge_label_maps, read_tolerances
from sammoe_pipeline.command import (
    add_folder_arguments,
    add_foundation_argument,
    add_workers_argument,
    next_command,
    positive_int,
    run_command,
)
from sammoe_pipeline.encoder_options import PRECISIONS, EncoderOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sammoe_pipeline.artefacts import MixtureCard
    from sammoe_pipeline.foundations import Foundation
    from sammoe_pipeline.paths import Folders
    from sammoe_pipeline.planned_dataset import PlannedDataset
    from sammoe_pipeline.raw_dataset import RawDataset


def pretrain(argv: list[str] | None = None) -> int:
    """`sammoe_pretrain`: trains a foundation."""
    parser = _parser(
        "sammoe_pretrain",
        "Train a foundation (encoder, prompt encoder, general decoder) on raw datasets with simulated clicks. "
        "Datasets join in the order given: give the easiest first. The same command continues a stopped run.",
        "sammoe_pretrain -d 801 802 803 --name mine --exclude_classes spinal_cord esophagus",
    )
    parser.add_argument("-d", nargs="+", required=True, metavar="ID", help="datasets to train on, easiest first")
    parser.add_argument("--name", required=True, help="name of the new foundation")
    parser.add_argument("--builder", default="tiny", help="network to build: tiny or vit_b (default: tiny)")
    parser.add_argument("--spacing", type=float, default=3.0, metavar="MM", help="native spacing (default: 3.0)")
    parser.add_argument("--iterations", type=positive_int, default=4000, help="optimiser steps (default: 4000)")
    parser.add_argument("--batch_size", type=positive_int, default=8, help="views a step (default: 8)")
    parser.add_argument("--targets_per_view", type=positive_int, default=2, help="clicked structures (default: 2)")
    parser.add_argument("--learning_rate", type=float, default=6e-4, help="highest learning rate (default: 6e-4)")
    parser.add_argument(
        "--recolour_probability",
        type=float,
        default=0.4,
        metavar="P",
        help="share of views whose structures all get random intensities (default: 0.4)",
    )
    parser.add_argument(
        "--exclude_classes",
        nargs="*",
        default=[],
        metavar="CLASS",
        help="classes never clicked on, as CLASS or DatasetXXX_Name:CLASS: they stay new to the foundation",
    )
    parser.add_argument(
        "--shapes",
        nargs="*",
        default=[],
        metavar="ID",
        help="those of the datasets whose classes are shapes, not anatomy: clicked on, but not to be recognised",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="translate encoder and decoder first: needs a C++ compiler, then faster",
    )
    _add_device_argument(parser)
    add_workers_argument(parser)
    add_folder_arguments(parser)
    arguments = parser.parse_args(argv)

    def body() -> None:
        from sammoe_pipeline.device import choose_device
        from sammoe_pipeline.errors import UsageError
        from sammoe_pipeline.paths import PreprocessedDataset, Results, find_dataset
        from sammoe_pipeline.preprocessing import prepare_dataset
        from sammoe_pipeline.raw_dataset import read_raw_dataset
        from sammoe_pipeline.training import pretrain as training
        from sammoe_pipeline.training.pretraining_views import PretrainSettings, open_source

        device = choose_device(arguments.device)
        folders = _folders(arguments)
        settings = PretrainSettings(
            name=arguments.name,
            builder=arguments.builder,
            spacing_mm=arguments.spacing,
            normalisation="equalised",
            iterations=arguments.iterations,
            batch_size=arguments.batch_size,
            targets_per_view=arguments.targets_per_view,
            learning_rate=arguments.learning_rate,
            recolour_probability=arguments.recolour_probability,
            excluded_classes=tuple(arguments.exclude_classes),
            seed=arguments.seed,
        )
        datasets = [read_raw_dataset(folders.raw / find_dataset(folders.raw, name)) for name in arguments.d]
        shapes = {find_dataset(folders.raw, name) for name in arguments.shapes}
        if strange := shapes - {raw.name for raw in datasets}:
            raise UsageError(f"--shapes {', '.join(sorted(strange))}: name it among the datasets of -d too.")
        training.require_known_classes(settings.excluded_classes, {raw.name: raw.labels for raw in datasets})
        sources = []
        for raw in datasets:
            target = PreprocessedDataset(root=folders.preprocessed, dataset=raw.name, foundation=settings.name)
            configuration = training.pretraining_configuration(settings)
            prepare_dataset(raw, target, [configuration], workers=arguments.num_processes)
            names = [case.name for case in raw.training_cases]
            sources.append(
                open_source(target, names, raw.labels, settings.excluded_classes, anatomy=raw.name not in shapes)
            )
        folder = training.pretrain(
            sources,
            settings,
            Results(root=folders.results, foundation=settings.name).foundation_folder,
            device=device,
            compiled=arguments.compile,
            command=shlex.join(["sammoe_pretrain", *(sys.argv[1:] if argv is None else argv)]),
        )
        sys.stdout.write(f"Foundation '{settings.name}' lies in {folder}\n")
        next_command(f"sammoe_plan_and_preprocess -d {' '.join(arguments.d)} --foundation {settings.name}")

    return run_command(body)


def train_expert(argv: list[str] | None = None) -> int:
    """`sammoe_train_expert`: finetunes the experts of a dataset and fits its locator."""
    parser = _parser(
        "sammoe_train_expert",
        "Finetune one mask decoder for each task of a dataset's plan, and fit the locator that prompts for it. The "
        "foundation stays as it is. A stopped run goes on where it was; what is finished is skipped.",
        "sammoe_train_expert -d 4 -f 0 1",
    )
    parser.add_argument("-d", required=True, metavar="ID", help="dataset, by ID or name")
    parser.add_argument("-f", nargs="+", default=["all"], metavar="FOLD", help="folds, or all (default: all)")
    parser.add_argument("--task", nargs="+", metavar="NAME", help="tasks of the plan (default: all, and the locator)")
    parser.add_argument("--c", action="store_true", help="continue; an error if there is nothing to continue")
    parser.add_argument(
        "-np",
        dest="num_processes",
        type=positive_int,
        metavar="N",
        help="experts to train at a time, each on a card of its own or on its share of the processor (default: one a "
        "card; on a processor one)",
    )
    parser.add_argument(
        "--train_prompted_from",
        metavar="START",
        help="finetune from general, from an expert (DatasetXXX_Name/task) or from scratch; written into the plan, "
        "which says otherwise what measured best",
    )
    parser.add_argument(
        "--unfreeze",
        choices=("neck", "all"),
        default="nothing",
        help="train the image encoder too, or its neck: plain finetuning to compare with. What comes of it is a "
        "foundation of its own and joins no mixture",
    )
    parser.add_argument(
        "--cache_gb",
        type=float,
        metavar="GB",
        help="keep embeddings of views on disk up to this size, for other folds and later runs (default: 8 on a "
        "processor, 0 on a card)",
    )
    add_foundation_argument(parser)
    _add_device_argument(parser)
    add_folder_arguments(parser, only=("preprocessed", "results"))
    arguments = parser.parse_args(argv)

    def body() -> None:
        from sammoe_pipeline.device import choose_device
        from sammoe_pipeline.paths import Results
        from sammoe_pipeline.planned_dataset import PlannedDataset
        from sammoe_pipeline.training.data_parallel import team
        from sammoe_pipeline.training.embedding_cache import CACHE_GB, GIGABYTE
        from sammoe_pipeline.training.start_from import start_from
        from sammoe_pipeline.training.train_dataset import train_dataset

        device = choose_device(arguments.device)
        folders = _folders(arguments)
        foundation = _foundation(arguments, folders)
        planned = PlannedDataset.load(folders, arguments.d, foundation)
        cache_gb = CACHE_GB[device] if arguments.cache_gb is None else arguments.cache_gb
        with team(device) as (together, own_device):
            if arguments.train_prompted_from:
                places = Results(root=folders.results, foundation=foundation.card.name)
                planned = start_from(planned, arguments.train_prompted_from, arguments.task, places)
            train_dataset(
                planned,
                folds=_fold_numbers(arguments.f),
                tasks=arguments.task,
                must_continue=arguments.c,
                foundation=foundation,
                results=folders.results,
                device=own_device,
                workers=arguments.num_processes,
                cache_bytes=cache_gb * GIGABYTE,
                unfrozen=arguments.unfreeze,
                team=together,
            )
        if together.writes and arguments.unfreeze == "nothing":
            next_command(_with_foundation("sammoe_train_gate", arguments))

    return run_command(body)


def train_gate(argv: list[str] | None = None) -> int:
    """`sammoe_train_gate`: joins experts into a mixture."""
    parser = _parser(
        "sammoe_train_gate",
        "Join experts into a mixture: fit the gate that decides which decoder answers a prompt, and measure the "
        "threshold below which the general expert answers alone. No expert is changed.",
        "sammoe_train_gate -d 4 901 -m mine -f 0 1",
    )
    parser.add_argument(
        "-d",
        nargs="+",
        metavar="ID",
        help="datasets to join (default: those of --experts, else all whose experts are finished in these folds)",
    )
    parser.add_argument(
        "--experts",
        nargs="+",
        metavar="DATASET/TASK",
        help="experts to join, as sammoe_experts list names them; the general expert serves the classes of the others "
        "(default: all of the datasets)",
    )
    parser.add_argument(
        "--from_packages",
        nargs="+",
        type=Path,
        metavar="ZIP",
        help="join the mixtures of these packages without their data: they are installed, and a gate is fitted to the "
        "routing sets that they bring",
    )
    parser.add_argument("-m", default="default", metavar="NAME", help="name of the mixture (default: default)")
    parser.add_argument("-f", nargs="+", default=["all"], metavar="FOLD", help="mixture folds (default: all)")
    parser.add_argument(
        "--max_general_loss",
        type=float,
        default=0.1,
        metavar="POINTS",
        help="what general tasks may lose on the calibration cases, in Dice points of 100 (default: 0.1)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of clicks and initial weights (default: 0)")
    add_foundation_argument(parser)
    _add_device_argument(parser)
    add_folder_arguments(parser)
    arguments = parser.parse_args(argv)

    def from_packages(packages: Sequence[Path]) -> MixtureCard:
        from sammoe_pipeline.errors import UsageError
        from sammoe_pipeline.packages.joining import join_packages

        for flag, given in (("-d", arguments.d), ("--experts", arguments.experts), ("-f", arguments.f != ["all"])):
            if given:
                raise UsageError(f"{flag}: with --from_packages, a mixture is all that the packages hold.")
        folders = _folders(arguments)
        return join_packages(
            packages,
            name=arguments.m,
            foundation=_foundation(arguments, folders),
            results=folders.results,
            max_general_loss=arguments.max_general_loss,
            seed=arguments.seed,
        )

    def from_data() -> MixtureCard:
        from sammoe_pipeline.device import choose_device
        from sammoe_pipeline.training.mixture_members import choose_experts, finished_datasets
        from sammoe_pipeline.training.train_gate import train_gate as train

        device = choose_device(arguments.device)
        folders = _folders(arguments)
        foundation = _foundation(arguments, folders)
        folds = _fold_numbers(arguments.f)
        experts = arguments.experts or []
        named = list(dict.fromkeys(expert.partition("/")[0] for expert in experts))
        planned, raw = _datasets(
            arguments.d or named or finished_datasets(folders, foundation, folds), folders, foundation
        )
        if experts:
            planned = choose_experts(planned, experts)
        return train(
            planned,
            raw,
            name=arguments.m,
            folds=folds,
            foundation=foundation,
            results=folders.results,
            max_general_loss=arguments.max_general_loss,
            seed=arguments.seed,
            device=device,
        )

    def body() -> None:
        card = from_packages(arguments.from_packages) if arguments.from_packages else from_data()
        sys.stdout.write(
            f"Mixture '{card.name}': {len(card.experts)} experts, threshold {card.threshold:g}; weights of the "
            f"foundation and of every expert are the same as before.\n"
        )
        if card.calibration_patients:
            sys.stdout.write(_general_loss(card))
        mixture = "" if card.name == "default" else f" -m {card.name}"
        next_command(_with_foundation(f"sammoe_evaluate{mixture}", arguments))
        next_command(_with_foundation(f"sammoe_predict -i IMAGES -o OUTPUT{mixture}", arguments))

    return run_command(body)


def _general_loss(card: MixtureCard) -> str:
    from sammoe_pipeline.training.calibration import certifiable_loss

    loss = next(point.general_loss for point in card.calibration if point.threshold == card.threshold)
    bound = certifiable_loss(loss, card.calibration_patients)
    return (
        f"On the calibration cases the general expert's targets lose {100 * loss:.2f} Dice points of 100. So few as "
        f"{card.calibration_patients} patients can certify no bound below {100 * bound:.1f}.\n"
    )


def predict(argv: list[str] | None = None) -> int:
    """`sammoe_predict`: segments images."""
    parser = _parser(
        "sammoe_predict",
        "Segment images. Without --prompts the mixture's locators say where to look; with it, your prompts do. "
        "The label maps lie on exactly the grid of the images. For research, not a medical device.",
        "sammoe_predict -i imagesTs -o predictions -d 4",
    )
    parser.add_argument(
        "-i", required=True, type=Path, metavar="IN", help="an image or a DICOM series' folder, or a folder of these"
    )
    parser.add_argument(
        "-o", required=True, type=Path, metavar="OUT", help="folder for label maps and predictions.json"
    )
    parser.add_argument("-m", metavar="NAME", help="mixture (default: default; none of it: the foundation alone)")
    parser.add_argument("-d", metavar="ID", help="give out this dataset's classes with its own values")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--prompts",
        type=Path,
        metavar="PATH",
        help="clicks, boxes, masks: a .json, or a .mrk.json of 3D Slicer, or a folder with one for each case",
    )
    where.add_argument(
        "--prompts_from_masks",
        type=Path,
        metavar="DIR",
        help="another tool's label maps, CASE.nii.gz, with a dataset.json that names their values: a click well inside "
        "each class, or each of its parts, is drawn, and the answer stays near it",
    )
    parser.add_argument(
        "--instances",
        action="store_true",
        help="with --prompts: each positive click is on a thing of its own; numbers them in OUT/instances",
    )
    parser.add_argument("-f", nargs="+", default=["all"], metavar="FOLD", help="folds to average (default: all)")
    parser.add_argument(
        "--save_probabilities", action="store_true", help="also write a probability map a class, in OUT/probabilities"
    )
    parser.add_argument(
        "--one_file_per_class", action="store_true", help="also write a mask a class, in OUT/masks; masks may overlap"
    )
    parser.add_argument(
        "--continue_prediction", action="store_true", help="leave out the cases that are finished in OUT"
    )
    parser.add_argument(
        "-num_parts",
        type=positive_int,
        default=1,
        metavar="N",
        help="share the cases out among N commands (default: 1)",
    )
    parser.add_argument(
        "-part_id", type=int, default=0, metavar="K", help="which of them this is, from 0 to N - 1 (default: 0)"
    )
    add_foundation_argument(parser)
    _add_device_argument(parser)
    _add_encoder_arguments(parser)
    add_folder_arguments(parser, only=("results",))
    arguments = parser.parse_args(argv)

    def body() -> None:
        from sammoe_pipeline.device import choose_device
        from sammoe_pipeline.errors import SammoeError, UsageError
        from sammoe_pipeline.inference.mixture import Mixture
        from sammoe_pipeline.inference.predict import predict_folder
        from sammoe_pipeline.inference.predictions import RESEARCH_ONLY
        from sammoe_pipeline.inference.wanted import PromptSource

        if arguments.instances and arguments.prompts is None:
            raise UsageError("--instances: it says what the clicks of --prompts are on. Give them, or leave it out.")
        if arguments.prompts_from_masks is not None:
            prompts = PromptSource("mask", arguments.prompts_from_masks)
        elif arguments.prompts is not None:
            prompts = PromptSource("file", arguments.prompts, instances=arguments.instances)
        else:
            prompts = PromptSource("locator")
        device = choose_device(arguments.device)
        encoder = _encoder(arguments, device)
        folders = _folders(arguments)
        foundation = _foundation(arguments, folders)
        mixture = Mixture.load_or_general(
            arguments.m,
            foundation=foundation,
            results=folders.results,
            device=device,
            folds=_fold_numbers(arguments.f),
            encoder=encoder,
        )
        predictions = predict_folder(
            mixture,
            source=arguments.i,
            target=arguments.o,
            dataset=mixture.dataset_named(arguments.d) if arguments.d else None,
            prompts=prompts,
            device=encoder.on(device),
            save_probabilities=arguments.save_probabilities,
            one_file_per_class=arguments.one_file_per_class,
            resume=arguments.continue_prediction,
            num_parts=arguments.num_parts,
            part_id=arguments.part_id,
        )
        for case in predictions.cases:
            for target in case.targets:
                for warning in target.warnings:
                    sys.stderr.write(f"{case.case}, {target.name}: {warning}\n")
            if doubtful := [target.name for target in case.targets if target.review]:
                sys.stderr.write(f"{case.case}, to be looked at: {', '.join(doubtful)}\n")
        failed = [f"{case.case}: {case.error}".replace("\n", "\n    ") for case in predictions.cases if case.error]
        done = len(predictions.cases) - len(failed)
        sys.stdout.write(f"{done} of {len(predictions.cases)} cases written to {arguments.o} ({RESEARCH_ONLY})\n")
        if failed:
            raise SammoeError("These cases failed:\n" + "\n".join(f"  - {line}" for line in failed))

    return run_command(body, continued_by="--continue_prediction")


def evaluate(argv: list[str] | None = None) -> int:
    """`sammoe_evaluate`: judges a mixture on the cases that its folds hold out, or any tool's label maps."""
    parser = _parser(
        "sammoe_evaluate",
        "Judge a mixture on the cases that each fold holds out: general expert, each class's own expert, and the "
        "mixture, prompted alike. Writes cases.csv, routing.csv, summary.json and report.html, and prints the table. "
        "Interrupted, the same command goes on. With --predictions, judge any tool's label maps.",
        "sammoe_evaluate -m default --clicks 0 1 3 5 10",
    )
    parser.add_argument("-m", default="default", metavar="NAME", help="mixture (default: default)")
    parser.add_argument("-f", nargs="+", default=["all"], metavar="FOLD", help="mixture folds (default: all)")
    parser.add_argument(
        "--clicks",
        nargs="+",
        type=int,
        default=[1],
        metavar="N",
        help="numbers of clicks to report; 0 is the locator's prompt (default: 1)",
    )
    parser.add_argument("--seeds", type=positive_int, default=3, metavar="N", help="draws of the clicks (default: 3)")
    parser.add_argument(
        "--forgetting",
        action="store_true",
        help="also ask every expert about everybody's classes at one click, to see what each alone would forget",
    )
    add_foundation_argument(parser)
    _add_device_argument(parser)
    _add_encoder_arguments(parser)
    add_folder_arguments(parser)
    add_judge_arguments(parser)
    arguments = parser.parse_args(argv)

    def body() -> None:
        if is_judging(parser, argv):
            judge_label_maps(arguments)
            return

        from sammoe_pipeline.artefacts import MixtureCard
        from sammoe_pipeline.device import choose_device
        from sammoe_pipeline.errors import UsageError
        from sammoe_pipeline.evaluation.evaluate import evaluate as run
        from sammoe_pipeline.evaluation.markdown import markdown_table
        from sammoe_pipeline.paths import EVALUATION, MIXTURE_JSON, REPORT_HTML, Results

        everywhere_mm, by_class_mm = read_tolerances(arguments.tolerance or [])
        if min(arguments.clicks) < 0:
            raise UsageError(f"--clicks {min(arguments.clicks)}: numbers of clicks are 0 (the locator) or more.")
        device = choose_device(arguments.device)
        encoder = _encoder(arguments, device)
        folders = _folders(arguments)
        foundation = _foundation(arguments, folders)
        folder = Results(root=folders.results, foundation=foundation.card.name).mixture(arguments.m)
        members = MixtureCard.load(folder / MIXTURE_JSON).datasets
        planned, raw = _datasets([member.dataset for member in members], folders, foundation)
        summary = run(
            planned,
            raw,
            name=arguments.m,
            folds=_fold_numbers(arguments.f),
            foundation=foundation,
            results=folders.results,
            clicks=sorted(set(arguments.clicks)),
            num_seeds=arguments.seeds,
            device=device,
            encoder=encoder,
            forgetting=arguments.forgetting,
            tolerance_mm=everywhere_mm,
            class_tolerances_mm=by_class_mm,
        )
        sys.stdout.write(f"{markdown_table(summary)}\nReport: {folder / EVALUATION / REPORT_HTML}\n")

    return run_command(body)


COMMANDS: dict[str, Callable[[list[str] | None], int]] = {
    "sammoe_pretrain": pretrain,
    "sammoe_train_expert": train_expert,
    "sammoe_train_gate": train_gate,
    "sammoe_predict": predict,
    "sammoe_evaluate": evaluate,
}
"""The commands of this module by the name that a user types."""


def _parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=name, description=description, epilog=f"example: {example}")


def _add_device_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-device", choices=("cuda", "cpu"), help="default: cuda where there is one, else cpu")


def _add_encoder_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=EncoderOptions.precision,
        help="in which the image encoder computes: less than float32 is faster and rounds (default: float32)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="translate the encoder first, which takes a minute or more; gains nothing on a processor",
    )


def _encoder(arguments: argparse.Namespace, device: str) -> EncoderOptions:
    encoder = EncoderOptions(precision=arguments.precision, compiled=arguments.compile)
    encoder.require(device)
    return encoder


def _folders(arguments: argparse.Namespace) -> Folders:
    from sammoe_pipeline.paths import find_folders

    return find_folders(
        raw=getattr(arguments, "raw", None),
        preprocessed=getattr(arguments, "preprocessed", None),
        results=arguments.results,
    )


def _foundation(arguments: argparse.Namespace, folders: Folders) -> Foundation:
    from sammoe_pipeline.foundations import find_foundation

    return find_foundation(arguments.foundation, folders.results)


def _with_foundation(command: str, arguments: argparse.Namespace) -> str:
    return f"{command} --foundation {arguments.foundation}" if arguments.foundation else command


def _fold_numbers(given: Sequence[str]) -> list[int] | None:
    """Reads `-f`: None for all folds.

    Raises:
        UsageError: it is neither "all" nor whole numbers.
    """
    from sammoe_pipeline.errors import UsageError

    if list(given) == ["all"]:
        return None
    if not all(fold.isdigit() for fold in given):
        raise UsageError(f"-f {' '.join(given)}: give fold numbers such as 0 1, or all.")
    return sorted({int(fold) for fold in given})


def _datasets(
    names: Sequence[str], folders: Folders, foundation: Foundation
) -> tuple[list[PlannedDataset], list[RawDataset]]:
    from sammoe_pipeline.paths import find_dataset
    from sammoe_pipeline.planned_dataset import PlannedDataset
    from sammoe_pipeline.raw_dataset import read_raw_dataset

    planned = [PlannedDataset.load(folders, name, foundation) for name in names]
    raw = [read_raw_dataset(folders.raw / find_dataset(folders.raw, dataset.name)) for dataset in planned]
    return planned, raw
