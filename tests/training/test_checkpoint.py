import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from sammoe_pipeline.errors import ArtefactError
from sammoe_pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from sammoe_pipeline.training.optimisation import make_optimiser


class _Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._trace),)


def test_state_of_a_training_comes_back_as_it_was(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    optimiser = make_optimiser(model, 1e-3)
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    rows = [{"iteration": 3, "loss": 0.5, "calibration_dice": {"liver": 0.25}}]
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "log": rows, "best_weights": None}
    save_checkpoint(tmp_path / "a" / "checkpoint.pt", state)
    loaded = load_checkpoint(tmp_path / "a" / "checkpoint.pt")
    assert loaded["log"] == rows and loaded["best_weights"] is None
    torch.testing.assert_close(loaded["model"], dict(model.state_dict()))
    torch.testing.assert_close(loaded["optimiser"], optimiser.state_dict())


def test_failed_save_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"iteration": 1})
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        save_checkpoint(path, {"iteration": 2, "not picklable": lambda: None})
    assert load_checkpoint(path) == {"iteration": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_pickle_with_code_is_refused_and_the_code_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "checkpoint.pt", tmp_path / "trace"
    torch.save({"model": _Attack(trace)}, path)
    with pytest.raises(ArtefactError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    assert not trace.exists()
    # The file is an attack indeed: plain unpickling runs it.
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        pickle.loads(archive.read(name))
    assert trace.exists()


def test_plain_pickle_with_code_is_refused_and_the_code_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "checkpoint.pt", tmp_path / "trace"
    path.write_bytes(pickle.dumps(_Attack(trace)))
    with pytest.raises(ArtefactError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    assert not trace.exists()


def test_truncated_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"weights": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ArtefactError, match="Remove it to start again"):
        load_checkpoint(path)


def test_missing_checkpoint_is_nothing_to_continue(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"checkpoint\.pt does not exist: there is nothing to continue"):
        load_checkpoint(tmp_path / "checkpoint.pt")
