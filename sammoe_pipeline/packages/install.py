"""Putting a checked package among the results: everything in its place, or nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sammoe_pipeline.artefacts import sha256_of
from sammoe_pipeline.errors import UsageError
from sammoe_pipeline.foundations import Foundation
from sammoe_pipeline.packages.archive import Package
from sammoe_pipeline.packages.contents import card_content
from sammoe_pipeline.packages.inventory import users_of
from sammoe_pipeline.packages.manifest import PackageManifest
from sammoe_pipeline.packages.received import Received, check_package
from sammoe_pipeline.packages.renaming import renamed
from sammoe_pipeline.paths import MANIFEST_JSON, MIXTURES, Results


@dataclass(frozen=True)
class Installed:
    """What an installation did.

    Attributes:
        manifest: of what is installed now.
        placed: folders that were put in place, below the foundation's results; empty where all were there, the same.
    """

    manifest: PackageManifest
    placed: tuple[str, ...]


def install_package(
    path: Path, *, foundation: Foundation, places: Results, name: str | None = None, overwrite: bool = False
) -> Installed:
    """Installs an expert or a mixture from a package.

    Everything is checked before anything is written. Then all is written beside its places and renamed into them, a
    mixture last; what goes wrong on the way is undone. Parts that are there already, file by file the same, stay.

    Args:
        path: of the zip file.
        foundation: the one in use.
        places: where results lie.
        name: to install it as; None takes its own.
        overwrite: replace an expert or mixture of the same name that is another one.

    Raises:
        UnreadableFileError: the package is missing or damaged.
        ArtefactError: it belongs to another foundation or is not what it says.
        UsageError: something else has its name, or a mixture uses what would be replaced.
    """
    with Package.open(path) as package:
        received = check_package(package, foundation, places)
        if name is not None and name != received.manifest.name:
            received = renamed(received, name, places)
        groups = [_Group.of(folder, received, places) for folder in _group_folders(received)]
        if not overwrite:
            _require_free(groups, received.manifest, path)
        for group in groups:
            if group.is_taken:
                _require_unused(group, received, places)
        wanted = [folder for group in groups for folder in group.missing]
        if wanted:
            _place(groups, received, package, places)
    return Installed(manifest=received.manifest, placed=tuple(wanted))


@dataclass(frozen=True)
class _Group:
    """An expert, a dataset's locators or a mixture: folders of one training, never mixed with those of another.

    Attributes:
        folder: below the foundation's results.
        target: the same on disk.
        missing: its parts that are to be put in place: folds, or the whole where nothing is there yet or it is another.
        is_taken: whether something else has the folder.
    """

    folder: str
    target: Path
    missing: tuple[str, ...]
    is_taken: bool

    @classmethod
    def of(cls, folder: str, received: Received, places: Results) -> _Group:
        """Compares what is to be installed with what is there."""
        target = places.folder / folder
        files = {file.path: file.sha256 for file in received.manifest.files if file.path.startswith(f"{folder}/")}
        parts = {folder} if folder.startswith(f"{MIXTURES}/") else {path.rpartition("/")[0] for path in files}
        there = {part for part in parts if (places.folder / part).exists()}
        same = {
            part
            for part in there
            if all(_is(places.folder / path, sha256) for path, sha256 in files.items() if path.startswith(f"{part}/"))
        }
        if same and same == there:
            return cls(folder, target, tuple(sorted(parts - there)), is_taken=False)
        return cls(folder, target, (folder,), is_taken=target.exists())


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def _group_folders(received: Received) -> list[str]:
    """Returns the folders of experts, locators and mixture, the mixture last: it is whole only when they are there."""
    folders = {"/".join(file.path.split("/")[:2]) for file in received.manifest.files}
    return sorted(folders, key=lambda folder: (folder.startswith(f"{MIXTURES}/"), folder))


def _require_free(groups: list[_Group], manifest: PackageManifest, path: Path) -> None:
    taken = [group for group in groups if group.is_taken]
    if not taken:
        return
    other = "mine" if manifest.kind == "mixture" else f"Dataset901_Mine/{manifest.name.partition('/')[2]}"
    ways = [f"replace {'it' if len(taken) == 1 else 'them'} with --overwrite", "choose another folder with --results"]
    if taken == groups[-1:]:
        ways.insert(0, f"install the package under another name, such as --as {other}")
    listed = "".join(f"\n  - {group.target}" for group in taken)
    raise UsageError(
        f"{path} holds something else than what is there under the same name:{listed}\nNothing was installed. You may "
        f"{', '.join(ways[:-1])} or {ways[-1]}."
    )


def _require_unused(group: _Group, received: Received, places: Results) -> None:
    """Refuses to replace weights that a mixture needs, unless the package brings the same ones or that mixture."""
    brought = {(places.folder / file.path, file.sha256) for file in received.manifest.files}
    for mixture, needed in users_of(group.target, places).items():
        replaced = f"{MIXTURES}/{mixture}" in _group_folders(received)
        if not replaced and not set(needed) <= brought:
            raise UsageError(
                f"{group.target} is used by the mixture '{mixture}', which would not load any more. Nothing was "
                f"installed. Remove that mixture first (sammoe_experts remove -m {mixture}), or choose another folder "
                f"with --results."
            )


def _place(groups: list[_Group], received: Received, package: Package, places: Results) -> None:
    places.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".install-", dir=places.folder) as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        _write(received, package, new)
        with _undone_on_failure() as moved:
            # A mixture that is replaced goes first, so that none is ever without what it needs.
            for group in reversed(groups):
                if group.is_taken:
                    _move(group.target, old / group.folder, moved)
            for group in groups:
                for part in group.missing:
                    _move(new / part, places.folder / part, moved)


def _write(received: Received, package: Package, folder: Path) -> None:
    for path, card in received.cards.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(card_content(card))
        received.manifest.save((folder / path).with_name(MANIFEST_JSON))
    for path, file in received.weights.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(package.read(file, at_most=file.size_bytes))


@contextmanager
def _undone_on_failure() -> Iterator[list[tuple[Path, Path]]]:
    moved: list[tuple[Path, Path]] = []
    try:
        yield moved
    except BaseException:
        for source, target in reversed(moved):
            target.rename(source)
        raise


def _move(source: Path, target: Path, moved: list[tuple[Path, Path]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    moved.append((source, target))
