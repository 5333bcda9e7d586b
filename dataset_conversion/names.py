"""Tables of names: what the values of label maps mean, in the forms in which people keep it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sammoe_pipeline.errors import UsageError

TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".json")
_VALUE_COLUMNS = ("index", "label", "value", "id", "idx", "labelvalue", "label_id", "label_value", "number")
_NAME_COLUMNS = ("name", "structure_name", "structure", "class", "class_name", "label_name", "region", "organ")
_ITK_SNAP = re.compile(r'\s*(\d+)\s+(?:[\d.]+\s+){5,6}[\d.]+\s+"(.*)"\s*')
_PLAIN = re.compile(r"\s*(\d+)\s*[\s,;:=]\s*(\S.*?)\s*")
_FORMS = (
    "a CSV or TSV with a column of values (such as 'label' or 'index') and one of names (such as 'name'), a JSON "
    'object such as {"1": "liver"} or {"liver": 1}, label descriptions of ITK-SNAP, or lines such as "1 liver"'
)


def read_names(path: Path) -> dict[int, str]:
    """Reads the name of each value; 0, the background, is left out.

    Args:
        path: with one of `TABLE_ENDINGS`.

    Raises:
        UsageError: the file is missing, has no such table, or names a value twice.
    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no such table of names.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        pairs = list(_from_json(text) if path.suffix.lower() == ".json" else _from_lines(text))
    except (ValueError, TypeError, OverflowError, csv.Error, RecursionError) as error:
        raise UsageError(f"{path} is no table of names ({error}). It should be {_FORMS}.") from error
    names: dict[int, str] = {}
    for value, name in pairs:
        if names.setdefault(value, name) != name:
            raise UsageError(f"{path} gives {value} two names, {names[value]!r} and {name!r}. Remove one.")
    names.pop(0, None)
    if not names:
        raise UsageError(f"{path} names no value. It should be {_FORMS}.")
    return names


def _from_json(text: str) -> Iterable[tuple[int, str]]:
    table = json.loads(text)
    if not isinstance(table, dict):
        raise ValueError("no JSON object")
    labels = table.get("labels")
    for key, entry in (labels if isinstance(labels, dict) else table).items():
        yield (int(key), str(entry)) if str(key).isdecimal() else (_whole(entry), str(key))


def _from_lines(text: str) -> Iterable[tuple[int, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and not re.match(r"\s*\d", lines[0]):
        yield from _from_columns(lines)
        return
    for line in lines:
        match = _ITK_SNAP.fullmatch(line) or _PLAIN.fullmatch(line)
        if match is None:
            raise ValueError(f"line {line!r}")
        yield int(match[1]), match[2].strip("\"'")


def _from_columns(lines: list[str]) -> Iterable[tuple[int, str]]:
    delimiter = max("\t;,", key=lines[0].count)
    header = [cell.strip().lower() for cell in next(csv.reader(lines, delimiter=delimiter))]
    value = next((header.index(name) for name in _VALUE_COLUMNS if name in header), None)
    name = next((header.index(name) for name in _NAME_COLUMNS if name in header), None)
    if value is None or name is None:
        raise ValueError(f"columns {', '.join(header)}")
    for row in csv.reader(lines[1:], delimiter=delimiter):
        if len(row) <= max(value, name):
            raise ValueError(f"row {row!r}")
        yield _whole(row[value]), row[name].strip()


def _whole(entry: Any) -> int:
    number = float(entry)
    if number != int(number) or number < 0:
        raise ValueError(f"{entry!r} is no label value")
    return int(number)
