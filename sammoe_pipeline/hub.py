"""Files from the Hugging Face hub, resumed where an earlier download stopped."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from sammoe_pipeline.artefacts import sha256_of
from sammoe_pipeline.errors import DownloadError
from sammoe_pipeline.paths import safe_name

logger = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(repository: str, file: str, folder: Path, *, endpoint: str | None = None) -> tuple[Path, str]:
    """Downloads a file, or the rest of it, with a progress bar.

    What has arrived stays in `folder` when the download stops. `hf_hub_download` would begin again, since each call
    writes to a file of its own.

    Args:
        repository: on the hub, public; no token is sent.
        file: within the repository.
        folder: where it lies until the caller removes it, named by its content.
        endpoint: address of the hub; None takes `HF_ENDPOINT` from the environment, else the public hub.

    Returns:
        The file, and the address of the revision that it was taken from.

    Raises:
        DownloadError: the hub was not reached or does not have the file, or what came is not what it announced.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    address = hf_hub_url(repository, file, endpoint=endpoint)
    try:
        known = get_hf_file_metadata(address, token=False, endpoint=endpoint)
        address = hf_hub_url(repository, file, revision=known.commit_hash, endpoint=endpoint)
        path = folder / safe_name(str(known.etag))
        folder.mkdir(parents=True, exist_ok=True)
        if known.size is not None and path.is_file() and path.stat().st_size > known.size:
            path.unlink()  # Two downloads at once wrote to it.
        with path.open("ab") as target:
            if here := target.tell():
                logger.info("Going on after %.0f MB", here / 1e6)
            http_get(
                address,
                target,
                resume_size=here,
                expected_size=known.size,
                headers=build_hf_headers(token=False),
                displayed_filename=file,
            )
    except Exception as error:  # The hub's client raises what its transport does, and has changed transports.
        raise DownloadError(f"{address} could not be downloaded: {error}") from error
    # Of large files the hub's tag is the SHA-256.
    if _SHA256.fullmatch(path.name) and sha256_of(path) != path.name:
        path.unlink()
        raise DownloadError(f"{address} arrived damaged: its SHA-256 is not {path.name}. It was removed.")
    return path, address
