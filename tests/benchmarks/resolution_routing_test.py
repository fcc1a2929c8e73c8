from tests.trainers.programs import run_program

PROGRAM = "benchmarks.resolution_routing"


def test_a_row_per_resolution_and_one_for_the_choice(finished_drnet):
    finished = run_program(
        PROGRAM,
        *("--run_dir", finished_drnet, "--batch_sizes", "1,32", "--repeats", "1", "--images", "32"),
    )
    assert finished.status == 0, finished.stderr
    table = [line.split() for line in finished.stdout.splitlines()[2:]]
    names = ["24", "16", "12", "chosen"]
    assert [row[:2] for row in table] == [[size, name] for size in ("1", "32") for name in names]
    for first in (0, 4):
        assert table[first][3:6] == ["1.000", "1.000", "1.000"]
        shares = [float(row[2]) for row in table[first : first + 4]]
        assert abs(sum(shares[:3]) - 1) < 0.002
        macs = [float(row[3]) for row in table[first : first + 4]]
        # The choice pays for its predictor besides.
        mean = sum(share * ratio for share, ratio in zip(shares[:3], macs[:3], strict=True))
        assert mean < macs[3] < mean + 0.25


def test_refuses_a_run_with_exits(finished_run):
    finished = run_program(PROGRAM, "--run_dir", finished_run)
    assert finished.status == 2
    assert finished.stderr.startswith("error: `run_dir` must be the run of a DRNet. Received: ")
