"""A page of a network with exits to play with: one file, which asks nothing of a network."""

import base64
import importlib.resources
import json
import math

import tensorflow as tf

from tf_adaptive.exits.promise import Promise, smallest_risk
from tf_adaptive.exits.thresholds import NEVER

_CONFIDENCE = 0.95


def report_page(rows, *, near, pictures, class_names, static=(), others=(), about=""):
    """The page, HTML.

    A slider moves along the budgets: accuracy, cost, thresholds, the share of each exit and the
    pictures that leave there follow.

    Args:
        rows: `ExitRows`.
        near: the `BudgetRow` that is shown at first.
        pictures: a list of `(picture, label, predicted, confidences)`: uint8
            `(height, width, 1 or 3)`, a class, and of each exit a class and a confidence.
        class_names: a name per class.
        static: networks with one exit to show beside it, `(name, macs, accuracy_percent)` each.
        others: other networks with exits, `(name, points)` each, points being
            `(macs, accuracy_percent)` of their budgets.
        about: a line under the heading.
    """
    families = {
        "sweep": ("the papers' (p-sweep)", rows.budgets, {}),
        "optimal": ("searched jointly", rows.optimal, {}),
        "promise": ("with a promise", [row for row, _ in rows.family], _promises(rows.family)),
    }
    data = {
        "about": about,
        "exits": [
            {"exit": row.exit, "macs": row.macs, "accuracy": row.accuracy_percent}
            for row in rows.anytime
        ],
        "latencies": None if rows.latencies is None else [row.median_ms for row in rows.latencies],
        "families": {
            name: _family(words, budgets, near, promises)
            for name, (words, budgets, promises) in families.items()
        },
        "static": [
            {"name": name, "macs": macs, "accuracy": accuracy} for name, macs, accuracy in static
        ],
        "others": [{"name": name, "points": points} for name, points in others],
        "class_names": list(class_names),
        "pictures": [
            {
                "source": _source(picture),
                "label": int(label),
                "predicted": [int(each) for each in predicted],
                # As long as they read back to the same float32.
                "confidences": [float(str(each)) for each in confidences],
            }
            for picture, label, predicted, confidences in pictures
        ],
    }
    template = importlib.resources.files(__package__).joinpath("page.html").read_text("utf-8")
    # A name may hold the tag that ends a script.
    text = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    return template.replace("__DATA__", text)


def _family(words, budgets, near, promises):
    ordered = sorted(budgets, key=lambda row: row.mean_macs)
    distances = [abs(row.mean_macs - near.mean_macs) for row in ordered]
    return {
        "words": words,
        "chosen": distances.index(min(distances)),
        "rows": [
            {
                "accuracy": row.accuracy_percent,
                "macs": row.mean_macs,
                "shares": list(row.shares),
                "thresholds": [
                    None if threshold == NEVER else float(str(threshold))
                    for threshold in row.thresholds
                ],
                "promise": promises.get(id(row)),
            }
            for row in ordered
        ],
    }


def _promises(family):
    """By the `id` of each row, what is promised of it in words.

    A member is only reached where those before it, which are safer, keep the bound too.
    """
    words, risk = {}, 0.0
    for row, counts in family:
        loss = "disagreement" if counts.spoiled is None else "accuracy_gap"
        risk = max(risk, smallest_risk(counts, _CONFIDENCE, loss))
        if risk >= 1:
            break
        # Upwards, so that what is said is kept.
        rounded = math.ceil(1e4 * risk) / 1e4
        words[id(row)] = Promise(rounded, _CONFIDENCE, loss, counts.images).words()
    return words


def _source(picture):
    content = tf.io.encode_png(picture).numpy()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
