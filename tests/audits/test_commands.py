"""Every command answers `--help` at once, and every option it has is documented, and no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataset_conversion.registry import FORMATS, PHANTOMS

HEAVY = {
    "SimpleITK", "batchgenerators", "blosc2", "huggingface_hub", "matplotlib", "medim", "monai", "nnunetv2", "pandas",
    "safetensors", "scipy", "skimage", "torch",
}  # fmt: skip
HELP_SECONDS = 0.3
SUBCOMMANDS = {
    "sammoe_convert_dataset": (*FORMATS, *PHANTOMS),
    "sammoe_foundation": ("list", "download", "convert", "verify"),
    "sammoe_experts": ("list", "show", "export", "install", "remove", "verify"),
}
_REPORT = """
import sys, time
from {module} import {function}
sys.argv[0] = "{command}"
try:
    {function}()
except SystemExit as end:
    assert not end.code, end.code
print("\\0", time.process_time(), *{{name.split(".")[0] for name in sys.modules}})
"""


@dataclass(frozen=True)
class Help:
    """How a command answered `--help`."""

    text: str
    seconds: float
    """Of the processor, Python's own start included."""
    packages: frozenset[str]
    """Top-level packages that were imported."""


def ask_for_help(command: str, target: str, *words: str) -> Help:
    """Runs `COMMAND WORDS --help` in a fresh process."""
    module, function = target.split(":")
    code = _REPORT.format(module=module, function=function, command=command)
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "1000"},
    )
    assert done.returncode == 0, done.stderr
    text, report = done.stdout.split("\0")
    seconds, *packages = report.split()
    return Help(text=text, seconds=float(seconds), packages=frozenset(packages))


def options_in(help_text: str) -> set[str]:
    """Returns the options that a help text lists, `-h` and `--help` apart."""
    heads = [re.split(r"\s{2,}", line.strip())[0] for line in help_text.splitlines() if re.match(r"\s+-", line)]
    return {option for head in heads for option in re.findall(r"(?<!\S)--?\w+", head)} - {"-h", "--help"}


@pytest.fixture(scope="session")
def documented(repository: Path) -> dict[str, set[str]]:
    """Options by command, from the first column of the tables in the reference of commands."""
    page = (repository / "documentation" / "reference" / "commands.md").read_text(encoding="utf-8")
    sections = re.split(r"^## `?(\w+)`?$", page, flags=re.MULTILINE)
    return {
        name: {option for row in re.findall(r"^\|([^|]+)\|", text, re.MULTILINE) for option in options_of_cell(row)}
        for name, text in zip(sections[1::2], sections[2::2], strict=True)
    }


def options_of_cell(cell: str) -> set[str]:
    """Returns the options in a table's cell, such as "`-d ID [ID ...]`"."""
    return set(re.findall(r"`(--?\w+)", cell))


def test_every_command_is_documented_and_no_other(commands: dict[str, str], documented: dict[str, set[str]]) -> None:
    assert set(documented) == set(commands)


@pytest.fixture(scope="session")
def answers(commands: dict[str, str]) -> dict[str, list[Help]]:
    """Three answers of each command."""
    return {command: [ask_for_help(command, target) for _ in range(3)] for command, target in commands.items()}


def test_every_option_is_documented_and_no_other(
    commands: dict[str, str], answers: dict[str, list[Help]], documented: dict[str, set[str]]
) -> None:
    real = {command: options_in(answer[0].text) for command, answer in answers.items()}
    for command, words in SUBCOMMANDS.items():  # each has options of its own
        for word in words:
            real[command] |= options_in(ask_for_help(command, commands[command], word).text)
    assert documented == real


def test_help_imports_nothing_heavy(answers: dict[str, list[Help]]) -> None:
    imported = {command: answer[0].packages & HEAVY for command, answer in answers.items()}
    assert {command: packages for command, packages in imported.items() if packages} == {}


def test_help_answers_at_once(answers: dict[str, list[Help]]) -> None:
    # The best of three, since other work on the machine slows some.
    best = {command: min(help.seconds for help in answer) for command, answer in answers.items()}
    assert {command: seconds for command, seconds in best.items() if seconds > HELP_SECONDS} == {}


def test_options_are_told_from_words_that_mention_them() -> None:
    text = "options:\n  -h, --help  show this\n  -d ID [ID ...]  datasets, as -x has them\n  --raw DIR\n"
    assert options_in(text) == {"-d", "--raw"}
