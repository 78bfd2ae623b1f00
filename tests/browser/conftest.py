"""A real browser, for the pages that the pipeline serves or writes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = browser
    profile = tmp_path_factory.mktemp("chromium")
    for flag in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions"),
        *("--disable-background-networking", "--disable-component-update", "--no-first-run", "--hide-scrollbars"),
        f"--user-data-dir={profile}",
        # Whatever a page asks for elsewhere fails at once and is seen in the log.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chromium = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield chromium
    chromium.quit()


@pytest.fixture
def browser(_chromium: Any) -> Iterator[Any]:
    """Headless Chromium, 1440x900, light, without a way to any host but 127.0.0.1; its logs are empty at first."""
    _chromium.set_window_rect(0, 0, 1440, 900)
    _chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    _chromium.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    )
    _chromium.get("about:blank")
    for log in ("browser", "performance"):
        _chromium.get_log(log)
    yield _chromium
    _chromium.get("about:blank")


@pytest.fixture
def screen(browser: Any) -> Callable[..., None]:
    """Sets the size of the screen and light or dark: `screen(390, 844, dark=True)`."""

    def set_screen(width_px: int, height_px: int, *, dark: bool = False) -> None:
        metrics = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": width_px < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    return set_screen


@pytest.fixture
def requested_urls(browser: Any) -> Callable[[], list[str]]:
    """Addresses that the browser asked for since the last call, from its network log."""
    import json

    def urls() -> list[str]:
        entries = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        return [
            entry["params"]["request"]["url"] for entry in entries if entry["method"] == "Network.requestWillBeSent"
        ]

    return urls


@pytest.fixture
def screenshots(tmp_path: Path, browser: Any) -> Callable[[str], Path]:
    """Writes what the browser shows into the test's folder: `screenshots("empty")`."""

    def shoot(name: str) -> Path:
        path = tmp_path / f"{name}.png"
        browser.save_screenshot(str(path))
        return path

    return shoot
