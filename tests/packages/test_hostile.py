"""Packages made by an enemy: each is refused with its reason, and nothing is written anywhere."""

from __future__ import annotations

import io
import json
import pickle
import stat
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from sammoe_pipeline.errors import ArtefactError, UnreadableFileError
from sammoe_pipeline.packages.contents import describe_content
from sammoe_pipeline.packages.install import install_package
from sammoe_pipeline.paths import MANIFEST_JSON
from tests.packages.conftest import Site, members

FOLD = "Dataset007_Boxes/boxes/fold_0"
CARD, WEIGHTS = f"{FOLD}/expert.json", f"{FOLD}/expert.safetensors"


@dataclass
class Forgery:
    """A package to be changed.

    Attributes:
        content: of its members, the manifest apart.
        manifest: as JSON.
        attributes: of members that are more than files, by name.
        repeated: members to be written twice.
        compressed: whether members are deflated.
    """

    content: dict[str, bytes]
    manifest: dict[str, Any]
    attributes: dict[str, int] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    compressed: bool = False

    def put(self, name: str, content: bytes) -> None:
        """Writes a member and declares it, as a careful enemy does."""
        self.content[name] = content
        self.entry(name).update(describe_content(name, content).model_dump())

    def entry(self, name: str) -> dict[str, Any]:
        """Returns the manifest's entry of a member, a new one where it has none."""
        for entry in self.manifest["files"]:
            if entry["path"] == name:
                return entry  # type: ignore[no-any-return]
        self.manifest["files"].append({"path": name})
        return self.manifest["files"][-1]  # type: ignore[no-any-return]

    def change_card(self, **changes: Any) -> None:
        """Changes the card of fold 0."""
        self.put(CARD, json.dumps(json.loads(self.content[CARD]) | changes).encode())

    def put_weights(self, content: bytes) -> None:
        """Puts other weights into fold 0, with the card that names them."""
        self.put(WEIGHTS, content)
        self.change_card(sha256=self.entry(WEIGHTS)["sha256"])

    def write(self, path: Path) -> None:
        """Writes the package."""
        everything = {MANIFEST_JSON: json.dumps(self.manifest).encode(), **self.content}
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a name occurs twice is the point
            for name in [*everything, *self.repeated]:
                member = zipfile.ZipInfo(name)
                member.external_attr = self.attributes.get(name, stat.S_IFREG | 0o644) << 16
                kind = zipfile.ZIP_DEFLATED if self.compressed else zipfile.ZIP_STORED
                archive.writestr(member, everything[name], compress_type=kind)


def forge(path: Path) -> Forgery:
    content = members(path)
    return Forgery(manifest=json.loads(content.pop(MANIFEST_JSON)), content=content)


def longer_than_declared(forgery: Forgery) -> None:
    forgery.content[WEIGHTS] += bytes(50_000_000)
    forgery.compressed = True


def larger_than_can_be(forgery: Forgery) -> None:
    forgery.put(WEIGHTS, bytes(50_000_000))
    forgery.change_card(sha256=forgery.entry(WEIGHTS)["sha256"])
    forgery.compressed = True


def wrong_hash(forgery: Forgery) -> None:
    forgery.content[WEIGHTS] = forgery.content[WEIGHTS][:-1] + b"\1"


def other_weights_than_the_card_names(forgery: Forgery) -> None:
    forgery.put(WEIGHTS, save({name: value + 1 for name, value in load(forgery.content[WEIGHTS]).items()}))


def wrong_shape(forgery: Forgery) -> None:
    state = load(forgery.content[WEIGHTS])
    name = next(iter(state))
    forgery.put_weights(save({**state, name: torch.zeros(3, 5)}))


def wrong_keys(forgery: Forgery) -> None:
    state = load(forgery.content[WEIGHTS])
    forgery.put_weights(save({**state, "another": torch.zeros(3)}))


class Attack:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, ("unpickled", "w")


def torch_pickle(forgery: Forgery) -> None:
    file = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, file)
    forgery.put_weights(file.getvalue())


def another_foundation(forgery: Forgery) -> None:
    forgery.manifest["foundation"].update(name="sam_med3d_turbo", sha256="ab" * 32)


def another_view_of_images(forgery: Forgery) -> None:
    forgery.manifest["foundation"].update(normalisation="positive")


FORGERIES: dict[str, tuple[Callable[[Forgery], Any], str]] = {
    "climbs": (lambda f: f.put("../evil.safetensors", b""), "'../evil.safetensors' is not a plain name"),
    "climbs inside": (lambda f: f.put(f"{FOLD}/../../../evil.json", b""), "is not a plain name"),
    "absolute": (lambda f: f.put("/etc/evil.safetensors", b""), "'/etc/evil.safetensors' is not a plain name"),
    "backslash": (lambda f: f.put("..\\evil.safetensors", b""), "is not a plain name"),
    "drive": (lambda f: f.put("C:evil.safetensors", b""), "is not a plain name"),
    "hidden": (lambda f: f.put(".bashrc", b""), "'.bashrc' is not a plain name"),
    "folder": (lambda f: f.put("Dataset007_Boxes/", b""), "is not a plain name"),
    "link": (lambda f: f.attributes.update({WEIGHTS: stat.S_IFLNK | 0o777}), "is a link or another special file"),
    "duplicate": (lambda f: f.repeated.append(WEIGHTS), f"{WEIGHTS} is in it twice"),
    "declared twice": (lambda f: f.manifest["files"].append(f.manifest["files"][0]), "names a file twice"),
    "undeclared": (lambda f: f.content.update({f"{FOLD}/more.json": b""}), "fold_0/more.json is not in its manifest"),
    "missing": (lambda f: f.content.pop(WEIGHTS), f"{WEIGHTS} is in its manifest and not in the archive"),
    "wrong hash": (wrong_hash, "has SHA-256"),
    "bomb": (longer_than_declared, "is longer than"),
    "declared bomb": (larger_than_can_be, "has 50000000 bytes by its manifest, and can have"),
    "shorter": (lambda f: f.content.update({WEIGHTS: f.content[WEIGHTS][:-1]}), "its manifest says"),
    "other foundation": (another_foundation, r"'sam_med3d_turbo' \(abab.*in use is 'nano'"),
    "other normalisation": (another_view_of_images, "normalisation is positive there and equalised here"),
    "card of another foundation": (lambda f: f.change_card(foundation_sha256="0" * 64), "belongs to another found"),
    "unknown schema": (lambda f: f.manifest.update(schema_version=2), "written by another version of this pipeline"),
    "unknown schema of a card": (lambda f: f.change_card(schema_version=9), "fold_0/expert.json is not a valid Exp"),
    "unknown field": (lambda f: f.manifest.update(run="rm"), "run: Extra inputs are not permitted"),
    "no JSON": (lambda f: f.put(CARD, b"{" * 100_000), "is not a valid ExpertCard"),
    "pickle": (lambda f: f.put_weights(pickle.dumps(Attack())), "is no safetensors file"),
    "pickle of torch": (torch_pickle, "is no safetensors file"),
    "pickle by name": (lambda f: f.put(f"{FOLD}/weights.pt", pickle.dumps(Attack())), "neither a card nor weights"),
    "notes": (lambda f: f.put_weights(save(load(f.content[WEIGHTS]), {"a": "b"})), "carries notes"),
    "wrong shape": (wrong_shape, "1 of another shape"),
    "wrong keys": (wrong_keys, "1 unknown: another"),
    "weights that no card names": (other_weights_than_the_card_names, "names other weights than those beside it"),
    "card that lies": (lambda f: f.change_card(fold=1), "fold_0/expert.json does not lie where it says"),
    "card that climbs": (lambda f: f.change_card(dataset="../../x"), "does not lie where it says"),
    "another name": (lambda f: f.manifest.update(name="Dataset007_Boxes/others"), "and holds something else"),
    "gate of no mixture": (lambda f: f.put(f"{FOLD}/gate.safetensors", b""), "and holds something else"),
    "locator of no expert": (lambda f: f.put(f"{FOLD}/locator.safetensors", b""), "or its weights are missing"),
    "task with a folder": (lambda f: f.change_card(task="a/b"), "does not lie where it says"),
    "terminal": (lambda f: f.manifest.update(licence="\033[2J"), "characters that are not for printing"),
    "terminal in a card": (lambda f: f.change_card(classes=["\033[2J"]), "characters that are not for printing"),
    "another kind": (lambda f: f.manifest.update(kind="mixture"), "says it is the mixture"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgery_is_refused_before_anything_is_written(
    forgery: str, expert_package: Path, theirs: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, message = FORGERIES[forgery]
    forged = forge(expert_package)
    change(forged)
    forged.write(tmp_path / "forged.zip")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArtefactError, match=message):
        install_package(tmp_path / "forged.zip", foundation=theirs.foundation, places=theirs.places)
    assert sorted(tmp_path.rglob("*")) == before


def test_unchanged_forgery_is_installed(expert_package: Path, theirs: Site, tmp_path: Path) -> None:
    forged = forge(expert_package)
    forged.compressed = True
    forged.write(tmp_path / "forged.zip")
    assert install_package(tmp_path / "forged.zip", foundation=theirs.foundation, places=theirs.places).placed


def expert_elsewhere(card: dict[str, Any]) -> None:
    card["experts"][0]["dataset"] = "/etc"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (expert_elsewhere, "names a dataset that is no DatasetXXX_Name"),
        (lambda card: card["datasets"][0].update(dataset="Dataset007_Boxes/."), "names a dataset that is no Dataset"),
        (lambda card: card["experts"][0]["sha256"].pop("0"), "does not name weights for each fold"),
        (lambda card: card["gate_sha256"].update({"0": "0" * 64}), "its weights are not those that the mixture"),
        (lambda card: card["gate_sha256"].pop("1"), "does not name weights for each fold"),
        (lambda card: card["experts"][0]["configuration"].update(spacing_mm=0.1), "does not fit a gate of foundation"),
        (lambda card: card["datasets"][0]["configurations"].pop("far"), "looks for other classes than the mixture"),
        (lambda card: card.update(name="../../evil"), "does not lie where it says"),
    ],
)
def test_mixture_that_is_not_whole_is_refused(
    change: Callable[[dict[str, Any]], Any], message: str, mixture_package: Path, theirs: Site, tmp_path: Path
) -> None:
    forged = forge(mixture_package)
    name = "mixtures/default/mixture.json"
    card = json.loads(forged.content[name])
    change(card)
    forged.put(name, json.dumps(card).encode())
    forged.write(tmp_path / "forged.zip")
    with pytest.raises(ArtefactError, match=message):
        install_package(tmp_path / "forged.zip", foundation=theirs.foundation, places=theirs.places)
    assert not theirs.results.exists()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_zip_is_named(content: bytes, theirs: Site, tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"broken\.zip is no zip file"):
        install_package(tmp_path / "broken.zip", foundation=theirs.foundation, places=theirs.places)


def test_damage_to_any_member_is_noticed(mixture_package: Path, theirs: Site, tmp_path: Path) -> None:
    content = mixture_package.read_bytes()
    with zipfile.ZipFile(mixture_package) as archive:
        middles = [m.header_offset + 30 + len(m.filename) + m.file_size // 2 for m in archive.infolist()]
    for at in middles:
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        (tmp_path / "damaged.zip").write_bytes(damaged)
        with pytest.raises(UnreadableFileError, match="Bad CRC-32"):
            install_package(tmp_path / "damaged.zip", foundation=theirs.foundation, places=theirs.places)


def test_archive_of_something_else_is_named(theirs: Site, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.jpg", b"")
    with pytest.raises(ArtefactError, match=r"it has no manifest\.json"):
        install_package(tmp_path / "photos.zip", foundation=theirs.foundation, places=theirs.places)
