from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sammoe_pipeline.errors import DownloadError
from sammoe_pipeline.hub import fetch
from tests.sammoe_pipeline.hub_server import COMMIT, HubServer, serve

REPOSITORY, FILE = "someone/Some-Model", "weights.pth"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with serve(HubServer(repository=REPOSITORY, file=FILE, content=bytes(range(256)) * 1000)) as server:
        yield server


def test_the_file_arrives_whole_with_its_address(hub: HubServer, tmp_path: Path) -> None:
    path, address = fetch(REPOSITORY, FILE, tmp_path / "downloads", endpoint=hub.endpoint)
    assert path.read_bytes() == hub.content
    assert address == f"{hub.endpoint}/{REPOSITORY}/resolve/{COMMIT}/{FILE}"


def test_a_stopped_download_goes_on_where_it_was(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.breaks_after = 100_000
    with pytest.raises(DownloadError):
        fetch(REPOSITORY, FILE, tmp_path, endpoint=hub.endpoint)
    hub.breaks_after, hub.broke = None, False
    hub.requests.clear()
    path, _ = fetch(REPOSITORY, FILE, tmp_path, endpoint=hub.endpoint)
    assert path.read_bytes() == hub.content
    assert hub.ranges == ["bytes=100000-"]


def test_what_has_arrived_is_not_fetched_again(hub: HubServer, tmp_path: Path) -> None:
    first, _ = fetch(REPOSITORY, FILE, tmp_path, endpoint=hub.endpoint)
    again, _ = fetch(REPOSITORY, FILE, tmp_path, endpoint=hub.endpoint)
    assert again == first
    assert hub.ranges == [None]


def test_a_damaged_file_is_refused_and_removed(hub: HubServer, tmp_path: Path) -> None:
    hub.announced = "0" * 64
    with pytest.raises(DownloadError, match="arrived damaged"):
        fetch(REPOSITORY, FILE, tmp_path, endpoint=hub.endpoint)
    assert list(tmp_path.iterdir()) == []


def test_what_grew_too_long_is_fetched_anew(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / hub.announced).write_bytes(hub.content + b"more")
    path, _ = fetch(REPOSITORY, FILE, tmp_path, endpoint=hub.endpoint)
    assert path.read_bytes() == hub.content


def test_a_file_that_the_hub_does_not_have_is_named(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=rf"{REPOSITORY}/resolve/main/other.pth could not be downloaded"):
        fetch(REPOSITORY, "other.pth", tmp_path, endpoint=hub.endpoint)


def test_no_token_is_sent(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(REPOSITORY, FILE, tmp_path, endpoint=hub.endpoint)
    assert hub.tokens == set()
