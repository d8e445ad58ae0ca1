"""Pictures are well-formed, escape what they show, and stand at the right height."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from console.case_charts import contributions, timeline
from console.cases import case_of
from console.drawing import top_of
from console.overview import Bar, Overview
from console.overview_charts import rates, scores, traffic
from tests.console import seed

NOW_MS = 1_767_225_600_000


def shapes(picture: str, kind: str) -> list[ET.Element]:
    return [one for one in ET.fromstring(picture).iter() if kind in one.get("class", "").split()]


def test_bars_are_as_long_as_the_contributions():
    bars = shapes(contributions(seed._reasons(700, 100.0)), "raises")
    lengths = [float(bar.get("width")) for bar in bars]

    assert len(bars) == 4
    assert lengths[1] / lengths[0] == pytest.approx((700 / 520) / (700 / 350), rel=0.02)


def test_what_lowers_the_risk_is_told_apart():
    reasons = [{**reason, "contribution": -1.0} for reason in seed._reasons(700, 1.0)]

    assert not shapes(contributions(reasons), "raises")
    assert len(shapes(contributions(reasons), "lowers")) == 4


def test_without_weights_there_are_no_bars():
    assert contributions([{"code": "X", "text": "x", "feature": "f", "value": 1}]) == ""
    assert contributions([{"code": "X", "text": "x", "contribution": float("nan")}]) == ""
    assert contributions([]) == ""


def test_hostile_texts_stay_text():
    reason = {"code": "X", "text": seed.HOSTILE, "feature": seed.HOSTILE, "value": 1, "contribution": 1.0}
    case = case_of(seed.outcome("c", "t", NOW_MS))
    row = seed.outcome("c", "t", NOW_MS, merchant_id=seed.HOSTILE)

    for picture in (contributions([reason]), timeline(case, [row])):
        assert "<script" not in picture
        assert "<img" not in picture
        ET.fromstring(picture)


def test_the_week_shows_every_transaction_and_marks_ten_minutes_and_this_one():
    rows = list(seed.attack("c", NOW_MS, device="d"))
    case = case_of(rows[3])
    picture = timeline(case, rows)

    assert len(shapes(picture, "ten")) == 2
    assert len(shapes(picture, "ring")) == 2
    # In the week and, since they lie minutes apart, in the closer look too.
    assert len(shapes(picture, "dot")) == 10
    assert "4 in the ten minutes" in picture
    week, near = shapes(picture, "ten")
    assert float(near.get("width")) > 10 * float(week.get("width"))


def test_a_case_without_a_week_has_no_picture():
    assert timeline(case_of(seed.outcome("c", "t", NOW_MS)), []) == ""


def made(traffic_bars: list[Bar], score_bars: list[Bar]) -> Overview:
    counts = {verdict: sum(bar.counts[verdict] for bar in traffic_bars) for verdict in ("approve", "review", "block")}
    return Overview(
        span="1h", first_ms=0, last_ms=1, counts=counts, traffic=traffic_bars, scores=score_bars, blocked={},
        latest=[], waiting=0, escalated=0, at_risk={}, oldest=None,
    )  # fmt: skip


def test_traffic_stacks_its_outcomes_to_scale():
    found = made([Bar(0, {"approve": 60, "review": 30, "block": 10})], [])
    heights = [float(bar.get("height")) for bar in shapes(traffic(found), "bar")]

    assert sum(heights) == pytest.approx(178 * 100 / 120, abs=0.5)
    assert heights == pytest.approx([89, 44.5, 14.8], abs=0.1)


@pytest.mark.parametrize("picture", [traffic, rates, scores])
def test_nothing_is_drawn_of_nothing(picture):
    ET.fromstring(picture(made([], [])))
    ET.fromstring(picture(made([Bar(0, dict.fromkeys(("approve", "review", "block"), 0))] * 3, [])))


@pytest.mark.parametrize(("values", "top"), [([1], 1.2), ([11], 12), ([0.2], 0.2), ([999_999], 1_200_000)])
def test_the_scale_ends_at_a_round_number(values, top):
    assert top_of(values) >= max(values)
    assert top_of(values) == pytest.approx(top)
