"""What the report of a network with several exits says of static networks beside it."""

import pathlib

from tf_adaptive.exits import plots
from tf_adaptive.exits.static_comparison import (
    at_cost,
    compare,
    compare_with_line,
    comparison_table,
    static_line,
    verdict_sentence,
)
from tf_adaptive.files import replaced_whole
from tf_adaptive.reports.files import put_in_place

COMPARISON_TABLE = "static_comparison.csv"
VERDICT_FILE = "static_comparison.txt"


def report_static_runs(directory, static, curve, anytime_rows, budget_rows, near):
    """Writes the comparison into a report's folder, and prints its sentence.

    `static_comparison.csv` and `static_comparison.txt`; `accuracy_against_macs.png` shows the
    static networks too.

    Args:
        directory: folder of the report.
        static: list of `Classified`, the static networks on the test images.
        curve: what `adaptive_curve` gave.
        anytime_rows, budget_rows: what `write_report` gave.
        near: the budget at which early exit is judged.
    """
    line = static_line(static)
    comparisons = [compare(network, at_cost(curve, network.macs)) for network in static]
    sentence = verdict_sentence(comparisons, compare_with_line(line, curve, near.mean_macs))

    def points(networks):
        return [(network.name, network.macs, network.accuracy_percent) for network in networks]

    figure = plots.accuracy_against_macs(anytime_rows, budget_rows, points(static), points(line))
    put_in_place(
        directory,
        tables={COMPARISON_TABLE: comparison_table(comparisons, line)},
        figures={"accuracy_against_macs.png": figure},
    )
    with replaced_whole(pathlib.Path(directory) / VERDICT_FILE) as temporary:
        temporary.write_text(f"{sentence}\n", encoding="utf-8")
    print(f"\n{sentence}")
