"""A published foundation from the hub to the installed ones."""

from __future__ import annotations

from pathlib import Path

from sammoe_pipeline.convert_checkpoint import convert_checkpoint
from sammoe_pipeline.errors import DownloadError, UsageError, did_you_mean
from sammoe_pipeline.foundations import Foundation, new_foundation_folder
from sammoe_pipeline.hub import fetch
from sammoe_pipeline.paths import DOWNLOADS, FOUNDATIONS
from sammoe_pipeline.published_foundations import PUBLISHED


def download_foundation(name: str, results: Path, *, endpoint: str | None = None) -> Foundation:
    """Downloads and converts a published foundation. A stopped download goes on where it was.

    Args:
        name: in `PUBLISHED`.
        results: the results root, where it is installed.
        endpoint: address of the hub; None takes `HF_ENDPOINT` from the environment, else the public hub.

    Raises:
        UsageError: none is published under that name, or it is installed already.
        DownloadError: it could not be fetched; the message says how to install it without the hub.
        ArtefactError: what was fetched is not what it should be.
    """
    if name not in PUBLISHED:
        raise UsageError(
            f"No foundation {name!r} is published.{did_you_mean(name, PUBLISHED)} There are: {', '.join(PUBLISHED)}."
        )
    folder = new_foundation_folder(name, results)
    published = PUBLISHED[name]
    try:
        file, address = fetch(
            published.repository, published.file, results / FOUNDATIONS / DOWNLOADS, endpoint=endpoint
        )
    except DownloadError as error:
        raise DownloadError(
            f"{error}\nThe same command goes on where it stopped. Without the hub: get {published.file} in any other "
            f"way, then sammoe_foundation convert --from {published.file} --name {name}"
        ) from error
    foundation = convert_checkpoint(
        file,
        folder,
        builder=published.builder,
        spacing_mm=published.spacing_mm,
        normalisation=published.normalisation,
        trained_on=published.trained_on,
        licence=published.licence,
        source=address,
    )
    file.unlink()
    return foundation
