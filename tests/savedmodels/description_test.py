import json
import math

import pytest

from savedmodels.description import check_described, read_description, write_description
from tf_adaptive import InputError
from tf_adaptive.runs.dataset import describe_data
from tf_adaptive.runs.directory import load_finished_run

DATA = {
    "class_names": ["a", "b"],
    "image_shape": [8, 8, 1],
    "mean": [0.5],
    "std": [0.25],
    "center_crop": False,
    "picture_reading": "as_seen",
}
FIELDS = {"measure": str, "thresholds": list}
DESCRIPTION = {**DATA, "measure": "entropy", "thresholds": [0.5]}


def test_the_settings_of_a_run_describe_its_data(finished_run):
    config, _ = load_finished_run(finished_run)
    described = describe_data(config, 10)
    assert described == {name: config[name] for name in DATA}
    assert described["image_shape"] == [24, 24, 1]
    for name in DATA:
        del config[name]
    former = {**described, "picture_reading": "as_stored"}
    assert describe_data(config, 10) == former


def test_a_description_is_read_as_it_was_written(tmp_path):
    write_description(tmp_path, DESCRIPTION)
    assert read_description(tmp_path, FIELDS) == DESCRIPTION


def test_files_of_former_versions_are_read_as_stored(tmp_path):
    former = {name: value for name, value in DESCRIPTION.items() if name != "picture_reading"}
    write_description(tmp_path, former)
    assert read_description(tmp_path, FIELDS) == {**former, "picture_reading": "as_stored"}


def test_refuses_an_unknown_reading(tmp_path):
    write_description(tmp_path, {**DESCRIPTION, "picture_reading": "as_felt"})
    with pytest.raises(InputError, match="`picture_reading` in .* must be one of as_seen"):
        read_description(tmp_path, FIELDS)


def test_refuses_a_folder_without_one(tmp_path):
    with pytest.raises(InputError, match=f"Received: {tmp_path}, which has no description.json"):
        read_description(tmp_path, FIELDS)


@pytest.mark.parametrize("field", sorted(DESCRIPTION.keys() - {"picture_reading"}))
@pytest.mark.parametrize("value", [None, 3])
def test_refuses_a_field_that_is_missing_or_of_another_type(tmp_path, field, value):
    write_description(tmp_path, {**DESCRIPTION, field: value})
    with pytest.raises(InputError, match=f"which has no {field!r}"):
        read_description(tmp_path, FIELDS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("class_names", []),
        ("class_names", ["a", 3]),
        ("image_shape", ["8", "8", "1"]),
        ("image_shape", [8, 8]),
        ("image_shape", [8, 8, 0]),
        ("image_shape", [8, 8, True]),
        ("image_shape", [8.5, 8, 1]),
        ("mean", []),
        ("mean", ["0.5"]),
        ("mean", [0.5, 0.5]),
        ("mean", [math.nan]),
        ("mean", [10**400]),
        ("std", [0]),
        ("std", [-1.0]),
        ("std", [math.inf]),
        ("std", [0.25] * 3),
        ("std", [[0.25]]),
        ("measure", "certainty"),
        ("measure", ""),
        ("thresholds", ["0.5"]),
        ("thresholds", [math.nan]),
        ("thresholds", [1.5]),
        ("enabled_exits", [0]),
        ("temperatures", [0.0]),
        ("thresholds", [True]),
    ],
)
def test_refuses_a_field_that_cannot_be(tmp_path, field, value):
    write_description(tmp_path, {**DESCRIPTION, field: value})
    with pytest.raises(InputError, match=f"^`{field}` in .*description.json must be ") as error:
        read_description(tmp_path, FIELDS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "", "\x00"])
def test_refuses_a_damaged_file(tmp_path, text):
    (tmp_path / "description.json").write_text(text)
    with pytest.raises(InputError, match="must be JSON. Received: "):
        read_description(tmp_path, FIELDS)


def test_refuses_a_list(tmp_path):
    (tmp_path / "description.json").write_text(json.dumps([DESCRIPTION]))
    with pytest.raises(InputError, match="which has no 'class_names'"):
        read_description(tmp_path, FIELDS)


def test_a_data_set_s_own_words_are_checked():
    described = {**DATA, "sizes": {"train": 3}}
    assert check_described(described, len(DATA["class_names"])) == DATA
    with pytest.raises(InputError, match="`class_names` must hold a name for each of the 5"):
        check_described(described, 5)
    with pytest.raises(InputError, match="`std` in `description` must be a list of finite numbers"):
        check_described({**described, "std": [0.0]}, len(DATA["class_names"]))
    del described["mean"]
    with pytest.raises(InputError, match="must be what the `description`.* one without mean"):
        check_described(described, len(DATA["class_names"]))
