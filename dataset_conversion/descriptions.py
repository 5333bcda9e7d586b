"""Reading the `dataset.json` that many public datasets come with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataset_conversion.source import Fault

_AGAIN = "Mend it, or download it again."


def read_description(path: Path) -> tuple[dict[str, Any], list[Fault]]:
    """Reads a JSON object.

    Returns:
        Its content, empty where it cannot be read, and what is wrong with it.
    """
    if not path.is_file():
        return {}, [Fault(f"{path} does not exist. It names the channels and labels; download it again.")]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        return {}, [Fault(f"{path} is not valid JSON ({error}). {_AGAIN}")]
    if not isinstance(content, dict):
        return {}, [Fault(f"{path} holds no JSON object. {_AGAIN}")]
    return content, []


def numbered_table(
    path: Path, content: Mapping[str, Any], field: str, example: Mapping[str, str]
) -> tuple[dict[int, str], list[Fault]]:
    """Reads names by number, as `modality` and `labels` have them.

    Args:
        path: of the file, for messages.
        content: of the file; one that could not be read has no further faults.
        field: to read.
        example: of what is needed.

    Returns:
        Names by number, and what is wrong with them.
    """
    table = content.get(field)
    if isinstance(table, dict) and table and all(_is_entry(key, name) for key, name in table.items()):
        return {int(key): name for key, name in table.items()}, []
    if not content:
        return {}, []
    return {}, [Fault(f"{path} has {field}={table!r}; an object such as {json.dumps(example)} is needed. {_AGAIN}")]


def _is_entry(key: Any, name: Any) -> bool:
    return isinstance(key, str) and key.isdecimal() and isinstance(name, str) and bool(name.strip())
