"""A real browser: from the login to an answer, by mouse and by key, side by side, and while things break."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from tests.console import seed
from tests.console.conftest import FLAGS, PASSWORD, Site, address_of, chromium

MANY = 50_000


@pytest.fixture(scope="module")
def engine() -> Iterator[Browser]:
    """One browser for the module."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


class Watch:
    """What must not happen: complaints, and requests to anywhere else."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.expected: list[str] = []
        context.on("console", lambda said: self._said(said.type, said.text))
        context.on("weberror", lambda said: self.complaints.append(str(said.error)))
        context.on("request", self._asked)

    def _said(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not any(part in text for part in self.expected):
            self.complaints.append(text)

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "about"} and parts.hostname != "127.0.0.1":
            self.strangers.append(request.url)


def enter(page: Page, name: str, path: str) -> None:
    """Log in on the way to a page."""
    page.goto(path)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**{path}")


@pytest.fixture
def opened(site: Site, engine: Browser) -> Iterator[Callable[..., tuple[Page, Watch]]]:
    """Browsers of several people; nothing may complain, be blocked, or leave this machine."""
    contexts, watches = [], []

    def open_for(name: str, path: str = "/queue") -> tuple[Page, Watch]:
        context = engine.new_context(
            viewport={"width": 1280, "height": 860}, base_url=site.url, timezone_id="Asia/Tokyo"
        )
        contexts.append(context)
        watches.append(Watch(context))
        page = context.new_page()
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP ' + e.violatedDirective))"
        )
        enter(page, name, path)
        return page, watches[-1]

    yield open_for
    for context in contexts:
        context.close()
    assert [watch.complaints for watch in watches] == [[] for _ in watches]
    assert [watch.strangers for watch in watches] == [[] for _ in watches]


def test_from_the_login_to_an_answer_and_back_by_keys_alone(site: Site, opened):
    for number in range(3):
        site.case(f"tx-keys-{number}", amount=9_000_000_00 - number)
    page, _ = opened("ana")
    expect(page.get_by_role("heading", name="Review queue")).to_be_visible()

    page.keyboard.press("j")
    expect(page.locator("tr.chosen")).to_contain_text("9,000,000.00 EUR")
    page.keyboard.press("Enter")
    page.wait_for_url("**/case?*tx-keys-0*")
    page.keyboard.press("m")
    page.keyboard.type("fjvn called the holder")  # keys in a text are letters
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    expect(page.get_by_text("You are working on this case")).to_be_visible()
    page.keyboard.press("f")
    expect(page.locator(".stands")).to_contain_text("Fraud")
    expect(page.locator(".trail")).to_contain_text("answered")
    assert [label.label for label in site.labels("tx-keys-0")] == ["fraud"]

    page.keyboard.press("u")
    expect(page.locator(".stands")).to_have_count(0)
    assert [label.label for label in site.labels("tx-keys-0", 2)] == ["fraud", "withdrawn"]
    page.keyboard.press("j")
    page.wait_for_url("**/case?*tx-keys-1*")
    page.keyboard.press("n")
    expect(page.locator(".stands")).to_contain_text("Needs further review")
    page.keyboard.press("q")
    expect(page.locator("tr", has_text="8,999,999.99 EUR")).to_contain_text("Needs further review")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_the_note_goes_with_the_answer_by_mouse(site: Site, opened):
    case = site.case("tx-mouse")
    page, _ = opened("ana", "/overview")
    page.goto(address_of(case))
    page.get_by_label("Note").fill("holder says it was them")
    page.get_by_role("button", name="Valid").dblclick()

    expect(page.locator(".stands")).to_contain_text("holder says it was them")
    (label,) = site.labels("tx-mouse")
    assert (label.label, label.note) == ("valid", "holder says it was them")


def test_two_analysts_do_not_work_on_one_case(site: Site, opened):
    case = site.case("tx-side-by-side")
    ana, _ = opened("ana")
    ben, watch = opened("olga", "/overview")
    watch.expected.append("409")
    ana.goto(address_of(case))
    ben.goto(address_of(case))
    ana.get_by_role("button", name="Claim").click()
    expect(ana.get_by_text("You are working on this case")).to_be_visible()

    ben.get_by_label("Note").fill("mine is better")
    ben.keyboard.press("Escape")
    ben.keyboard.press("f")

    expect(ben.get_by_role("alert")).to_contain_text("ana is working on this case. Nothing was changed.")
    expect(ben.get_by_label("Note")).to_have_value("mine is better")
    ben.reload()
    expect(ben.locator(".status")).to_contain_text("ana is working on this case")
    assert not site._labels("tx-side-by-side")
    ana.keyboard.press("v")
    expect(ana.locator(".stands")).to_contain_text("Valid")
    assert [label.analyst for label in site.labels("tx-side-by-side")] == ["ana"]


def test_opensearch_stops_while_a_case_is_open(site: Site, opened, opensearch_away):
    case = site.case("tx-stopped")
    page, watch = opened("ana")
    page.goto(address_of(case))
    expect(page.get_by_role("img", name="transactions of the card")).to_be_visible()
    opensearch_away()

    page.keyboard.press("f")
    expect(page.locator(".stands")).to_contain_text("Fraud")
    expect(page.locator("main")).to_contain_text("OpenSearch cannot be asked now")
    assert [label.label for label in site.labels("tx-stopped")] == ["fraud"]
    page.goto("/queue")
    expect(page.get_by_role("alert")).to_contain_text("OpenSearch cannot be asked now")
    page.goto("/overview")
    expect(page.get_by_role("alert")).to_contain_text("OpenSearch cannot be asked now")
    watch.expected.append("503")
    unseen = {"card_id": "never", "transaction_id": "seen"}
    page.goto(address_of(unseen))
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed")


def test_when_the_console_itself_does_not_answer_the_note_stays(site: Site, opened):
    case = site.case("tx-gone")
    page, watch = opened("ana")
    watch.expected.append("ERR_CONNECTION_FAILED")
    page.goto(address_of(case))
    page.get_by_label("Note").fill("precious")
    page.route("**/case/answer", lambda route: route.abort("connectionfailed"))
    page.get_by_role("button", name="Fraud").click()
    expect(page.get_by_role("alert")).to_contain_text("The console does not answer")
    expect(page.get_by_label("Note")).to_have_value("precious")

    page.unroute("**/case/answer")
    page.get_by_role("button", name="Fraud").click()
    expect(page.locator(".stands")).to_contain_text("precious")
    assert len(site.labels("tx-gone")) == 1


def test_a_login_that_has_ended_costs_nothing_that_was_typed(site: Site, opened):
    case = site.case("tx-logged-out")
    page, watch = opened("ana")
    watch.expected += ["401", "403"]
    page.goto(address_of(case))
    page.get_by_label("Note").fill("hours of work")
    page.context.clear_cookies()
    page.get_by_role("button", name="Fraud").click()
    expect(page.get_by_role("alert")).to_contain_text("Your login has ended")

    other = page.context.new_page()
    enter(other, "ana", "/overview")
    page.get_by_role("button", name="Fraud").click()
    expect(page.locator(".stands")).to_contain_text("hours of work")
    assert len(site.labels("tx-logged-out")) == 1


def test_hostile_texts_do_nothing_in_a_browser(site: Site, opened):
    texts = dict.fromkeys(("merchant_id", "country", "device_id", "email"), seed.HOSTILE)
    reasons = [{"code": "X", "text": seed.HOSTILE, "feature": seed.HOSTILE, "value": 1, "contribution": 1.5}]
    case = site.case(
        f"h-{seed.HOSTILE}", card="card-hostile", amount=99_000_000_00, fraud={"reasons": reasons}, **texts
    )
    page, _ = opened("ana")
    fired: list[str] = []
    page.on("dialog", lambda dialog: (fired.append(dialog.message), dialog.dismiss()))

    for path in ("/queue", address_of(case), "/overview?span=1h"):
        page.goto(path)
        assert page.locator("main script, main img").count() == 0
    page.goto(address_of(case))
    page.get_by_label("Note").fill(seed.HOSTILE)
    page.get_by_role("button", name="Fraud").click()
    expect(page.locator(".stands q")).to_have_text(seed.HOSTILE)
    assert page.locator("main script, main img").count() == 0
    assert not fired


def test_times_are_in_the_viewers_zone_and_charts_refresh(site: Site, opened):
    case = site.case("tx-zone")
    page, _ = opened("vic", "/overview")
    page.goto(address_of(case))
    moment = page.locator(".case-head time")
    tokyo = time.strftime("%H:%M", time.gmtime((site.now_ms - 3_600_000) / 1000 + 9 * 3600))
    hour = f"{int(tokyo[:2]) % 12 or 12:02d}:{tokyo[3:]}"
    expect(moment).to_contain_text(hour)
    assert "UTC" in (moment.get_attribute("title") or "")
    expect(page.get_by_text("Your role is to read")).to_be_visible()

    page.goto("/overview?span=7d")
    expect(page.locator("svg.traffic")).to_be_visible()
    page.evaluate("refresh()")
    expect(page.locator("[data-refreshed]")).to_contain_text("last at")
    expect(page.locator("svg.traffic rect.bar").first).to_be_visible()


def test_dark_light_and_labels_for_every_field(opened):
    page, _ = opened("olga")
    before = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.get_by_role("button", name="Dark or light").click()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != before
    page.reload()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != before
    for path in ("/queue", "/audit"):
        page.goto(path)
        nameless = page.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]), select, textarea, button')]"
            ".filter((e) => !(e.labels && e.labels.length) && !e.ariaLabel && !e.textContent.trim()).length"
        )
        assert nameless == 0
        page.set_viewport_size({"width": 820, "height": 1100})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_fifty_thousand_open_cases_in_under_a_second(site: Site, opened):
    seed.store_many(site.direct, site.prefix, MANY, site.now_ms)
    page, _ = opened("ana")
    expect(page.locator(".page-head")).to_contain_text(f"{MANY // 1000},")

    def seconds(path: str) -> float:
        page.goto(path)
        return float(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")) / 1000

    taken_s = {path: min(seconds(path) for _ in range(3)) for path in ("/queue", "/queue?sort=score&min_amount=50")}
    assert max(taken_s.values()) < 1.0, taken_s
    page.get_by_role("link", name="Next").click()
    expect(page.locator("table[data-queue] tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Earlier").click()
    expect(page.locator("table[data-queue] tbody tr")).to_have_count(50)
