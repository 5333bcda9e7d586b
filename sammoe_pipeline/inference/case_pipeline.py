"""Cases one after another: while one is segmented, the next is read and the one before it written."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch.cuda import OutOfMemoryError

from sammoe_pipeline.errors import SammoeError, UsageError
from sammoe_pipeline.image_io import Volume
from sammoe_pipeline.inference.case_files import remove_files
from sammoe_pipeline.inference.input_cases import InputCase
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.predict_case import Request, SegmentedCase, segment_case
from sammoe_pipeline.inference.predictions import PredictedCase

logger = logging.getLogger(__name__)


def predict_cases(
    request: Request,
    cases: Sequence[InputCase],
    old_files: Mapping[str, Sequence[str]],
    done: Callable[[PredictedCase], None],
) -> None:
    """Segments cases. What goes wrong with one is said, and is in its result; the others go on.

    Memory holds the image of one case more than the one that is segmented, and the label map of one.

    Args:
        request: what is asked of each.
        cases: in the order in which they are segmented.
        old_files: of each case, from an earlier prediction: removed before it is segmented.
        done: called with each result, in order and one at a time, as soon as its files are written.
    """
    with ThreadPoolExecutor(max_workers=1) as reader, ThreadPoolExecutor(max_workers=1) as writer:
        following: Future[_Read] | None = None
        writing: Future[None] | None = None
        for index, case in enumerate(cases):
            reading = following or reader.submit(_read, case)
            reading.exception()  # Waits for it: no more than one is read ahead.
            following = reader.submit(_read, cases[index + 1]) if index + 1 < len(cases) else None
            attempt = _Attempt(case, request.prompts.sha256(case.name))
            remove_files(request.folder, old_files[case.name])
            segmented = attempt.segment(request, reading)
            if writing is not None:
                writing.result()
            writing = writer.submit(_finish, attempt, segmented, done)
        if writing is not None:
            writing.result()


_Read = tuple[list[Volume], float]
"""Channels, and the seconds that reading them took."""


def _read(case: InputCase) -> _Read:
    began = time.monotonic()
    return case.read(), time.monotonic() - began


def _finish(attempt: _Attempt, segmented: SegmentedCase | None, done: Callable[[PredictedCase], None]) -> None:
    done(attempt.write(segmented))


@dataclass
class _Attempt:
    """What became of a case so far.

    Attributes:
        case: which.
        prompts_sha256: of its prompts.
        seconds: spent on it.
        device: on which it was segmented.
        warnings: of the whole case.
        error: why it failed.
    """

    case: InputCase
    prompts_sha256: str | None
    seconds: float = 0.0
    device: str = ""
    warnings: tuple[str, ...] = ()
    error: str | None = None

    def segment(self, request: Request, read: Future[_Read]) -> SegmentedCase | None:
        """Segments the case, or says why not."""
        began = time.monotonic()
        try:
            volumes, seconds = read.result()
            self.seconds += seconds
            return self._where_it_fits(request, volumes)
        except Exception as error:
            self._fail(error)
            return None
        finally:
            self.seconds += time.monotonic() - began

    def write(self, segmented: SegmentedCase | None) -> PredictedCase:
        """Writes what was segmented, and returns the result of the case."""
        began = time.monotonic()
        try:
            targets, files = ((), ()) if segmented is None else segmented.write()
        except Exception as error:
            targets, files = (), ()
            self._fail(error)
        return PredictedCase(
            case=self.case.name,
            seconds=self.seconds + time.monotonic() - began,
            device="" if self.error else self.device,
            prompts_sha256=self.prompts_sha256,
            files=files,
            targets=targets,
            warnings=self.warnings,
            error=self.error,
        )

    def _where_it_fits(self, request: Request, volumes: list[Volume]) -> SegmentedCase:
        """Segments on the mixture's device; with little kept where its memory runs out, and then on the processor."""
        mixture = request.mixture
        device = mixture.device
        self.device = device.type
        try:
            return segment_case(request, self.case, volumes, sparing=False)
        except OutOfMemoryError as error:
            shortage = f"the card's memory ran out ({str(error).splitlines()[0]})"
        # Outside of the handlers: their exceptions keep the tensors of the case.
        torch.cuda.empty_cache()
        self._warn(f"{shortage}: segmented again with little kept on the card, which takes longer")
        try:
            return segment_case(request, self.case, volumes, sparing=True)
        except OutOfMemoryError as error:
            shortage = f"the card's memory ran out again ({str(error).splitlines()[0]})"
        try:
            mixture.encoder.require("cpu")
        except UsageError as error:
            raise UsageError(f"{shortage}, and the processor cannot take over: {error}") from error
        self._warn(f"{shortage}: segmented on the processor, which takes much longer")
        mixture.to("cpu")
        torch.cuda.empty_cache()
        self.device = "cpu"
        try:
            return segment_case(request, self.case, volumes, sparing=False)
        finally:
            _return_to(device, mixture)

    def _warn(self, warning: str) -> None:
        logger.warning("%s: %s", self.case.name, warning)
        self.warnings = (*self.warnings, warning)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, SammoeError):
            self.error = str(error)
        else:
            self.error = f"{type(error).__name__}: {error}"
        if isinstance(error, SammoeError | OSError | MemoryError):
            logger.error("%s failed: %s", self.case.name, self.error)
            return
        # Hours of other cases are not to be lost for a fault that only one of them meets.
        self.error += ". This is a fault of the program; please report it."
        logger.error("%s failed: %s", self.case.name, self.error, exc_info=error)


def _return_to(device: torch.device, mixture: Mixture) -> None:
    """Takes a mixture back to the card; where another program has filled that meanwhile, it stays on the processor."""
    try:
        mixture.to(device)
    except OutOfMemoryError:
        mixture.to("cpu")
        logger.warning("The card is still full, so later cases are segmented on the processor, which takes much longer")
