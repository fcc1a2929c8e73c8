"""What a user can get wrong: one clear line, status 2, and nothing on disk changed."""

import itertools
import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.conftest import DRNET_TRAINING, TRAINING
from tests.trainers.programs import refused

TRAIN = "trainers.train_multi_exit"
TRAIN_DRNET = "trainers.train_drnet"
EVALUATE = "trainers.evaluate"
PROFILE = "trainers.profile"


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("model", "msdnett", "Did you mean 'msdnet'?"),
        ("preset", "msdnet_cifar_lingro5", "Did you mean 'msdnet_cifar_lingrow5'?"),
        ("dataset", "digit", "Did you mean 'digits'?"),
        ("schedule", "cosin", "Did you mean 'cosine'?"),
        ("precision", "bfloat", "Did you mean 'bfloat16'?"),
        ("gradient_equilibrium_form", "release", "Did you mean 'released'?"),
        ("epoch", "2", "Unknown command line flag 'epoch'. Did you mean: epochs ?"),
        ("epochs", "many", "flag --epochs=many"),
        ("epochs", "0", "`epochs` must be a whole number from 1 on. Received: epochs=0"),
        ("batch_size", "0", "`batch_size` must be a whole number from 1 on"),
        ("batch_size", "129", "Received: 128 training images; lower `batch_size`, which is "),
        ("seed", "-1", "`seed` must be a whole number from 0"),
        ("train_size", "2000", "`train_size` must be from 1 to"),
        ("validation_size", "0", "`validation_size` must be a whole number from 1 on"),
        ("calibration_size", "9", "`calibration_size` must be 0, or from 10, one image per class"),
        ("calibration_size", "-1", "`calibration_size` must be a whole number from 0 on"),
        ("learning_rate", "nan", "`learning_rate` must be finite and above 0"),
        ("momentum", "1", "`momentum` must be at least 0 and below 1"),
        ("weight_decay", "-1", "`weight_decay` must be finite and at least 0"),
        ("warmup_epochs", "2", "`warmup_epochs` must be at least 0 and below `epochs`, 2"),
        ("drop_epochs", "1,x", "`drop_epochs` must be numbers with commas between"),
        ("drop_epochs", "1,3", "`drop_epochs` must rise and lie between 0 and `epochs`, 2"),
        ("label_smoothing", "1", "`label_smoothing` must be"),
        ("exit_weights", "1,1", "`exit_weights` must"),
        ("alpha", "1.5", "`alpha` must be in [0, 1]"),
        ("teacher_momentum", "0.9", "`teacher_momentum` must come with distillation"),
        ("leaving_share", "2", "`leaving_share` must be in [0, 1]"),
        ("last_exit_epochs", "-1", "`last_exit_epochs` must be a whole number from 0 on"),
        ("boosting_weight", "-1", "`boosting_weight` must be finite and at least 0"),
        ("checkpoint_seconds", "0", "`checkpoint_seconds` must be above 0"),
    ],
)
def test_training_flags(tmp_path, flag, value, message):
    run_dir = ("--run_dir", tmp_path / "run")
    assert message in refused(tmp_path, TRAIN, *TRAINING, *run_dir, f"--{flag}={value}")


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("preset", "drnet_resnet5", "Did you mean 'drnet_resnet50'?"),
        ("dataset", "digit", "Did you mean 'digits'?"),
        ("precision", "bfloat", "Did you mean 'bfloat16'?"),
        ("resolutions", "24", "`resolutions` must be a list of two candidates or more"),
        ("resolutions", "24,16,16", "`resolutions` must fall from one candidate to the next"),
        ("resolutions", "24,x", "`resolutions` must be whole numbers with commas between"),
        (
            "resolutions",
            "32,16",
            "the largest of `resolutions`, 32 pixels a side. Received: digits",
        ),
        ("image_size", "20", "the largest of `resolutions`, 24 pixels a side. Received: digits"),
        ("target_gflops", "0.001", "`target_gflops` must be from 0.001705 to 0.005209, the"),
        ("target_gflops", "0.006", "`target_gflops` must be from 0.001705 to 0.005209, the"),
        ("flops_weight", "-0.1", "`flops_weight` must be finite and at least 0"),
        ("temperature", "0", "`temperature` must be finite and above 0"),
        ("final_temperature", "-1", "`final_temperature` must be finite and above 0"),
        ("predictor_learning_rate_factor", "0", "`predictor_learning_rate_factor` must be finite"),
        ("learning_rate", "0", "`learning_rate` must be finite and above 0"),
        ("stage_2_learning_rate", "-1", "`learning_rate` must be finite and above 0"),
        ("stage_1_epochs", "0", "`stage_1_epochs` must be a whole number from 1 on"),
        ("stage_2_epochs", "0", "`stage_2_epochs` must be a whole number from 1 on"),
        ("stage_2_drop_epochs", "1,2", "`drop_epochs` must rise and lie between 0 and `epochs`, 1"),
        ("warmup_epochs", "1", "`warmup_epochs` must be at least 0 and below `epochs`, 1"),
        ("batch_size", "129", "Received: 128 training images; lower `batch_size`, which is "),
        ("validation_size", "0", "`validation_size` must be a whole number from 1 on"),
        ("weight_decay", "-1", "`weight_decay` must be finite and at least 0"),
        ("stage_1_from", "runs/nowhere", "`run_dir` must be the directory of a run"),
        ("checkpoint_seconds", "0", "`checkpoint_seconds` must be above 0"),
    ],
)
def test_drnet_flags(tmp_path, flag, value, message):
    run_dir = ("--run_dir", tmp_path / "run")
    assert message in refused(tmp_path, TRAIN_DRNET, *DRNET_TRAINING, *run_dir, f"--{flag}={value}")


def test_drnet_without_a_target(tmp_path):
    at = DRNET_TRAINING.index("--target_gflops")
    arguments = (*DRNET_TRAINING[:at], *DRNET_TRAINING[at + 2 :], "--run_dir", tmp_path / "run")
    line = refused(tmp_path, TRAIN_DRNET, *arguments)
    assert "`target_gflops` must be given, from 0.001705 to 0.005209" in line


def test_another_drnet(tmp_path, finished_drnet):
    run_dir = shutil.copytree(finished_drnet, tmp_path / "run")
    arguments = (*DRNET_TRAINING, "--run_dir", run_dir)
    line = refused(tmp_path, TRAIN_DRNET, *arguments)
    assert "which holds a run; resume it or name another directory" in line
    assert "which is finished" in refused(tmp_path, TRAIN_DRNET, *arguments, "--resume")
    (run_dir / "model.keras").unlink()
    line = refused(tmp_path, TRAIN_DRNET, *arguments, "--resume", "--target_gflops", "0.004")
    assert "`target_gflops` must be what the run in" in line
    fresh = (*DRNET_TRAINING, "--run_dir", tmp_path / "new", "--stage_1_from", run_dir)
    line = refused(tmp_path, TRAIN_DRNET, *fresh, "--resolutions", "24,14")
    assert "`resolutions` must be that of the stage 1 in" in line
    (run_dir / "stage_1" / "model.keras").unlink()
    assert "which has no model.keras yet" in refused(tmp_path, TRAIN_DRNET, *fresh)


def test_missing_flag_and_stray_argument(tmp_path):
    assert "--run_dir must have a value" in refused(tmp_path, TRAIN, *TRAINING)
    run_dir = tmp_path / "run"
    line = refused(tmp_path, TRAIN, "digits", "--run_dir", run_dir)
    assert "no arguments besides flags. Received: 'digits'" in line


def test_directory_of_something_else(tmp_path):
    (tmp_path / "letter.txt").write_text("not a run")
    line = refused(tmp_path, TRAIN, *TRAINING, "--run_dir", tmp_path)
    assert "which holds something else" in line
    line = refused(tmp_path, TRAIN, *TRAINING, "--run_dir", tmp_path / "letter.txt")
    assert "which holds something else" in line
    for program in (TRAIN, EVALUATE):
        resume = (*TRAINING, "--resume") if program == TRAIN else ()
        line = refused(tmp_path, program, *resume, "--run_dir", tmp_path)
        assert "must be the directory of a run" in line
        assert "no config.json" in line


@pytest.fixture
def run_copy(tmp_path, finished_run):
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture
def unfinished_run(run_copy):
    """As if killed after the last checkpoint."""
    (run_copy / "model.keras").unlink()
    shutil.rmtree(run_copy / "report")
    return run_copy


def test_another_run(run_copy):
    line = refused(run_copy, TRAIN, *TRAINING, "--run_dir", run_copy)
    assert "which holds a run; resume it or name another directory" in line
    line = refused(run_copy, TRAIN, *TRAINING, "--run_dir", run_copy, "--resume")
    assert "which is finished" in line


def test_unfinished_run(unfinished_run):
    line = refused(unfinished_run, EVALUATE, "--run_dir", unfinished_run)
    assert "which has no model.keras yet; resume its training first" in line
    resume = (*TRAINING, "--run_dir", unfinished_run, "--resume")
    line = refused(unfinished_run, TRAIN, *resume, "--learning_rate=0.1")
    assert "`learning_rate` must be what the run in" in line
    assert "0.05. Received: learning_rate=0.1" in line


def test_truncated_checkpoint(unfinished_run):
    *_, path = sorted((unfinished_run / "checkpoints").glob("ckpt-*.data-*"))
    for each in (unfinished_run / "checkpoints").glob("ckpt-*.data-*"):
        each.write_bytes(each.read_bytes()[:100_000])
    line = refused(unfinished_run, TRAIN, *TRAINING, "--run_dir", unfinished_run, "--resume")
    assert "The checkpoint must be whole" in line
    assert path.name.split(".")[0] in line


def test_truncated_model(run_copy):
    path = run_copy / "model.keras"
    path.write_bytes(path.read_bytes()[:100_000])
    line = refused(run_copy, EVALUATE, "--run_dir", run_copy)
    assert f"The model file must be whole. Received: {path}, which is damaged" in line


def test_foreign_model(run_copy):
    with zipfile.ZipFile(run_copy / "model.keras", "w") as archive:
        archive.writestr("letter.txt", "not a model")
    assert "model.keras" in refused(run_copy, EVALUATE, "--run_dir", run_copy)


def test_foreign_settings(run_copy):
    (run_copy / "config.json").write_text(json.dumps({"model_type": "another"}))
    assert "config.json" in refused(run_copy, EVALUATE, "--run_dir", run_copy)


def test_evaluation_flags(run_copy):
    line = refused(run_copy, EVALUATE, "--run_dir", run_copy, "--measure=entropi")
    assert "Did you mean 'entropy'?" in line
    line = refused(run_copy, EVALUATE, "--run_dir", run_copy, "--batch_size=0")
    assert "`batch_size` must be a whole number from 1 on" in line


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("model", "ms_dnet", "Did you mean 'msdnet'?"),
        ("preset", "msdnet_lingrow7", "Did you mean 'msdnet_cifar_lingrow7'?"),
        ("num_classes", "1", "`num_classes` must be a whole number from 2 on"),
        ("image_size", "0", "each a whole number of 1 or more"),
        ("channels", "0", "each a whole number of 1 or more"),
        ("latency_runs", "-1", "`latency_runs` must be 0 or more"),
    ],
)
def test_profile_flags(tmp_path, flag, value, message):
    assert message in refused(tmp_path, PROFILE, f"--{flag}={value}")


def picture_folder(folder, class_names):
    for class_name, number in itertools.product(class_names, range(10)):
        (folder / class_name).mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8, 3), 20 * number, "uint8")
        Image.fromarray(pixels).save(folder / class_name / f"{number}.png")
    return folder


def test_folders(tmp_path):
    def line(folder):
        arguments = ("--dataset", f"folder:{folder}", "--run_dir", tmp_path / "run")
        return refused(tmp_path, TRAIN, *arguments)

    assert "must be folder:PATH with a folder" in line(tmp_path / "nowhere")

    one_class = picture_folder(tmp_path / "one class", ["cat"])
    assert "at least two class folders" in line(one_class)

    empty = picture_folder(tmp_path / "empty", ["cat"])
    (empty / "dog").mkdir()
    assert (
        f"must hold images (.bmp, .gif, .jpeg, .jpg, .png, .webp). Received: {empty / 'dog'}"
        in (line(empty))
    )

    unreadable = picture_folder(tmp_path / "unreadable", ["cat", "dog"])
    path = unreadable / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:30])
    assert f"could not be decoded; mend or remove it: {path}" in line(unreadable)


def test_bfloat16_where_it_is_slower(tmp_path):
    flags = (*TRAINING, "--precision", "bfloat16", "--run_dir", tmp_path / "run")
    line = refused(tmp_path, TRAIN, *flags, environment={"ONEDNN_MAX_CPU_ISA": "AVX2"})
    assert "a processor without AVX512_BF16 or AMX" in line
