"""The folder of alerts is looked at for card numbers too, while the role works in it."""

from __future__ import annotations

import msgspec

from streams.alert.letters import append, letter
from streams.alert.spool import Offer, Spool
from streams.pan_scan.finder import Finder
from streams.pan_scan.report import Report
from streams.pan_scan.spool_source import scan_spool
from tests.streams.alert_records import NOW_MS, alert, plan, webhook

PLANT = "5555555555554444"


def scanned(folder) -> Report:
    report = Report()
    scan_spool(folder, Finder(), report, lambda *_: None)
    return report


def test_numbers_are_found_in_rows_and_letters_of_an_open_spool(tmp_path):
    clean, leaking = alert(1), msgspec.structs.replace(alert(2), merchant_id=f"M {PLANT}")
    spool = Spool(tmp_path / "dry-run", plan(webhook()))
    spool.open()
    offers = [Offer("cases", one, [], waits=one is leaking, urgent=True) for one in (clean, leaking)]
    spool.put(offers, NOW_MS)
    assert scanned(tmp_path).found == 1
    append(tmp_path, [letter("cases", "al_1", [leaking], "refused", "d", 0, NOW_MS)])
    report = scanned(tmp_path)
    spool.close()
    assert report.found == 2
    assert {one.last4 for one in report.findings} == {PLANT[-4:]}
    assert any(":pending:1" in one.where for one in report.findings)
    assert PLANT not in str(report.findings)
    assert report.looked_at["alerts"] == 4  # one in the outbox, one that waits, two that were seen
    assert scanned(tmp_path).found == 2, "closed as well"


def test_what_cannot_be_looked_at_is_noted(tmp_path):
    assert "FRAUD_ALERTS_DIR" in scanned(tmp_path / "nowhere").notes[0]
    (tmp_path / "spool.sqlite").write_bytes(b"no database at all, but long enough to be one" * 50)
    assert "cannot be read" in scanned(tmp_path).notes[0]
