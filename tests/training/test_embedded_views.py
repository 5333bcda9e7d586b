import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sammoe_pipeline.training import embedding_cache as module
from sammoe_pipeline.training.embedded_views import EmbeddedView, embed_training_views, embed_views
from sammoe_pipeline.training.embedding_cache import EmbeddingCache
from sammoe_pipeline.training.task_views import TaskViews
from tests.conftest import Workspace


def _views(workspace: Workspace, **changes: Any) -> TaskViews:
    settings = {
        "cases": workspace.planned.fold(0).train,
        "classes": ("near", "far"),
        "configuration": workspace.foundation.native,
        "normalisation": "equalised",
        "seed": (0, 1),
    }
    return TaskViews(workspace.planned, **{**settings, **changes})


class _Counting:
    """An encoder that counts what it is given."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.images += len(images)
        return images[:, :, 4:7, 4:7, 4:7]


def _embed(views: TaskViews, numbers: Sequence[int], cache: EmbeddingCache | None) -> tuple[list[EmbeddedView], int]:
    encoder = _Counting()
    made = embed_training_views(encoder, views, numbers, cache=cache, device="cpu", description="test")
    return made, encoder.images


def test_every_view_is_embedded_in_its_place(workspace: Workspace) -> None:
    model = workspace.foundation.load_model()
    drawn = [_views(workspace).training_view(index) for index in range(11)]
    embedded = embed_views(model.encode, drawn, device="cpu", description="test")
    for index, view in enumerate(embedded):
        with torch.inference_mode():
            alone = model.encode(drawn[index].image[None, None])[0]
        assert view.embedding.dtype == torch.float16
        error = (view.embedding.float() - alone).norm() / alone.norm()
        others = (embedded[index - 1].embedding.float() - alone).norm() / alone.norm()
        assert error < 0.01 < 0.1 < others
        assert torch.equal(view.target, drawn[index].target)
        assert torch.equal(view.valid, drawn[index].valid)
        assert (view.click, view.class_name) == (drawn[index].click, drawn[index].class_name)


def _same(first: list[EmbeddedView], second: list[EmbeddedView]) -> bool:
    return all(
        torch.equal(a.embedding, b.embedding)
        and torch.equal(a.target, b.target)
        and torch.equal(a.valid, b.valid)
        and (a.click, a.class_name) == (b.click, b.class_name)
        for a, b in zip(first, second, strict=True)
    )


def test_view_that_was_kept_is_not_encoded_again(workspace: Workspace, tmp_path: Path) -> None:
    plain, _ = _embed(_views(workspace), range(12), None)
    first, encoded = _embed(_views(workspace), range(12), EmbeddingCache(tmp_path, {}, limit=1e9))
    assert encoded == 12
    second, encoded = _embed(_views(workspace), range(12), EmbeddingCache(tmp_path, {}, limit=1e9))
    assert encoded == 0
    assert _same(plain, first) and _same(first, second)


def test_folds_share_the_views_of_the_cases_that_they_share(workspace: Workspace, tmp_path: Path) -> None:
    a, b, c, _ = sorted({case for fold in workspace.planned.splits.folds for case in fold.train})
    one, _ = _embed(_views(workspace, cases=(a, b)), range(16), EmbeddingCache(tmp_path, {}, limit=1e9))
    other, encoded = _embed(
        _views(workspace, cases=(b, c), seed=(7, 1)), range(16), EmbeddingCache(tmp_path, {}, limit=1e9)
    )
    assert encoded == 8
    in_both = [view for view in other if any(torch.equal(view.embedding, known.embedding) for known in one)]
    assert len(in_both) == 8


@pytest.mark.parametrize("change", [{"foundation": "b"}, {"augmentation": 2}, {"configuration": {"spacing_mm": 2.0}}])
def test_what_was_made_otherwise_is_not_found(workspace: Workspace, tmp_path: Path, change: dict[str, Any]) -> None:
    recipe: dict[str, Any] = {"foundation": "a", "augmentation": 1, "configuration": {"spacing_mm": 1.0}}
    _embed(_views(workspace), range(4), EmbeddingCache(tmp_path, recipe, limit=1e9))
    assert _embed(_views(workspace), range(4), EmbeddingCache(tmp_path, recipe | change, limit=1e9))[1] == 4


def test_broken_file_is_embedded_again(workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, _ = _embed(_views(workspace), range(4), EmbeddingCache(tmp_path, {}, limit=1e9))
    broken = sorted(tmp_path.rglob("*.safetensors"))[0]
    broken.write_bytes(broken.read_bytes()[:50])
    again, encoded = _embed(_views(workspace), range(4), EmbeddingCache(tmp_path, {}, limit=1e9))
    assert encoded == 1 and _same(whole, again)
    assert str(broken) in caplog.text


def test_disk_that_cannot_be_written_to_costs_nothing_but_time(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_bytes", refuse)
    views = _views(workspace)
    without, _ = _embed(views, range(4), None)
    made, _ = _embed(views, range(4), EmbeddingCache(tmp_path, {}, limit=1e9))
    assert _same(made, without)
    assert caplog.text.count("No space left on device") == 1


def test_cache_stays_below_its_limit_and_lets_go_of_what_is_oldest(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _embed(_views(workspace), range(4), EmbeddingCache(tmp_path, {"run": 1}, limit=1e9))
    size = max(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    limit = 6.5 * size
    _embed(_views(workspace), range(6), EmbeddingCache(tmp_path, {"run": 2}, limit=limit))
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) <= limit
    assert _embed(_views(workspace), range(6), EmbeddingCache(tmp_path, {"run": 2}, limit=limit))[1] == 0
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        _embed(_views(workspace), range(12), EmbeddingCache(tmp_path, {"run": 2}, limit=limit))
    assert "Allow more with --cache_gb" in caplog.text
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) <= limit
