from __future__ import annotations

from pathlib import Path

import pytest

from dataset_conversion.names import read_names
from sammoe_pipeline.errors import UsageError

ITK_SNAP = """\
# ITK-SnAP Label Description File
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "Left kidney"
    7     0  255    0        1  1  1    "Liver"
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "label,structure_name\n0,Background\n1,Left kidney\n7,Liver\n"),
        ("a.csv", "\ufeffID;Name;Colour\n1;Left kidney;red\n7;Liver;brown\n"),
        ("dseg.tsv", "index\tname\tabbreviation\n1\tLeft kidney\tLK\n7\tLiver\tL\n"),
        ("a.csv", '1,"Left kidney"\n7,Liver\n'),
        ("a.txt", "1 Left kidney\n7: Liver\n"),
        ("a.txt", ITK_SNAP),
        ("a.json", '{"1": "Left kidney", "7": "Liver"}'),
        ("a.json", '{"Left kidney": 1, "Liver": 7}'),
        ("dataset.json", '{"labels": {"0": "background", "1": "Left kidney", "7": "Liver"}}'),
    ],
)
def test_tables_in_many_forms_are_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_names(tmp_path / name) == {1: "Left kidney", 7: "Liver"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "organ,colour\nliver,red\n", "columns organ, colour"),
        ("a.csv", "label,name\nx,liver\n", "is no table of names"),
        ("a.csv", "label,name\n1.5,liver\n", "'1.5' is no label value"),
        ("a.csv", "label,name\n1\n", r"row \['1'\]"),
        ("a.csv", "label,name\n1,liver\n1,spleen\n", "gives 1 two names, 'liver' and 'spleen'"),
        ("a.csv", "", "names no value"),
        ("a.txt", "0 background\n", "names no value"),
        ("a.json", "[1]", "no JSON object"),
        ("a.json", '{"shapes": [[1, 2]]}', "is no table of names"),
        ("a.csv", "label,name\ninf,liver\n", "is no table of names"),
        ("a.json", "{", "is no table of names"),
    ],
)
def test_what_is_no_table_is_explained(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message):
        read_names(tmp_path / name)


def test_bytes_are_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UsageError, match="is no table of names"):
        read_names(tmp_path / "a.csv")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.csv: there is no such table"):
        read_names(tmp_path / "gone.csv")
