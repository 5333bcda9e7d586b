"""A package as a zip file: written the same each time, and read as if it came from an enemy."""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sammoe_pipeline.atomic import atomic_path
from sammoe_pipeline.errors import ArtefactError, UnreadableFileError
from sammoe_pipeline.packages.manifest import PackageFile, PackageManifest
from sammoe_pipeline.paths import MANIFEST_JSON

LARGEST_JSON_BYTES = 16 << 20
"""No card comes near it."""
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_ORDINARY_FILE = (stat.S_IFREG | 0o644) << 16
_UNIX = 3
_ENCRYPTED = 1
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PLAIN_PART = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]*")


def write_archive(path: Path, manifest: PackageManifest, contents: Mapping[str, bytes | Path]) -> None:
    """Writes a package atomically. It holds neither times nor names of the machine, so it is the same each time.

    Args:
        path: of the zip file.
        manifest: its files in their order.
        contents: each file's content, or where it is copied from.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _add(archive, MANIFEST_JSON, (manifest.model_dump_json(indent=2) + "\n").encode())
        for file in manifest.files:
            content = contents[file.path]
            _add(archive, file.path, content if isinstance(content, bytes) else content.read_bytes())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, date_time=_NO_TIME)
    member.external_attr, member.create_system = _ORDINARY_FILE, _UNIX
    # Weights are close to noise, so they are stored as they are.
    archive.writestr(member, content, compress_type=zipfile.ZIP_STORED)


@dataclass(frozen=True)
class Package:
    """An open package whose list of members is that of its manifest.

    Attributes:
        path: of the zip file.
        manifest: what it says of itself.
    """

    path: Path
    manifest: PackageManifest
    archive: zipfile.ZipFile

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Package]:
        """Opens a package and checks its list of members; their contents are checked by `read`.

        Raises:
            UnreadableFileError: it is no zip file.
            ArtefactError: a member is a link or a folder, has a name that could lead elsewhere, occurs twice, is not
                in the manifest, or is missing; or the manifest is missing or of a schema that is not known.
        """
        if not path.is_file():
            raise UnreadableFileError(f"{path} does not exist. Give the .zip that sammoe_experts export wrote.")
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise UnreadableFileError(f"{path} is no zip file ({error}). Copy or download it again.") from error
        with archive:
            for member in archive.infolist():
                _require_harmless(path, member)
            names = Counter(archive.namelist())
            if repeated := [name for name, times in names.items() if times > 1]:
                raise refused(path, f"{repeated[0]} is in it twice")
            if MANIFEST_JSON not in names:
                raise refused(path, f"it has no {MANIFEST_JSON}, so it is not a package of sammoe_experts export")
            content = _read(path, archive, MANIFEST_JSON, LARGEST_JSON_BYTES)
            manifest = PackageManifest.parse(content, origin=f"{path}: {MANIFEST_JSON}")
            declared = [MANIFEST_JSON, *(file.path for file in manifest.files)]
            if undeclared := sorted(names.keys() - declared):
                raise refused(path, f"{undeclared[0]} is not in its manifest")
            if missing := sorted(set(declared) - names.keys()):
                raise refused(path, f"{missing[0]} is in its manifest and not in the archive")
            if len(declared) > len(set(declared)):
                raise refused(path, "its manifest names a file twice")
            yield cls(path=path, manifest=manifest, archive=archive)

    def refused(self, reason: str) -> ArtefactError:
        """Returns the error of this package that says why it is refused."""
        return refused(self.path, reason)

    def read(self, file: PackageFile, *, at_most: int) -> bytes:
        """Reads a file of the manifest, never more of it than the manifest says.

        Args:
            file: which one.
            at_most: bytes that such a file can have.

        Raises:
            ArtefactError: its size or SHA-256 is not the manifest's, or it is larger than such a file can be.
            UnreadableFileError: the archive is damaged.
        """
        if file.size_bytes > at_most:
            raise self.refused(
                f"{file.path} has {file.size_bytes} bytes by its manifest, and can have {at_most} at most"
            )
        content = _read(self.path, self.archive, file.path, file.size_bytes)
        if len(content) != file.size_bytes:
            raise self.refused(f"{file.path} has {len(content)} bytes, its manifest says {file.size_bytes}")
        found = hashlib.sha256(content).hexdigest()
        if found != file.sha256:
            raise self.refused(f"{file.path} has SHA-256 {found[:12]}..., its manifest says {file.sha256[:12]}...")
        return content


def refused(path: Path, reason: str) -> ArtefactError:
    """Returns the error of a package that is not as it should be."""
    return ArtefactError(
        f"{path} was refused, and nothing was installed: {reason}. Ask whoever made it for a package as sammoe_experts "
        f"export writes it."
    )


def _require_harmless(path: Path, member: zipfile.ZipInfo) -> None:
    name = member.orig_filename
    parts = name.split("/")
    if not all(_PLAIN_PART.fullmatch(part) for part in parts):
        raise refused(path, f"{name!r} is not a plain name within the package")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise refused(path, f"{name} is a link or another special file")
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _COMPRESSIONS:
        raise refused(path, f"{name} is encrypted, or compressed in a way that packages are not")


def _read(path: Path, archive: zipfile.ZipFile, name: str, size_bytes: int) -> bytes:
    """Reads a member, and refuses it as soon as it is longer than it may be."""
    too_long = refused(path, f"{name} is longer than {size_bytes} bytes, which is all it may have")
    if archive.getinfo(name).file_size > size_bytes:
        raise too_long
    try:
        with archive.open(name) as file:
            content = file.read(size_bytes + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UnreadableFileError(f"{path} is damaged at {name} ({error}). Copy or download it again.") from error
    if len(content) > size_bytes:
        raise too_long
    return content
