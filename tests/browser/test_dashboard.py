"""The dashboard in a real browser: it draws, it follows a running campaign, it asks nobody but its own service."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from database.campaigns.sql import SqlRepository, open_repository
from database.campaigns.status import CampaignStatus
from services.api.settings import ServiceSettings
from tests.api_samples import (
    NUM_STEPS,
    NUM_WALKERS,
    add_steps,
    build_hiscore,
    electroweak_model,
    fill_repository,
    start_campaign,
    stop_model,
)
from tests.live_service import serve

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WAIT_MS = 20_000


class Watched:
    """A page, and everything it asked for or complained about."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, fragment: str = "") -> Any:
        self.page.goto(f"{self.address}/{fragment}")
        return self.page

    def wait_until(self, expression: str) -> None:
        """Waits for an expression to be true; the page's own rules forbid Playwright's wait_for_function."""
        deadline = time.monotonic() + WAIT_MS / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never came true: {expression}"
            self.page.wait_for_timeout(50)

    def check_clean(self) -> None:
        """No complaint, and no request to any other host."""
        assert self.complaints == []
        own = (f"{self.address}/", "data:", f"blob:{self.address}/")
        assert [url for url in self.requests if not url.startswith(own)] == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[SqlRepository]:
    opened = open_repository(str(tmp_path / "campaigns.db"))
    yield opened
    opened.close()


@pytest.fixture
def address(repository: SqlRepository) -> Iterator[str]:
    with serve(ServiceSettings(database_url=repository.url, results="embedded", event_interval_s=0.2)) as served:
        yield served


@pytest.fixture
def watched(browser: Any, address: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield Watched(context.new_page(), address)
    context.close()


def test_page_shows_traces_hiscores_and_the_best_model(watched: Watched, repository: SqlRepository) -> None:
    fill_repository(repository)
    page = watched.open()
    page.wait_for_selector("#detail .members-table")
    watched.wait_until(f"document.querySelectorAll('#k-plot .scatterlayer .trace').length === {NUM_WALKERS + 1}")  # walkers, hiscores
    assert page.locator("#walker-chips button").count() == NUM_WALKERS
    assert page.locator("#hiscore-table tbody tr").count() == 3
    assert page.locator("#hiscore-table tbody tr").first.locator(".k").inner_text() == "6.70"
    assert page.locator("#ruler .col").count() == 3
    assert "1100" in page.locator("#ruler .col").first.text_content()
    assert page.locator("#f-steps").inner_text().startswith(str(NUM_WALKERS * (NUM_STEPS - 10)))
    assert page.locator("#approximate strong").inner_text() == "approximate: for demonstration and tests"
    members = page.locator("#detail .members-table tbody tr")
    assert [members.nth(i).locator("th").inner_text() for i in range(2)] == ["CMS-EXO-20-004", "ATLAS-SUSY-2018-12"]
    assert "46.00 ± 7.00" in members.nth(1).inner_text() and "2.1 σ" in members.nth(1).inner_text()
    watched.check_clean()


def test_hover_shows_the_values_of_a_step(watched: Watched, repository: SqlRepository) -> None:
    fill_repository(repository)
    page = watched.open()
    page.wait_for_selector("#k-plot .scatterlayer .trace")
    box = page.locator("#k-plot .plotbg, #k-plot .bglayer").first.bounding_box() or page.locator("#k-plot").bounding_box()
    drag = page.locator("#k-plot .nsewdrag").bounding_box() or box
    assert drag is not None
    for share in (0.3, 0.45, 0.6, 0.75):
        page.mouse.move(drag["x"] + drag["width"] * 0.5, drag["y"] + drag["height"] * share)
        page.wait_for_timeout(150)
        if page.locator("#k-plot .hoverlayer .hovertext").count():
            break
    assert "walker" in page.locator("#k-plot .hoverlayer .hovertext").text_content()
    watched.check_clean()


def test_choosing_a_hiscore_by_mouse_and_keyboard(watched: Watched, repository: SqlRepository) -> None:
    fill_repository(repository)
    page = watched.open()
    page.wait_for_selector("#detail .members-table")
    page.locator("#hiscore-table tbody tr").nth(1).click()
    watched.wait_until("document.querySelector('#h-detail').textContent === 'Hiscore 2'")
    assert "∞" in page.locator("#detail .terms").inner_text() and "hiscore=" in page.url
    assert page.locator("#hiscore-table tbody tr.chosen").count() == 1
    page.locator("#ruler .col").nth(2).focus()
    page.keyboard.press("Enter")
    watched.wait_until("document.querySelector('#h-detail').textContent === 'Hiscore 3'")
    with page.expect_download() as download:
        page.locator("#detail .download a").first.click()
    assert "BLOCK MASS" in Path(download.value.path()).read_text()
    watched.check_clean()


def test_page_follows_a_running_campaign(watched: Watched, repository: SqlRepository) -> None:
    page = watched.open()
    page.wait_for_selector("#nothing:not([hidden])")  # before the first campaign
    campaign = start_campaign(repository)
    add_steps(repository, campaign.campaign_id, 1, 5)
    page.wait_for_selector("#no-hiscores:not([hidden])")
    assert page.locator("#state").inner_text() == "running"
    add_steps(repository, campaign.campaign_id, 6, 20, hiscores=(build_hiscore(electroweak_model(), 8.0, (), 1.5, 1, 8),))
    page.wait_for_selector("#hiscore-table tbody tr")
    watched.wait_until(f"document.querySelector('#f-steps').textContent.startsWith('{20 * NUM_WALKERS} ')")
    add_steps(repository, campaign.campaign_id, 21, 40, hiscores=(build_hiscore(stop_model(), 12.0, (), 1.5, 0, 25),))
    watched.wait_until("document.querySelectorAll('#hiscore-table tbody tr').length === 2")
    watched.wait_until("document.querySelector('#f-best').textContent === '9.70'")  # the best model leads, and is the one shown
    watched.wait_until("document.querySelector('#k-plot').data.some((trace) => trace.x.at(-1) === 40)")
    repository.set_campaign_status(campaign.campaign_id, CampaignStatus.FINISHED)
    watched.wait_until("document.querySelector('#state').textContent === 'finished'")
    watched.check_clean()


@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_its_window_in_both_themes(browser: Any, address: str, repository: SqlRepository, width: int) -> None:
    fill_repository(repository)
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        watched = Watched(context.new_page(), address)
        page = watched.open()
        page.wait_for_selector("#detail .members-table")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background, ink = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
        assert (_luminance(background) > _luminance(ink)) is (scheme == "light")
        watched.check_clean()
        context.close()


def _luminance(rgb: str) -> float:
    red, green, blue = (int(part) for part in rgb.removeprefix("rgb(").removesuffix(")").split(","))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_control_has_a_name(watched: Watched, repository: SqlRepository) -> None:
    fill_repository(repository)
    page = watched.open()
    page.wait_for_selector("#detail .members-table")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, select, [role=button], [role=img], [role=group]")]
            .filter((e) => !e.closest("[hidden]") && !e.closest(".js-plotly-plot svg"))
            .filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length))
            .map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []


def test_description_of_the_api_is_readable_offline(watched: Watched) -> None:
    page = watched.open("docs")
    page.wait_for_selector(".docs .panel")
    assert "/api/v1/hiscores/{hiscore_id}.slha" in page.locator(".docs").inner_text()
    watched.check_clean()
