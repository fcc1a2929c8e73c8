from tests.tiny_networks import TINY
from tests.trainers.programs import refused, run_program

CLUSTER = "benchmarks.cluster"
SMALL = (
    *("--preset", TINY, "--num_classes", "10", "--image_size", "16", "--repeats", "1"),
    *("--batch_size", "8", "--pictures", "1e7"),
)


def test_tells_costs_and_workers():
    finished = run_program(CLUSTER, *SMALL)
    assert (finished.status, finished.stderr) == (0, "")
    for told in ("µs an image", "640 × 427, JPEG", "whole ÷ early exit", "takes more than"):
        assert told in finished.stdout


def test_refuses(tmp_path):
    assert "`leaving` must be from 0 to 1." in refused(tmp_path, CLUSTER, "--leaving", "2")
