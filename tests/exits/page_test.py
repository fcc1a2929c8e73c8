import base64
import dataclasses
import json
import re

import numpy as np
import pytest

from tests.browser import Browser, needs_chromium
from tests.exits.made_up_report import write
from tests.trainers.programs import rows
from tf_adaptive.exits.latency import LatencyRow
from tf_adaptive.exits.page import report_page
from tf_adaptive.exits.promise import evidence


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    directory = tmp_path_factory.mktemp("page")
    return directory, write(directory, class_names=["<b>cat", "hund", "猫", "</script>"])


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_holds_the_tables_and_asks_nothing_of_a_network(report):
    directory, written = report
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert "http" not in page and "//" not in re.sub(r"data:image[^\"]*", "", page)
    data = data_of(page)
    assert data["class_names"] == ["<b>cat", "hund", "猫", "</script>"]
    assert [exit["accuracy"] for exit in data["exits"]] == [
        row.accuracy_percent for row in written.anytime
    ]
    for name, budgets in (("sweep", written.budgets), ("optimal", written.optimal)):
        ordered = sorted(budgets, key=lambda row: row.mean_macs)
        for ours, theirs in zip(data["families"][name]["rows"], ordered, strict=True):
            assert (ours["macs"], ours["accuracy"]) == (theirs.mean_macs, theirs.accuracy_percent)
            thresholds = [np.inf if each is None else each for each in ours["thresholds"]]
            np.testing.assert_array_equal(np.float32(thresholds), theirs.thresholds)
    assert len(data["pictures"]) == 60
    picture = base64.b64decode(data["pictures"][0]["source"].partition(",")[2])
    assert picture.startswith(b"\x89PNG")


def test_what_is_promised_is_shown(report):
    _, written = report
    page = report_page(
        written.rows, near=written.near_last_exit, pictures=[], class_names=list("abcd")
    )
    promised = {row["macs"]: row["promise"] for row in data_of(page)["families"]["promise"]["rows"]}
    said = 0
    for place, (row, _) in enumerate(written.family):
        words = promised[row.mean_macs]
        if words is None:
            continue
        said += 1
        risk = float(re.search(r"at most ([0-9.]+) points", words)[1]) / 100
        # All that are safer are shown to keep it too.
        for _, counts in written.family[: place + 1]:
            assert evidence(counts, risk + 1e-9, "accuracy_gap") >= np.log(20) - 1e-6
    assert said


@needs_chromium
def test_the_slider_moves_what_is_shown(report, tmp_path):
    directory, written = report
    latencies = [
        LatencyRow(k, row.macs, float(k), 2.0 * k) for k, row in enumerate(written.anytime, 1)
    ]
    page = report_page(
        dataclasses.replace(written.rows, latencies=latencies),
        near=written.near_last_exit,
        pictures=[],
        class_names=list("abcd"),
        static=[("small", 5_000_000, 70.0)],
        others=[("other", [(1_000_000, 50.0), (30_000_000, 80.0)])],
    )
    (tmp_path / "timed.html").write_text(page, encoding="utf-8")
    table = sorted(rows(directory / "budgeted.csv"), key=lambda row: int(row["mean_macs"]))

    def shown(row, cost, whole):
        return (
            f"{float(row['accuracy_percent']):.2f} % at {cost} an image, {whole:.0f} % of the "
            "whole network's."
        )

    with Browser(tmp_path / "profile") as browser:
        browser.open((directory / "report.html").as_uri())
        answer = "document.getElementById('answer').textContent"
        slider = "document.getElementById('budget')"
        assert browser.run(f"{slider}.max") == str(len(table) - 1)
        browser.run(f"{slider}.focus()")
        browser.press("Home", 36)
        for row in table[:3]:
            macs = int(row["mean_macs"])
            expected = shown(row, f"{macs / 1e6:.2f} M MACs", 100 * macs / 40_000_004)
            assert browser.run(answer) == expected
            assert browser.run(f"{slider}.getAttribute('aria-valuetext')") == expected[:-1]
            shares = browser.run(
                "[...document.querySelectorAll('#exits tr')].map(row => row.cells[4].textContent)"
            )
            assert shares == [f"{100 * float(row[f'share_exit_{k}']):.1f} %" for k in (1, 2, 3)]
            browser.press("ArrowRight", 39)
        # Pictures stand at the exit where they leave, names are text.
        browser.press("End", 35)
        counts = browser.run(
            "[...document.querySelectorAll('.pictures')].map(list => list.children.length)"
        )
        assert sum(counts) == 60
        assert browser.run("document.querySelectorAll('#pictures b, #pictures script').length") == 0

        browser.open((tmp_path / "timed.html").as_uri())
        assert browser.run("document.querySelectorAll('#chart rect').length") == 1
        browser.run(
            "document.getElementById('unit').value = 'ms';"
            "document.getElementById('unit').dispatchEvent(new Event('change'))"
        )
        browser.run(f"{slider}.focus()")
        browser.press("Home", 36)
        shares = [float(table[0][f"share_exit_{k}"]) for k in (1, 2, 3)]
        milliseconds = float(np.dot(shares, (1, 2, 3)))
        assert browser.run(answer) == shown(
            table[0], f"{milliseconds:.2f} ms", 100 * milliseconds / 3
        )
        browser.run(
            "document.getElementById('family').value = 'promise';"
            "document.getElementById('family').dispatchEvent(new Event('change'))"
        )
        browser.press("End", 35)
        assert "with 95 % confidence" in browser.run(
            "document.getElementById('promise').textContent"
        )
        for scheme in ("dark", "light"):
            browser.send(
                "Emulation.setEmulatedMedia",
                features=[{"name": "prefers-color-scheme", "value": scheme}],
            )
            (tmp_path / f"{scheme}.png").write_bytes(browser.picture())
        assert browser.errors == []
