import pytest
import torch

from sammoe_pipeline.model.locator import PLACES, Locator


@pytest.fixture
def locator() -> Locator:
    """Three classes, from six channels."""
    torch.manual_seed(0)
    return Locator(channels=6, num_classes=3, widths=(8, 6, 4)).requires_grad_(False)


def _nowhere(batch: int) -> torch.Tensor:
    return torch.zeros(batch, 3, 3, 3, PLACES)


def test_maps_have_four_cells_for_each_of_the_embedding(locator: Locator) -> None:
    assert locator(torch.randn(2, 6, 3, 3, 3), _nowhere(2)).shape == (2, 3, 12, 12, 12)


def test_cells_depend_on_the_embedding_where_they_lie_and_a_cell_beside(locator: Locator) -> None:
    embedding = torch.randn(1, 6, 3, 3, 3)
    other = embedding.clone()
    other[:, :, 2, 0, 1] += 1
    changed = (locator(embedding, _nowhere(1)) != locator(other, _nowhere(1))).any(dim=1)[0]
    expected = torch.zeros(12, 12, 12, dtype=torch.bool)
    expected[7:12, 0:5, 3:9] = True
    assert torch.equal(changed, expected)


def test_the_same_thing_in_another_place_may_be_another(locator: Locator) -> None:
    embedding = torch.randn(1, 6, 3, 3, 3)
    assert not torch.equal(locator(embedding, _nowhere(1)), locator(embedding, _nowhere(1) + 0.5))


def test_untrained_locator_finds_nothing(locator: Locator) -> None:
    assert locator(torch.randn(4, 6, 3, 3, 3), _nowhere(4)).sigmoid().max() < 0.2
