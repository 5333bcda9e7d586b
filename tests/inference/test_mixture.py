import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sammoe_pipeline.artefacts import Configuration, MixtureCard, sha256_of
from sammoe_pipeline.clicks import Click
from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.geometry import Shape
from sammoe_pipeline.image_io import Volume
from sammoe_pipeline.inference.case_image import CaseImage
from sammoe_pipeline.inference.encoded_case import EncodedCase
from sammoe_pipeline.inference.mixture import Mixture
from sammoe_pipeline.inference.prompt_description import describe, gate_configurations, new_gate
from sammoe_pipeline.inference.routing import GENERAL, Routing, expert_key, reconsider, select
from sammoe_pipeline.inference.segment import Answer, segment
from sammoe_pipeline.model import MaskDecoder, SamMed3D
from sammoe_pipeline.model.locator import Locator
from sammoe_pipeline.model.prompt_features import num_prompt_features
from sammoe_pipeline.paths import EXPERT_WEIGHTS, GATE_WEIGHTS, LOCATOR_WEIGHTS, MIXTURE_JSON, Results
from tests.inference.conftest import DATASET, NATIVE, FixedGate, expert, member, mixture_card

FINE = Configuration(name="fine", spacing_mm=0.5, patch_size=16)
NEAR, FAR = expert_key(DATASET, "near_task"), expert_key(DATASET, "far_task")
EXPERTS = (
    expert("near_task", "near", folds=2),
    expert("far_task", "far", "farther", configuration=FINE, folds=2),
)
CLICK = Click(position=(6.0, 5.0, 7.0))


@pytest.fixture(scope="module")
def model(nano_foundation: Foundation) -> SamMed3D:
    return nano_foundation.load_model()


@pytest.fixture(scope="module")
def image() -> CaseImage:
    """A random image smaller than a window: 12 x 11 x 14 voxels of 1 mm, against the canonical x and y axes."""
    data = np.random.default_rng(0).normal(size=(12, 11, 14)).astype(np.float32)
    return CaseImage([Volume(data=data, affine=np.diag([-1.0, -1.0, 1.0, 1.0]))])


@pytest.fixture
def case(image: CaseImage, model: SamMed3D, nano_foundation: Foundation) -> EncodedCase:
    return EncodedCase(image, model=model, normalisation=nano_foundation.card.normalisation)


def _decoder(model: SamMed3D, seed: int) -> MaskDecoder:
    decoder = copy.deepcopy(model.mask_decoder)
    generator = torch.Generator().manual_seed(seed)
    for parameter in decoder.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return decoder


@pytest.fixture
def make_mixture(model: SamMed3D, nano_foundation: Foundation) -> Callable[..., Mixture]:
    """Returns a function that joins both experts, of two folds each, by gates of known confidences."""

    def make(*gates: FixedGate) -> Mixture:
        entries = [member({"near": 1, "far": 2, "farther": 3, "plain": 4})]
        return Mixture(
            foundation=nano_foundation,
            model=model,
            card=mixture_card(nano_foundation, entries, EXPERTS),
            experts=EXPERTS,
            decoders={NEAR: [_decoder(model, 1), _decoder(model, 2)], FAR: [_decoder(model, 3)]},
            gates=list(gates),  # type: ignore[arg-type]
        )

    return make


def test_experts_from_the_threshold_on_answer_by_their_confidence() -> None:
    confidences = {GENERAL: 0.1, "a": 0.3, "b": 0.45, "c": 0.15}
    chosen = select(confidences, thresholds=dict.fromkeys("abcd", 0.3), top_k=3).chosen
    assert chosen == pytest.approx({"b": 0.6, "a": 0.4})
    assert list(chosen) == ["b", "a"]


def test_only_the_most_confident_experts_answer_together() -> None:
    chosen = select({GENERAL: 0.1, "a": 0.3, "b": 0.4, "c": 0.2}, thresholds=dict.fromkeys("abc", 0.1), top_k=2).chosen
    assert chosen == pytest.approx({"b": 4 / 7, "a": 3 / 7})


def test_general_expert_answers_alone_below_the_threshold_however_sure_it_is() -> None:
    for general in (0.02, 0.51):
        assert select({GENERAL: general, "a": 0.49}, thresholds={"a": 0.5}, top_k=2).chosen == {}


@pytest.mark.parametrize(("other", "chosen"), [(0.7, {"a": 1.0}), (0.8, {"b": 1.0})])
def test_whoever_answers_goes_on_until_another_is_three_times_as_likely(other: float, chosen: dict[str, float]) -> None:
    before = Routing({GENERAL: 0.2, "a": 0.7, "b": 0.1}, chosen={"a": 1.0})
    after = {GENERAL: 0.0, "a": 1 - other, "b": other}
    decided = reconsider(before, after, thresholds={"a": 0.5, "b": 0.5}, top_k=2)
    assert decided == Routing(confidences=after, chosen=chosen)


def test_each_expert_answers_from_its_own_threshold_on() -> None:
    confidences = {GENERAL: 0.1, "a": 0.5, "b": 0.4}
    assert select(confidences, thresholds={"a": 0.6, "b": 0.3}, top_k=2).chosen == {"b": 1.0}


def test_routing_is_named_for_its_largest_share() -> None:
    assert Routing(confidences={}, chosen={"a": 0.4, "b": 0.6}).label == "b"
    assert Routing(confidences={}, chosen={}).label == GENERAL


def test_equal_configurations_are_one_whatever_their_names(nano_foundation: Foundation) -> None:
    same = FINE.model_copy(update={"name": "again"})
    experts = [
        expert("a", "a", configuration=FINE),
        expert("b", "b", configuration=NATIVE.model_copy(update={"name": "as_it_is"})),
        expert("c", "c", configuration=same),
        expert("d", "d", configuration=FINE.model_copy(update={"channel": 1})),
    ]
    configurations, indices = gate_configurations(nano_foundation, experts)
    assert indices == [1, 0, 1, 2]
    assert configurations == [nano_foundation.native, FINE, experts[3].configuration]


def test_prompt_is_described_in_one_configuration_as_among_several(case: EncodedCase) -> None:
    both = describe(case, [CLICK], [NATIVE, FINE])
    assert both.shape == (1, 2, num_prompt_features(24, 0))
    torch.testing.assert_close(both[:, 1:], describe(case, [CLICK], [FINE]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("for_answers", [True, False])
def test_clicks_are_described_together_as_each_is_alone(
    for_answers: bool, model: SamMed3D, image: CaseImage, case: EncodedCase
) -> None:
    clicks = [CLICK, Click(position=(2.0, 3.0, 4.0)), Click(position=(9.0, 3.0, 4.0))]
    together = describe(case, clicks, [NATIVE, FINE], for_answers=for_answers)
    alone = [
        describe(EncodedCase(image, model=model, normalisation="equalised"), [click], [NATIVE, FINE])
        for click in clicks
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-3)


def test_negative_click_is_described_by_what_it_lies_on(case: EncodedCase) -> None:
    negative = Click(position=CLICK.position, positive=False)
    torch.testing.assert_close(describe(case, [negative], [FINE]), describe(case, [CLICK], [FINE]))


def test_click_is_described_once(case: EncodedCase, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    decode = SamMed3D.decode

    def counted(self: SamMed3D, embedding: torch.Tensor, *args: torch.Tensor) -> torch.Tensor:
        asked.append(len(embedding))
        return decode(self, embedding, *args)

    monkeypatch.setattr(SamMed3D, "decode", counted)
    other = Click(position=(2.0, 3.0, 4.0))
    describe(case, [CLICK], [NATIVE, FINE])
    describe(case, [CLICK, other, CLICK], [NATIVE])
    assert sum(asked) == 3


def test_general_answer_is_the_foundations_own_to_the_bit(
    make_mixture: Callable[..., Mixture], image: CaseImage, nano_foundation: Foundation
) -> None:
    mixture = make_mixture(FixedGate(0.6, 0.2, 0.2))
    case = mixture.encode(image)
    routing = mixture.route(case, [CLICK])
    answer = mixture.answer(case, [CLICK], routing, general_configuration=nano_foundation.native)
    fresh = EncodedCase(image, model=nano_foundation.load_model(), normalisation=nano_foundation.card.normalisation)
    assert routing.chosen == {}
    assert torch.equal(answer.full(), fresh.answer([CLICK], nano_foundation.native).full())


def test_answer_of_a_case_is_the_segmentation_in_its_configuration_on_the_canonical_grid(
    case: EncodedCase, image: CaseImage
) -> None:
    local = image.click_in_configuration(CLICK, FINE)
    expected = segment(case.at(FINE), [local]).on(image.shape)
    answer = case.answer([CLICK], FINE)
    assert answer.grid == image.shape
    assert torch.equal(answer.full(), expected.full())


def test_one_chosen_expert_answers_as_it_does_alone(make_mixture: Callable[..., Mixture], case: EncodedCase) -> None:
    mixture = make_mixture(FixedGate(0.2, 0.7, 0.1))
    routing = mixture.route(case, [CLICK])
    assert routing.chosen == {NEAR: 1.0}
    answer = mixture.answer(case, [CLICK], routing, general_configuration=NATIVE)
    assert torch.equal(answer.full(), mixture.expert_answer(case, [CLICK], NEAR).full())


def test_several_chosen_experts_are_blended_by_their_weights(
    make_mixture: Callable[..., Mixture], case: EncodedCase
) -> None:
    mixture = make_mixture()
    parts = {key: mixture.expert_answer(case, [CLICK], key) for key in (NEAR, FAR)}
    routing = Routing(confidences={}, chosen={FAR: 0.75, NEAR: 0.25})
    answer = mixture.answer(case, [CLICK], routing, general_configuration=NATIVE)
    torch.testing.assert_close(answer.full(), 0.25 * parts[NEAR].full() + 0.75 * parts[FAR].full())
    assert len(answer.windows) == len(parts[NEAR].windows) + len(parts[FAR].windows)


def test_folds_of_an_expert_answer_with_their_mean_logits(
    make_mixture: Callable[..., Mixture], case: EncodedCase
) -> None:
    mixture = make_mixture()
    each = [case.answer([CLICK], NATIVE, [decoder]).full() for decoder in mixture.decoders[NEAR]]
    assert not torch.allclose(each[0], each[1])
    torch.testing.assert_close(mixture.expert_answer(case, [CLICK], NEAR).full(), (each[0] + each[1]) / 2)


def test_prompt_without_a_class_may_go_to_any_expert(make_mixture: Callable[..., Mixture], case: EncodedCase) -> None:
    routing = make_mixture(FixedGate(0.2, 0.3, 0.5)).route(case, [CLICK])
    assert routing.confidences == pytest.approx({GENERAL: 0.2, NEAR: 0.3, FAR: 0.5})
    assert list(routing.chosen) == [FAR]


def test_named_class_goes_to_its_own_expert_or_the_general_one(
    make_mixture: Callable[..., Mixture], case: EncodedCase
) -> None:
    mixture = make_mixture(FixedGate(0.2, 0.3, 0.5))
    routing = mixture.route(case, [CLICK], dataset=DATASET, class_name="near")
    assert routing.confidences == pytest.approx({GENERAL: 0.4, NEAR: 0.6})
    assert routing.chosen == {NEAR: 1.0}


def test_class_without_an_expert_is_the_general_ones(make_mixture: Callable[..., Mixture], case: EncodedCase) -> None:
    routing = make_mixture(FixedGate(0.0, 0.5, 0.5)).route(case, [CLICK], dataset=DATASET, class_name="plain")
    assert routing == Routing(confidences={GENERAL: 1.0}, chosen={})


class _Watched(FixedGate):
    """Keeps what each click counted whenever it was asked."""

    def __init__(self, *values: float) -> None:
        super().__init__(*values)
        self.votes: list[Sequence[float] | None] = []

    def confidences(
        self, descriptions: torch.Tensor, looked_into: Sequence[int], votes: Sequence[float] | None = None
    ) -> torch.Tensor:
        assert votes is not None and descriptions.shape[1] == len(votes)
        self.votes.append(list(votes))
        return super().confidences(descriptions, looked_into, votes)


def _ball(shape: Shape) -> Answer:
    """An answer of radius 4 in the middle of a grid."""
    distance = np.linalg.norm(np.indices(shape) - np.array(shape)[:, None, None, None] // 2, axis=0)
    logits = torch.from_numpy(np.where(distance <= 4, 3.0, -3.0).astype(np.float32))
    return Answer(logits=logits, start=(0, 0, 0), grid=shape, windows=())


def test_click_deep_in_a_wrong_answer_brings_another(make_mixture: Callable[..., Mixture], case: EncodedCase) -> None:
    gate = _Watched(0.45, 0.5, 0.05)
    x, y, z = (side // 2 for side in case.image.shape)
    wrong = Click(position=(x, y, z), positive=False)
    first, second = (
        make_mixture(gate).route(case, clicks, answer=lambda clicks, routing: _ball(case.image.shape))
        for clicks in ([CLICK], [CLICK, wrong])
    )
    assert (first.label, second.label) == (NEAR, GENERAL)
    assert gate.votes == [[1.0], [1.0], [1.0, -1.0]]


def test_click_at_the_border_of_an_answer_is_not_heard(make_mixture: Callable[..., Mixture], case: EncodedCase) -> None:
    gate = _Watched(0.45, 0.5, 0.05)
    x, y, z = (side // 2 for side in case.image.shape)
    beside = Click(position=(x, y, z + 4), positive=False)
    routing = make_mixture(gate).route(case, [CLICK, beside], answer=lambda clicks, routing: _ball(case.image.shape))
    assert (routing.label, gate.votes) == (NEAR, [[1.0]])


def test_clicks_follow_what_the_mixture_answered(make_mixture: Callable[..., Mixture], case: EncodedCase) -> None:
    asked: list[tuple[int, str]] = []

    def answer(clicks: Sequence[Click], routing: Routing) -> Answer:
        asked.append((len(clicks), routing.label))
        return _ball(case.image.shape)

    x, y, z = (side // 2 for side in case.image.shape)
    wrong = Click(position=(x, y, z), positive=False)
    make_mixture(FixedGate(0.45, 0.5, 0.05)).route(case, [CLICK, wrong, wrong], answer=answer)
    assert asked == [(1, NEAR), (2, GENERAL)]


def test_gates_of_folds_decide_together(make_mixture: Callable[..., Mixture], case: EncodedCase) -> None:
    routing = make_mixture(FixedGate(0.1, 0.9, 0.0), FixedGate(0.7, 0.1, 0.2)).route(case, [CLICK])
    assert routing.confidences == pytest.approx({GENERAL: 0.4, NEAR: 0.5, FAR: 0.1})


def test_expert_of_a_class_is_found_by_dataset(make_mixture: Callable[..., Mixture]) -> None:
    mixture = make_mixture()
    assert mixture.expert_of(DATASET, "farther") == FAR
    assert mixture.expert_of(DATASET, "plain") is None
    assert mixture.expert_of("Dataset008_Others", "near") is None


@pytest.mark.parametrize("name", ["7", "007", "Boxes", DATASET, " 'Boxes' "])
def test_dataset_is_found_by_id_or_name(make_mixture: Callable[..., Mixture], name: str) -> None:
    assert make_mixture().dataset_named(name) == DATASET


def test_dataset_that_the_mixture_lacks_is_named_with_those_it_holds(make_mixture: Callable[..., Mixture]) -> None:
    with pytest.raises(UsageError, match=rf"-d 8: .* It holds: {DATASET}"):
        make_mixture().dataset_named("8")


@dataclass(frozen=True)
class Stored:
    """A mixture on disk."""

    root: Path
    places: Results
    card: MixtureCard


@pytest.fixture
def stored(tmp_path: Path, model: SamMed3D, nano_foundation: Foundation) -> Stored:
    """Two experts and a locator of two folds each, and their gates, saved under results."""
    places = Results(root=tmp_path, foundation=nano_foundation.card.name)
    folds = ("0", "1")

    def save(path: Path, state: dict[str, torch.Tensor]) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in state.items()}, path)
        return sha256_of(path)

    experts = []
    for number, entry in enumerate(EXPERTS):
        hashes = {}
        for fold in folds:
            path = places.expert_fold(DATASET, entry.task, int(fold)) / EXPERT_WEIGHTS
            hashes[fold] = save(path, _decoder(model, 10 * number + int(fold)).state_dict())
        experts.append(entry.model_copy(update={"sha256": hashes}))
    entry = member({"near": 1, "far": 2, "farther": 3})
    entry = entry.model_copy(update={"locator_fold": {"0": 0, "1": 1}})
    card = mixture_card(nano_foundation, [entry], experts, folds=(0, 1))
    locators, gates = {}, {}
    for fold in folds:
        torch.manual_seed(int(fold))
        locator = Locator(channels=24, num_classes=3)
        locators[fold] = save(places.locator_fold(DATASET, int(fold)) / LOCATOR_WEIGHTS, locator.state_dict())
        gate = new_gate(nano_foundation, model, card.datasets, experts)
        gates[fold] = save(places.gate_fold("default", int(fold)) / GATE_WEIGHTS, gate.state_dict())
    (entry,) = card.datasets
    entry = entry.model_copy(update={"locator_sha256": locators})
    card = card.model_copy(update={"datasets": (entry,), "gate_sha256": gates})
    card.save(places.mixture("default") / MIXTURE_JSON)
    return Stored(root=tmp_path, places=places, card=card)


def _load(stored: Stored, foundation: Foundation, name: str = "default", folds: Sequence[int] | None = None) -> Mixture:
    return Mixture.load(name, foundation=foundation, results=stored.root, device="cpu", folds=folds)


def test_mixture_is_loaded_with_the_weights_of_every_fold(
    stored: Stored, nano_foundation: Foundation, model: SamMed3D
) -> None:
    mixture = _load(stored, nano_foundation)
    assert [len(mixture.decoders[key]) for key in (NEAR, FAR)] == [2, 2]
    assert (len(mixture.gates), len(mixture.locators[DATASET])) == (2, 2)
    torch.testing.assert_close(mixture.decoders[FAR][1].state_dict(), _decoder(model, 11).state_dict())
    modules = [*mixture.decoders[NEAR], *mixture.gates, *mixture.locators[DATASET]]
    assert not any(module.training for module in modules)
    assert not any(parameter.requires_grad for module in modules for parameter in module.parameters())


def test_one_fold_of_a_mixture_is_loaded_alone(stored: Stored, nano_foundation: Foundation, model: SamMed3D) -> None:
    mixture = _load(stored, nano_foundation, folds=[1])
    assert [len(mixture.decoders[NEAR]), len(mixture.gates), len(mixture.locators[DATASET])] == [1, 1, 1]
    torch.testing.assert_close(mixture.decoders[NEAR][0].state_dict(), _decoder(model, 1).state_dict())


@pytest.mark.parametrize("kind", ["expert", "locator", "gate"])
def test_changed_weights_are_refused(stored: Stored, nano_foundation: Foundation, kind: str) -> None:
    path = {
        "expert": stored.places.expert_fold(DATASET, "far_task", 1) / EXPERT_WEIGHTS,
        "locator": stored.places.locator_fold(DATASET, 0) / LOCATOR_WEIGHTS,
        "gate": stored.places.gate_fold("default", 1) / GATE_WEIGHTS,
    }[kind]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ArtefactError, match=f"{path.name} has SHA-256"):
        _load(stored, nano_foundation)


def test_missing_expert_is_named(stored: Stored, nano_foundation: Foundation) -> None:
    (stored.places.expert_fold(DATASET, "near_task", 0) / EXPERT_WEIGHTS).unlink()
    with pytest.raises(ArtefactError, match=r"near_task/fold_0/expert\.safetensors does not exist"):
        _load(stored, nano_foundation)


def test_mixture_of_another_foundation_is_refused(stored: Stored, nano_foundation: Foundation) -> None:
    other = replace(nano_foundation, card=nano_foundation.card.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(ArtefactError, match="belongs to foundation weights"):
        _load(stored, other)


def test_unknown_mixture_is_named_with_those_there_are(stored: Stored, nano_foundation: Foundation) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'default'\? There are: default"):
        _load(stored, nano_foundation, name="defualt")


def test_unknown_fold_is_named_with_those_there_are(stored: Stored, nano_foundation: Foundation) -> None:
    with pytest.raises(UsageError, match="-f 5: mixture 'default' has folds 0, 1"):
        _load(stored, nano_foundation, folds=[0, 5])


def test_without_a_mixture_the_foundation_answers_alone(
    tmp_path: Path, nano_foundation: Foundation, case: EncodedCase, caplog: pytest.LogCaptureFixture
) -> None:
    mixture = Mixture.load_or_general(None, foundation=nano_foundation, results=tmp_path, device="cpu", folds=None)
    assert "answers alone" in caplog.text
    assert mixture.card is None
    assert mixture.route(case, [CLICK]) == Routing(confidences={GENERAL: 1.0}, chosen={})


def test_mixture_that_was_asked_for_by_name_must_be_there(tmp_path: Path, nano_foundation: Foundation) -> None:
    with pytest.raises(UsageError, match="sammoe_train_gate -m mine"):
        Mixture.load_or_general("mine", foundation=nano_foundation, results=tmp_path, device="cpu", folds=None)


def test_default_mixture_is_taken_where_there_is_one(stored: Stored, nano_foundation: Foundation) -> None:
    mixture = Mixture.load_or_general(None, foundation=nano_foundation, results=stored.root, device="cpu", folds=[0])
    assert mixture.card == stored.card
