"""A headless Chromium, for the page's tests and screenshots."""

import base64
import contextlib
import shutil
import tempfile
from collections.abc import Iterator

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
# Without background connections, and without a profile that is kept.
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
)


@contextlib.contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Run a browser; `CHROMIUM` and `CHROMEDRIVER` must have been found."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
            options.add_argument(flag)
        with webdriver.Chrome(options, Service(str(CHROMEDRIVER))) as browser:
            yield browser


def resize(browser: webdriver.Chrome, width: int, height: int = 900, scheme: str = "light") -> None:
    """Set the color scheme, and the page's size in CSS pixels, which may be smaller than a window can be."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )


def screenshot(browser: webdriver.Chrome) -> bytes:
    """Return the whole page as PNG, at its current width."""
    height = browser.execute_script("return document.documentElement.scrollHeight")
    width = browser.execute_script("return document.documentElement.clientWidth")
    image: str = browser.execute_cdp_cmd(
        "Page.captureScreenshot",
        {
            "captureBeyondViewport": True,
            "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
        },
    )["data"]
    return base64.b64decode(image)
