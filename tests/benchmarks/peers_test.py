from tests.trainers.programs import refused, run_program

PEERS = "benchmarks.peers"


def test_other_runtimes_answer_alike_and_are_timed(finished_run):
    finished = run_program(
        PEERS, "--run_dir", finished_run, "--batch_sizes", "1,32", "--repeats", "1"
    )
    assert finished.status == 0, finished.stderr
    for name in ("TensorFlow", "OpenVINO", "ONNX Runtime", "LiteRT", "early exit, OpenVINO"):
        assert finished.stdout.count(f" {name}") >= 2


def test_refuses(tmp_path, finished_run):
    line = refused(tmp_path, PEERS, "--run_dir", finished_run, "--precision", "int8")
    assert "`precision` must be" in line
