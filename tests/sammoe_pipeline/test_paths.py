from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sammoe_pipeline.errors import DatasetNotFoundError, UsageError
from sammoe_pipeline.paths import (
    PreprocessedDataset,
    Results,
    dataset_folder_name,
    find_dataset,
    find_folders,
    find_results,
    is_dataset_folder,
    safe_name,
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No folder is set, and the user's home is empty."""
    for variable in ("sammoe_raw", "sammoe_preprocessed", "sammoe_results", "sammoe_home", "nnUNet_raw"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    return monkeypatch


def test_variables_name_the_folders(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("raw", "preprocessed", "results"):
        environment.setenv(f"sammoe_{name}", str(tmp_path / name))
    folders = find_folders()
    assert (folders.raw, folders.preprocessed, folders.results) == tuple(
        tmp_path / name for name in ("raw", "preprocessed", "results")
    )
    assert folders.results.is_dir()


def test_a_flag_wins_over_a_variable(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("sammoe_raw", str(tmp_path / "variable"))
    assert find_folders(raw=str(tmp_path / "flag"), create=False).raw == tmp_path / "flag"


@pytest.mark.usefixtures("environment")
def test_nothing_set_falls_back_to_the_users_home_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        folders = find_folders(create=False)
    assert folders.raw == tmp_path / "user" / "sammoe" / "sammoe_raw"
    assert not folders.raw.exists()
    assert [message.split()[0] for message in caplog.messages] == [
        "sammoe_raw",
        "sammoe_preprocessed",
        "sammoe_results",
    ]


@pytest.mark.parametrize("home", ["{}/data", "'{}/data'", "~/../data"])
def test_one_home_serves_for_all_without_a_word(
    environment: pytest.MonkeyPatch, tmp_path: Path, home: str, caplog: pytest.LogCaptureFixture
) -> None:
    environment.setenv("sammoe_home", home.format(tmp_path))
    (tmp_path / "user").mkdir()
    assert find_folders().results.resolve() == tmp_path / "data" / "sammoe_results"
    assert not caplog.messages


def test_raw_data_of_nnunet_serve_and_this_is_said(
    environment: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment.setenv("nnUNet_raw", str(tmp_path / "nnunet"))
    folders = find_folders(create=False)
    assert folders.raw == tmp_path / "nnunet"
    assert f"sammoe_raw is not set: using nnUNet_raw={tmp_path / 'nnunet'}" in caplog.text


@pytest.mark.parametrize(("variable", "value"), [("sammoe_raw", "ours/sammoe_raw"), ("sammoe_home", "ours")])
def test_our_own_variables_win_over_nnunets(
    environment: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    environment.setenv("nnUNet_raw", str(tmp_path / "nnunet"))
    environment.setenv(variable, str(tmp_path / value))
    assert find_folders(create=False).raw == tmp_path / "ours" / "sammoe_raw"
    assert "nnUNet_raw" not in caplog.text


@pytest.mark.parametrize("value", ["'{}'", '"{}"', " {} "])
def test_quotes_and_spaces_around_a_folder_do_not_count(
    environment: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    environment.setenv("sammoe_raw", value.format(tmp_path / "raw"))
    assert find_folders(create=False).raw == tmp_path / "raw"


def test_an_empty_variable_is_an_unset_one(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("sammoe_raw", "")
    assert find_folders(create=False).raw == tmp_path / "user" / "sammoe" / "sammoe_raw"


@pytest.mark.usefixtures("environment")
def test_results_alone_speak_of_no_other_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert find_results(create=False) == tmp_path / "user" / "sammoe" / "sammoe_results"
    assert [message.split()[0] for message in caplog.messages] == ["sammoe_results"]


def test_a_file_is_no_folder(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "raw").touch()
    environment.setenv("sammoe_raw", str(tmp_path / "raw"))
    with pytest.raises(UsageError, match=r"sammoe_raw=.*raw is a file\. Set sammoe_raw to a folder"):
        find_folders()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for name in ("Dataset004_Hippocampus", "Dataset007_Pancreas", "Dataset017_Liver-CT", "Task03_Liver", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "Dataset005_Prostate").touch()
    return tmp_path


@pytest.mark.parametrize("wanted", [4, "4", "004", "'4'", '"004"', "Dataset004_Hippocampus", "Hippocampus"])
def test_a_dataset_is_found_by_id_and_by_name(raw: Path, wanted: int | str) -> None:
    assert find_dataset(raw, wanted) == "Dataset004_Hippocampus"


@pytest.mark.parametrize("wanted", ["5", "3", "Liver", "04_Hippocampus"])
def test_a_missing_dataset_is_answered_with_those_there_are(raw: Path, wanted: str) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        find_dataset(raw, wanted)
    assert f"No dataset '{wanted}' in {raw}." in str(caught.value)
    assert "There are: Dataset004_Hippocampus, Dataset007_Pancreas, Dataset017_Liver-CT." in str(caught.value)
    assert "sammoe_convert_dataset" in str(caught.value)


@pytest.mark.parametrize("wanted", ["hippocampus", "Hipocampus", "Dataset004_Hippocampos"])
def test_the_nearest_name_is_suggested(raw: Path, wanted: str) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"Did you mean '(Dataset004_)?Hippocampus'\?"):
        find_dataset(raw, wanted)


def test_an_empty_or_missing_root_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="It holds no dataset at all"):
        find_dataset(tmp_path / "nowhere", 4)


def test_two_datasets_of_one_id_are_named(raw: Path) -> None:
    (raw / "Dataset004_Heart").mkdir()
    with pytest.raises(UsageError, match="several datasets for 4: Dataset004_Heart, Dataset004_Hippocampus"):
        find_dataset(raw, 4)


def test_folder_names_are_padded() -> None:
    assert dataset_folder_name(4, "Hippocampus") == "Dataset004_Hippocampus"


@pytest.mark.parametrize(("dataset_id", "name"), [(0, "A"), (1000, "A"), (1, ""), (1, "a b"), (1, "../a"), (1, "_a")])
def test_ids_and_names_that_no_folder_should_have_are_refused(dataset_id: int, name: str) -> None:
    with pytest.raises(UsageError, match=r"-d|-n"):
        dataset_folder_name(dataset_id, name)


@pytest.mark.parametrize(
    ("words", "name"),
    [("left kidney (cyst)", "left_kidney_cyst"), ("../etc", "etc"), ("...", "unnamed"), ("a/b", "a_b")],
)
def test_names_become_safe_for_folders(words: str, name: str) -> None:
    assert safe_name(words) == name


def test_preprocessed_files_lie_where_the_design_says(tmp_path: Path) -> None:
    place = PreprocessedDataset(root=tmp_path, dataset="Dataset004_Hippocampus", foundation="tiny")
    at = {path.relative_to(tmp_path / "Dataset004_Hippocampus").as_posix() for path in (
        place.dataset_json,
        place.fingerprint,
        place.splits,
        place.plan,
        place.ground_truth("a"),
        place.image("native", "a"),
        place.segmentation("native", "a"),
        place.properties("native", "a"),
    )}  # fmt: skip
    assert at == {
        "dataset.json",
        "dataset_fingerprint.json",
        "splits_final.json",
        "tiny/sammoe_plan.json",
        "gt_segmentations/a.nii.gz",
        "tiny/native/a.b2nd",
        "tiny/native/a_seg.b2nd",
        "tiny/native/a.json",
    }


def test_results_of_tasks_and_mixtures_do_not_meet(tmp_path: Path) -> None:
    results = Results(root=tmp_path, foundation="tiny")
    assert results.expert_fold("Dataset004_H", "left kidney", 0) == tmp_path / "tiny/Dataset004_H/left_kidney/fold_0"
    assert results.locator_fold("Dataset004_H", 1) == tmp_path / "tiny/Dataset004_H/locator/fold_1"
    assert results.gate_fold("default", 2) == tmp_path / "tiny/mixtures/default/fold_2"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("Dataset004_Liver", True), ("Dataset4_Liver", False), ("Dataset004_Liver\n", False), ("Dataset004_../x", False)],
)
def test_folders_of_datasets_are_told_from_others(name: str, is_one: bool) -> None:
    assert is_dataset_folder(name) is is_one
