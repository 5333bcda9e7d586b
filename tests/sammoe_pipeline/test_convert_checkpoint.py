from __future__ import annotations

import argparse
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sammoe_pipeline.convert_checkpoint import convert_checkpoint, read_weights
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.foundations import Foundation

State = dict[str, torch.Tensor]


@pytest.fixture
def state(nano_foundation: Foundation) -> State:
    return load_file(nano_foundation.weights)


@pytest.fixture
def convert(tmp_path: Path) -> Callable[..., Foundation]:
    """Converts `x.pth` as a `nano`."""

    def run(builder: str = "nano") -> Foundation:
        return convert_checkpoint(
            tmp_path / "x.pth",
            tmp_path / "foundations" / "mine",
            builder=builder,
            spacing_mm=1.5,
            normalisation="positive",
            trained_on=("Dataset007_Boxes",),
            licence="CC0-1.0",
            source="elsewhere",
        )

    return run


def training_checkpoint(state: State) -> dict[str, Any]:
    """What the public training code saves."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimiser = torch.optim.AdamW([parameter], lr=8e-4)
    parameter.grad = torch.ones(2)
    optimiser.step()
    return {
        "epoch": 3,
        "model_state_dict": OrderedDict(state),
        "optimizer_state_dict": optimiser.state_dict(),
        "lr_scheduler_state_dict": torch.optim.lr_scheduler.MultiStepLR(optimiser, [120, 180], 0.1).state_dict(),
        "losses": [0.5],
        "dices": [0.1],
        "best_loss": np.inf,
        "best_dice": 0.0,
        "args": argparse.Namespace(task_name="union_train", gpu_ids=[0, 1], lr=8e-4, checkpoint=None),
        "used_datas": ["data/train/liver"],
    }


def test_state_dict_alone_is_converted_unchanged(
    state: State, convert: Callable[..., Foundation], tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "x.pth")
    found = convert().load_model().state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_training_checkpoint_with_its_namespace_is_converted(
    state: State, convert: Callable[..., Foundation], tmp_path: Path
) -> None:
    torch.save(training_checkpoint(state), tmp_path / "x.pth")
    found = convert().load_model().state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_the_card_says_what_it_is(state: State, convert: Callable[..., Foundation], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "x.pth")
    card = convert().card
    assert (card.name, card.builder, card.spacing_mm, card.patch_size) == ("mine", "nano", 1.5, 16)
    assert (card.normalisation, card.prompt_history, card.licence) == ("positive", "all", "CC0-1.0")
    assert (card.source, card.trained_on, card.for_research_only) == ("elsewhere", ("Dataset007_Boxes",), False)


def test_views_of_shared_memory_are_stored_each_for_itself(
    state: State, convert: Callable[..., Foundation], tmp_path: Path
) -> None:
    flat = torch.cat([value.flatten() for value in state.values()])
    views, begin = {}, 0
    for name, value in state.items():
        views[name] = flat[begin : begin + value.numel()].view(value.shape)
        begin += value.numel()
    torch.save(views, tmp_path / "x.pth")
    found = convert().load_model().state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_every_wrong_key_is_in_one_error(state: State, convert: Callable[..., Foundation], tmp_path: Path) -> None:
    del state["mask_decoder.mask_tokens.weight"]
    state["image_encoder.pos_embed"] = torch.zeros(1, 2)
    state["image_encoder.extra"] = torch.zeros(1)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ArtefactError) as error:
        convert()
    assert "1 missing: mask_decoder.mask_tokens.weight" in str(error.value)
    assert "1 unknown: image_encoder.extra" in str(error.value)
    assert "1 of another shape: image_encoder.pos_embed is 1 x 2 instead of 1 x 4 x 4 x 4 x 24" in str(error.value)
    assert not (tmp_path / "foundations").exists()


def test_very_many_wrong_keys_are_shortened(state: State, convert: Callable[..., Foundation], tmp_path: Path) -> None:
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "x.pth")
    with pytest.raises(ArtefactError, match=rf"\.\.\. \({len(state)} in all\)") as error:
        convert()
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize("content", [{"epoch": 3, "net": {}}, [1, 2], {"model_state_dict": {"a": 1}}])
def test_file_without_a_state_dict_says_what_it_holds(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ArtefactError, match="holds no state dict"):
        read_weights(tmp_path / "x.pth")


class Hostile:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.fspath(self.mark),)


def test_hostile_object_does_what_the_next_test_looks_for(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Hostile(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


def save_new(content: object, path: Path) -> None:
    torch.save(content, path)


def save_old(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def save_plain(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("save", [save_new, save_old, save_plain])
@pytest.mark.parametrize("hidden", ["weights", "arguments", "beside"])
def test_hostile_pickle_is_refused_and_nothing_of_it_runs(
    save: Callable[[object, Path], None], hidden: str, tmp_path: Path
) -> None:
    hostile = Hostile(tmp_path / "mark")
    weights = {"a": hostile if hidden == "weights" else 1.0}
    arguments = argparse.Namespace(lr=hostile if hidden == "arguments" else 1.0)
    content = {"model_state_dict": weights, "args": arguments, "losses": hostile if hidden == "beside" else 0.0}
    save(content, tmp_path / "x.pth")
    with pytest.raises(ArtefactError, match="nothing in it was run"):
        read_weights(tmp_path / "x.pth")
    assert not (tmp_path / "mark").exists()


def test_refusal_names_what_was_asked_for(tmp_path: Path) -> None:
    torch.save({"a": Hostile(tmp_path / "mark")}, tmp_path / "x.pth")
    with pytest.raises(ArtefactError, match=r"asks for (posix|nt)\.mkdir"):
        read_weights(tmp_path / "x.pth")


def test_only_the_namespace_is_allowed_beside_plain_values(tmp_path: Path) -> None:
    torch.save({"best": np.float64(0.5)}, tmp_path / "x.pth")
    with pytest.raises(ArtefactError, match="nothing in it was run"):
        read_weights(tmp_path / "x.pth")


def test_nothing_stays_allowed_afterwards(state: State, tmp_path: Path) -> None:
    torch.save(training_checkpoint(state), tmp_path / "x.pth")
    read_weights(tmp_path / "x.pth")
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_broken_file_is_an_error_that_names_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"x\.pth"):
        read_weights(tmp_path / "x.pth")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"x\.pth does not exist"):
        read_weights(tmp_path / "x.pth")


def test_unknown_builder_is_an_error_of_the_flag(
    state: State, convert: Callable[..., Foundation], tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(UsageError, match=r"--builder: builder 'vit_z' is unknown"):
        convert("vit_z")
