"""What is printed of a report of a DRNet."""

from tf_adaptive.reports.logits import accuracy_interval


def print_routing_report(report, predictor_macs, size):
    """Prints the resolutions and the choice.

    Args:
        report: `RoutingReport`.
        predictor_macs: multiply-accumulates of the choice.
        size: number of test images.
    """
    print(
        f"\n{'resolution':>10} {'M MACs':>9} {'test accuracy':>14} {'chosen for':>11}"
        f"   95 % interval of the accuracy, {size:,} images"
    )
    for row in report.resolutions:
        low, high = accuracy_interval(row.accuracy_percent, size)
        print(
            f"{row.resolution:>10} {row.macs / 1e6:>9.2f} {row.accuracy_percent:>12.2f} % "
            f"{100 * row.share:>9.1f} % {low:>8.2f} to {high:.2f}"
        )
    router, random, uniform = report.choices
    for row, name in ((router, "chosen"), (random, "at random"), (uniform, "uniform")):
        print(f"{name:>10} {row.mean_macs / 1e6:>9.2f} {row.accuracy_percent:>12.2f} %")
    if router.top_5_percent is not None:
        print(
            "Top-5: "
            + ", ".join(f"{row.resolution} {row.top_5_percent:.2f} %" for row in report.resolutions)
            + f", chosen {router.top_5_percent:.2f} %"
        )
    print(
        f"\nThe choice, its predictor's {predictor_macs / 1e6:.2f} M MACs included, is "
        f"{router.accuracy_percent - random.accuracy_percent:+.2f} points from choosing at random "
        f"at the same cost, {router.above_line_points:+.2f} from the line between the fixed "
        "resolutions."
    )
