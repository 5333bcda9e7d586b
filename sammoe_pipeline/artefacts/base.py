"""Frozen models stored as JSON and checked on loading: a file of its own, or a part of one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sammoe_pipeline.atomic import write_text
from sammoe_pipeline.errors import ArtefactError, did_you_mean

A = TypeVar("A", bound="Artefact")


class Record(BaseModel):
    """A part of an artefact: frozen, strict, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Artefact(Record):
    """A JSON file of its own."""

    schema_version: Literal[1] = 1

    def save(self, path: Path) -> None:
        """Writes the artefact atomically as indented JSON."""
        write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls: type[A], path: Path) -> A:
        """Reads and checks an artefact.

        Raises:
            ArtefactError: the file is missing or breaks the schema. All faults are named at once, with "did you mean"
                for misspelt fields.
        """
        if not path.is_file():
            raise ArtefactError(f"{path} does not exist. Run the stage that writes it first.")
        return cls.parse(path.read_bytes(), origin=str(path))

    @classmethod
    def parse(cls: type[A], content: bytes, *, origin: str) -> A:
        """Checks an artefact that has been read already.

        Args:
            content: the JSON.
            origin: where it comes from, for the message.

        Raises:
            ArtefactError: it breaks the schema, as in `load`.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            faults = "\n".join(f"  - {_explain(cls, fault['loc'], fault['msg'])}" for fault in error.errors())
            raise ArtefactError(f"{origin} is not a valid {cls.__name__}:\n{faults}") from error


def _explain(model: type[BaseModel], location: tuple[int | str, ...], message: str) -> str:
    if location == ("schema_version",):
        return f"schema_version: {message}. It was written by another version of this pipeline: update the older one."
    where = ".".join(str(part) for part in location) or "the file"
    hint = did_you_mean(str(location[-1]), model.model_fields) if location and "Extra inputs" in message else ""
    return f"{where}: {message}.{hint}"
