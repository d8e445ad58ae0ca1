"""The routes file: what it says, and what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.errors import ConfigError
from streams.alert.load import load_plan
from streams.alert.plan import Plan, QuietHours, Throttle

# Apprise loads all its plugins at once, and one of them asks for a module that Python will drop.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]
SECRET = "verysecret-0123456789abcdef"
ENVIRON = {"DESK_URL": f"json://user:{SECRET}@localhost/x", "CASES_KEY": f"{SECRET}-and-long-enough"}

GOOD = """\
channels:
  desk:
    url: ${DESK_URL}
    digest: 15m
    quiet_hours: {from: "22:00", to: "07:00", zone: Europe/Berlin, urgent: [block]}
  cases:
    webhook: https://cases.example.org/hook
    secret: ${CASES_KEY}
    timeout: 5s
routes:
  - name: blocks
    outcomes: [block]
    min_amount: 99.50
    currencies: [EUR]
    channels: [desk, cases]
    per_card: 1 in 10m
  - name: all
    channels: [cases]
    rules: [geo]
    min_score: 700
    per_rule: 20 in 1h
"""


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Plan:
    file = tmp_path / "alerts.yaml"
    file.write_text(text)
    return load_plan(file, ENVIRON if environ is None else environ)


def problem(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environ)
    said = str(caught.value)
    assert SECRET not in said
    return said.replace(f"{tmp_path}/", "")


def test_a_good_file(tmp_path):
    plan = load(tmp_path, GOOD)

    desk, cases = plan.channels["desk"], plan.channels["cases"]
    assert (desk.kind, desk.digest_ms, desk.timeout_s) == ("apprise", 900_000, 10)
    assert desk.quiet == QuietHours(1320, 420, "Europe/Berlin", frozenset({"block"}))
    assert (cases.kind, cases.quiet, cases.timeout_s, len(cases.keys)) == ("webhook", None, 5, 1)
    blocks, everything = plan.routes
    assert (blocks.min_amount, blocks.currencies) == (Decimal("99.50"), {"EUR"})
    assert (blocks.per_card, blocks.per_rule) == (Throttle(1, 600_000), None)
    assert (everything.outcomes, everything.rules, everything.min_score) == ({"review", "block"}, {"geo"}, 700)
    assert plan.outcomes == {"review", "block"}
    assert SECRET not in repr(plan)
    assert any(SECRET in secret for secret in plan.secrets())


def test_the_example_can_be_used():
    environ = {
        "DESK_MAIL_URL": "mailtos://user:password@example.org?from=a@example.org&to=b@example.org",
        "ONCALL_URL": "pagerduty://integrationkey@apikey",
        "CASES_WEBHOOK_KEY": "k" * 32,
    }
    plan = load_plan(ROOT / "deploy" / "alerts.yaml", environ)

    assert len(plan.channels) == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("${DESK_URL}", "${NOWHERE}", "alerts.yaml:3: url: the environment variable NOWHERE is not set"),
        ("${DESK_URL}", "${1}", "alerts.yaml:3: url: ${...} must hold the name of an environment variable"),
        ("${DESK_URL}", f"nosuch://{SECRET}", "alerts.yaml:3: url: Apprise knows no such URL"),
        ("digest: 15m", "digest: soon", "alerts.yaml:4: digest: a span of time"),
        ('"22:00"', '"25:00"', "alerts.yaml:5: from: a time of the day"),
        ('"22:00"', '"07:00"', "alerts.yaml:5: to: must differ"),
        ("Europe/Berlin", "Europe/Nowhere", "alerts.yaml:5: zone: there is no such time zone"),
        ("Europe/Berlin", "../../etc/passwd", "alerts.yaml:5: zone: there is no such time zone"),
        ("urgent: [block]", "urgent: [blok]", "alerts.yaml:5: urgent: must hold approve"),
        ("https://cases", f"ftp://{SECRET}", "alerts.yaml:7: webhook: must be a URL"),
        ("https://cases", f"https://a:{SECRET}@cases", "alerts.yaml:7: webhook: must hold neither a user"),
        ("secret: ${CASES_KEY}", "secret_old: ${CASES_KEY}", "alerts.yaml:7: a webhook needs a secret"),
        ("${CASES_KEY}", "short", "alerts.yaml:8: secret: must be at least 24 bytes"),
        ("${CASES_KEY}", "whsec_!!", "alerts.yaml:8: secret: what follows whsec_ must be base64"),
        ("timeout: 5s", "timeout: 5m", "alerts.yaml:9: timeout: must be from 1s to 120s"),
        ("name: all", "name: blocks", "there are two of the name blocks"),
        ("99.50", "1e9", "alerts.yaml:13: min_amount: an amount is expected"),
        ("[desk, cases]", "[desk, case]", "alerts.yaml:15: channels: there is no channel case"),
        ("[desk, cases]", "[cases]", "no route leads to desk"),
        ("1 in 10m", "0 in 10m", "alerts.yaml:16: per_card: a number and a span of time"),
        ("1 in 10m", "1 in 0m", "alerts.yaml:16: per_card: a number and a span of time"),
        ("1 in 10m", "1 in 9d", "remember: must be at least as long"),
        ("min_score", "min_scor", "alerts.yaml:20: there is no key min_scor; did you mean min_score?"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, old, new, said):
    assert old in GOOD
    assert said in problem(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize("text", ["", "channels: {}", "routes: []", "[]", "channels: [a]", "a: &b 1", "\x00", "{"])
def test_what_is_no_routes_file_is_refused(tmp_path, text):
    assert "FRAUD_ALERTS" in problem(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"FRAUD_ALERTS .*nowhere.yaml"):
        load_plan(tmp_path / "nowhere.yaml", {})


@settings(deadline=None)
@given(
    begin=st.integers(0, 1439),
    end=st.integers(0, 1439),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]),
    now_ms=st.integers(1_600_000_000_000, 1_900_000_000_000),
)
def test_quiet_hours_are_what_the_clock_on_the_wall_says(begin, end, zone, now_ms):
    assume(begin != end)
    quiet = QuietHours(begin, end, zone, frozenset())
    wall = datetime.fromtimestamp(now_ms // 1000, UTC).astimezone(ZoneInfo(zone))
    # Walked minute by minute from the beginning, as somebody with a watch would.
    minute, at = begin, False
    while minute != end:
        at = at or minute == wall.hour * 60 + wall.minute
        minute = (minute + 1) % 1440

    assert quiet.holds(now_ms) == at
