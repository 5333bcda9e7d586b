"""Commands run one after another as a user would run them: each printed before it runs, in a process of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sammoe_pipeline.errors import SammoeError

COMMANDS = {
    "sammoe_convert_dataset": "dataset_conversion.cli:main",
    "sammoe_plan_and_preprocess": "planning.cli:main",
    "sammoe_train_expert": "sammoe_pipeline.commands.train_expert:main",
    "sammoe_train_gate": "sammoe_pipeline.commands.train_gate:main",
    "sammoe_predict": "sammoe_pipeline.commands.predict:main",
    "sammoe_evaluate": "sammoe_pipeline.commands.evaluate:main",
    "sammoe_foundation": "sammoe_pipeline.commands.foundation:main",
}
"""Function behind each command. They run as processes of their own, so the core imports no other package."""


def run_stage(stage: Sequence[str], settings: Mapping[str, str], *, whole: str) -> float:
    """Runs one command, which ends with this process where somebody ends that.

    Args:
        stage: the command and its arguments.
        settings: environment variables, beside those that are set.
        whole: what it is a stage of, such as "demo".

    Returns:
        How many seconds it took.

    Raises:
        SammoeError: it failed.
    """
    began = time.perf_counter()
    say(f"\n$ {shlex.join(stage)}")
    module, function = COMMANDS[stage[0]].split(":")
    code = f"import sys; from {module} import {function}; sys.exit({function}())"
    with _exits_when_terminated():
        done = subprocess.run([sys.executable, "-c", code, *stage[1:]], env={**os.environ, **settings}, check=False)
    if done.returncode:
        raise SammoeError(
            f"the {whole} stopped at this command, which ended with exit code {done.returncode}: {shlex.join(stage)}. "
            f"It says why above. Run the {whole} again to go on from here."
        )
    seconds = time.perf_counter() - began
    say(f"({duration(seconds)})")
    return seconds


@contextmanager
def _exits_when_terminated() -> Iterator[None]:
    """Makes of the signal that asks to end (a cluster sends it) an exception, at which `subprocess` ends its child."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def duration(seconds: float) -> str:
    """Words a length of time.

    >>> duration(75)
    '1 min 15 s'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def say(text: str) -> None:
    """Prints at once, so that lines stay in order with those of the commands."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
