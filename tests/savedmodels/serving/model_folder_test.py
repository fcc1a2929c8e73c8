import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from savedmodels.serving.model_folder import new_version
from tests.trainers.programs import files
from tf_adaptive.errors import InputError


def write(output, name, version=None, content="model"):
    with new_version(output, name, version) as (folder, number):
        (folder / "saved_model.pb").write_text(content)
    return number


def test_versions_count_from_one(tmp_path):
    output = tmp_path / "new" / "models"
    assert [write(output, "first") for _ in range(3)] == [1, 2, 3]
    assert write(output, "first", version=7) == 7
    assert write(output, "first") == 8
    assert write(output, "second.b-2") == 1
    assert (output / "first/7/saved_model.pb").read_text() == "model"
    assert sorted(path.name for path in output.iterdir()) == [
        *("batching_parameters.txt", "first", "models.config", "second.b-2")
    ]


def test_the_server_is_told_every_name(tmp_path):
    for name in ("second", "first", "second"):
        write(tmp_path, name)
    text = (tmp_path / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    assert [(model.name, model.base_path) for model in config.model_config_list.config] == [
        ("first", "/models/first"),
        ("second", "/models/second"),
    ]
    assert {model.model_platform for model in config.model_config_list.config} == {"tensorflow"}


def test_batching_parameters_are_written_once(tmp_path):
    write(tmp_path, "model")
    path = tmp_path / "batching_parameters.txt"
    assert "max_batch_size { value: 64 }" in path.read_text()
    path.write_text("max_batch_size { value: 8 }\n")
    write(tmp_path, "model")
    assert path.read_text() == "max_batch_size { value: 8 }\n"


@pytest.mark.parametrize("before", [True, False])
def test_nothing_is_left_of_what_fails(tmp_path, before):
    output = tmp_path / "models"
    if before:
        write(output, "model")
    was = files(tmp_path)
    with pytest.raises(ZeroDivisionError), new_version(output, "other") as (folder, _):
        (folder / "saved_model.pb").write_text("half")
        raise ZeroDivisionError
    assert files(tmp_path) == was


def test_two_at_once_do_not_mix(tmp_path):
    with (
        pytest.raises(InputError, match="must be a folder to write in"),
        new_version(tmp_path, "model") as (folder, version),
    ):
        (folder / "saved_model.pb").write_text("slow")
        assert write(tmp_path, "model", content="fast") == version
    assert (tmp_path / "model/1/saved_model.pb").read_text() == "fast"
    assert not list(tmp_path.glob(".unfinished*"))


def test_a_version_is_never_replaced(tmp_path):
    write(tmp_path, "model")
    was = files(tmp_path)
    with pytest.raises(InputError, match="`version` must be a new one.*Received: 1, which"):
        write(tmp_path, "model", version=1)
    assert files(tmp_path) == was


@pytest.mark.parametrize("version", [0, -1, 1.5])
def test_a_version_is_a_whole_number(tmp_path, version):
    with pytest.raises(InputError, match="`version` must be a whole number from 1 on"):
        write(tmp_path / "models", "model", version=version)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("name", ["", "a/b", "..", "two words", "-x"])
def test_a_name_that_is_no_folder(tmp_path, name):
    with pytest.raises(InputError, match="`name` must be letters, digits"):
        write(tmp_path / "models", name)
    assert files(tmp_path) == {}


def somebody_elses(folder):
    (folder / "thesis.txt").write_text("years of work")


def other_servers(folder):
    (folder / "models.config").write_text("model_config_list {}")


def damaged(folder):
    write(folder, "model")
    text = (folder / "models.config").read_text()
    (folder / "models.config").write_text(text[:-4])


def same_name(folder):
    write(folder, "other")
    (folder / "model").mkdir()
    (folder / "model" / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (somebody_elses, "`output` must be a new folder, or one that models were exported to"),
        (other_servers, "`output` must be a new folder"),
        (damaged, "models.config must list the models as it was written"),
        (same_name, "`name` must be new, or that of a model that was exported"),
    ],
)
def test_a_folder_that_is_not_ours_stays_as_it_is(tmp_path, make, message):
    make(tmp_path)
    was = files(tmp_path)
    with pytest.raises(InputError, match=message):
        write(tmp_path, "model")
    assert files(tmp_path) == was


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("text")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="`output` must be a"):
            write(output, "model")
    assert files(tmp_path) == {"file": b"text"}
