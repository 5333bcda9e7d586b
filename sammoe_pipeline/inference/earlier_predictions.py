"""What a folder of label maps says of the predictions in it: how they were made, and which are finished."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sammoe_pipeline.errors import ArtefactError, UsageError
from sammoe_pipeline.inference.predictions import PredictedCase, Predictions, PredictionSettings
from sammoe_pipeline.paths import all_predictions_json


@dataclass(frozen=True)
class EarlierPredictions:
    """The records in a folder, by file.

    Attributes:
        folder: of label maps.
        records: `predictions.json`, or one a part.
    """

    folder: Path
    records: Mapping[Path, Predictions]

    @classmethod
    def read(cls, folder: Path, *, replaced: Path | None = None) -> EarlierPredictions:
        """Reads all records of a folder.

        Args:
            folder: of label maps.
            replaced: a record that will be written anew, and may be broken.

        Raises:
            ArtefactError: another one is broken, or of another version.
        """
        records = {}
        for path in all_predictions_json(folder):
            try:
                records[path] = Predictions.load(path)
            except ArtefactError as error:
                if path == replaced:
                    continue
                raise ArtefactError(
                    f"{error}\nIt cannot be told how the label maps beside it were made. Give another folder with -o, "
                    f"or empty this one."
                ) from error
        return cls(folder=folder, records=records)

    def require_same(self, settings: PredictionSettings, *, replaced: Path | None = None) -> None:
        """Refuses to mix label maps of unlike settings in one folder.

        Args:
            settings: those of now.
            replaced: a record that will be written anew, and may differ.

        Raises:
            UsageError: another record has other settings; all that differ are named.
        """
        for path, record in self.records.items():
            if path != replaced and (faults := record.settings.contradictions(settings)):
                listed = "\n".join(f"  - {fault}" for fault in faults)
                raise UsageError(
                    f"-o {self.folder}: the label maps of {path.name} were made in another way:\n{listed}\nGive the "
                    f"same mixture and flags, or another folder."
                )

    def finished(self, prompts: Mapping[str, str | None]) -> dict[str, PredictedCase]:
        """Returns the cases that have all their files.

        Args:
            prompts: SHA-256 of each case's prompt file, as it is now.

        Raises:
            UsageError: a finished case was made from other prompts.
        """
        cases = [case for record in self.records.values() for case in record.cases]
        done = [case for case in cases if case.case in prompts and self._is_finished(case)]
        changed = sorted({case.case for case in done if case.prompts_sha256 != prompts[case.case]})
        if changed:
            raise UsageError(
                f"-o {self.folder}: these cases were made from other prompts than they have now: {', '.join(changed)}. "
                f"Remove their label maps, or give another folder."
            )
        return {case.case: case for case in done}

    def others(self, record: Path, cases: Collection[str]) -> tuple[PredictedCase, ...]:
        """Returns what a record says of other cases than some, whose files are there."""
        if record not in self.records:
            return ()
        return tuple(case for case in self.records[record].cases if case.case not in cases and self._is_finished(case))

    def forget(self, cases: Collection[str], *, but: Path) -> None:
        """Takes cases out of all records but one, which tells of them from now on; a record that is left empty goes."""
        for path, record in self.records.items():
            left = tuple(case for case in record.cases if case.case not in cases)
            if path == but or len(left) == len(record.cases):
                continue
            if left:
                record.model_copy(update={"cases": left}).save(path)
            else:
                path.unlink(missing_ok=True)

    def files(self, cases: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Returns the files that were recorded for cases, within the folder."""
        found: dict[str, tuple[str, ...]] = dict.fromkeys(cases, ())
        for record in self.records.values():
            for case in record.cases:
                if case.case in found:
                    found[case.case] += case.files
        return found

    def labels(self, *, replaced: Path | None = None) -> dict[str, int]:
        """Returns the values above 0 that were given out, by name, but for a record that will be written anew."""
        records = [record for path, record in self.records.items() if path != replaced]
        return {name: value for record in records for name, value in record.labels.items() if value}

    def _is_finished(self, case: PredictedCase) -> bool:
        return case.error is None and bool(case.files) and all((self.folder / name).is_file() for name in case.files)
