"""Pictures of every page for the documentation: `make screenshots`, against the demo that `make up` leaves running."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from local import demo_kept
from local.demo_console import Login
from tests.console.conftest import FLAGS, browser_path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
SIZES = {"wide": (1280, 720), "tablet": (820, 860)}
MOST_BYTES = 2_000_000
NOTES = {"f": "Holder did not make these; card blocked.", "v": "Holder confirmed by phone.", "n": "Ask the merchant."}


def main() -> None:
    """Work through some cases, then take the pictures."""
    path = browser_path()
    if path is None:
        sys.exit("no Chromium: install the distribution's, or name one in FRAUD_TEST_CHROMIUM")
    login = demo_kept.login()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        work(browser, login)
        for theme in ("light", "dark"):
            for size in SIZES:
                shoot(browser, login, theme, size)
        browser.close()
    total = sum(picture.stat().st_size for picture in FOLDER.glob("*.png"))
    sys.stdout.write(f"{len(list(FOLDER.glob('*.png')))} pictures, {total // 1024} KiB in {FOLDER}\n")
    if total > MOST_BYTES:
        sys.exit("they are too large together")


def work(browser: Browser, login: Login) -> None:
    """Answer some cases by key, so that there is something to see."""
    page = browser.new_context(base_url=login.url, viewport={"width": 1280, "height": 860}).new_page()
    enter(page, login)
    for key, note in NOTES.items():
        page.goto("/queue")
        page.locator("table[data-queue] tbody tr:not(.done) a").first.click()
        page.wait_for_url("**/case?*")
        page.get_by_label("Note").fill(note)
        page.get_by_label("Note").press("Escape")
        page.keyboard.press(key)
        expect(page.locator(".stands")).to_be_visible()
    page.goto("/queue")
    page.locator("table[data-queue] tbody tr:not(.done) a").nth(2).click()
    page.wait_for_url("**/case?*")
    page.keyboard.press("c")
    expect(page.get_by_text("You are working on this case")).to_be_visible()
    page.context.close()


def shoot(browser: Browser, login: Login, theme: str, size: str) -> None:
    """Every page in one look and size."""
    width, height = SIZES[size]
    context = browser.new_context(
        base_url=login.url,
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
    )
    page = context.new_page()

    def take(name: str, high: int = height) -> None:
        """As much of a page as says something: pictures are kept small."""
        page.set_viewport_size({"width": width, "height": high})
        page.screenshot(path=FOLDER / f"{name}-{theme}-{size}.png")

    page.goto("/login")
    take("login")
    enter(page, login)
    page.goto("/queue")
    take("queue")
    page.goto("/queue?outcome=review&sort=score&state=any")
    page.locator("table[data-queue] tbody tr a").first.click()
    expect(page.locator("svg.timeline")).to_be_visible()
    take("case", 980 if size == "wide" else height)
    page.goto("/overview?span=24h")
    take("overview")
    page.goto("/audit")
    take("audit", 480)
    context.close()


def enter(page: Page, login: Login) -> None:
    """Log in."""
    page.goto("/login")
    page.get_by_label("Name").fill(login.name)
    page.get_by_label("Password").fill(login.password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{login.url}/queue")


if __name__ == "__main__":
    main()
