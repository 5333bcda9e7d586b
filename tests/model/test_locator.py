import pytest
import torch

from sammoe_pipeline.model.locator import Locator


@pytest.fixture
def locator() -> Locator:
    """Three classes, from six channels."""
    torch.manual_seed(0)
    return Locator(channels=6, num_classes=3, widths=(8, 6, 4)).requires_grad_(False)


def test_maps_have_four_cells_for_each_of_the_embedding(locator: Locator) -> None:
    assert locator(torch.randn(2, 6, 3, 3, 3)).shape == (2, 3, 12, 12, 12)


def test_cells_depend_on_the_embedding_where_they_lie(locator: Locator) -> None:
    embedding = torch.randn(1, 6, 3, 3, 3)
    other = embedding.clone()
    other[:, :, 2, 0, 1] += 1
    changed = (locator(embedding) != locator(other)).any(dim=1)[0]
    expected = torch.zeros(12, 12, 12, dtype=torch.bool)
    expected[8:12, 0:4, 4:8] = True
    assert torch.equal(changed, expected)


def test_untrained_locator_finds_nothing(locator: Locator) -> None:
    assert locator(torch.randn(4, 6, 3, 3, 3)).sigmoid().max() < 0.2
