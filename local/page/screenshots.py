"""Take the screenshots of the page that the documentation shows: ``python -m local.page.screenshots``."""

import base64
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import presence_of_element_located
from selenium.webdriver.support.wait import WebDriverWait

from local.common import ROOT, run_command, say
from local.emulator.xray import Traces
from local.page import serve
from local.stack import LocalStack

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = (  # no background connections
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
)
SHOTS = {"page.png": (1280, "light"), "page-narrow-dark.png": (390, "dark")}
# What is pressed, and the outcome that is waited for.
STEPS = {
    "by queue": "cancelled",
    "already accepted": "order_not_cancellable",
    "unknown to Clopos": "order_not_found",
    "by webhook": "accepted",
    "revoke": "",
    "by API": "api",
    "503": "",
    "refused at first": "clopos_unavailable",
}
SETTLED_S = 2.5  # two refreshes, and the time until a deferred message is received again


@contextlib.contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Run a headless browser without a profile; `CHROMIUM` and `CHROMEDRIVER` must have been found."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
            options.add_argument(flag)
        with webdriver.Chrome(options, Service(str(CHROMEDRIVER))) as browser:
            yield browser


def resize(browser: webdriver.Chrome, width: int, scheme: str = "light") -> None:
    """Set the color scheme and the page's width in CSS pixels, which may be smaller than a window can be."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme_feature]})


def main() -> None:
    """Start a stack, press some buttons, and take a screenshot in each size."""
    if not (CHROMIUM and CHROMEDRIVER):
        sys.exit("Chromium and its driver are needed. On Debian: apt install chromium chromium-driver")
    with (
        Traces() as traces,
        LocalStack(settings={"seed_orders": 24}, xray_daemon=traces.address, report=say) as stack,
        serve(stack, traces) as url,
        chromium() as browser,
    ):
        resize(browser, 1280)
        browser.get(url)
        for button, outcome in STEPS.items():
            found = browser.find_element(By.XPATH, f"//button[normalize-space()='{button}']")
            browser.execute_script("arguments[0].click()", found)  # without the pointer, which would hover
            shown = f"//*[@id='results'][contains(., '{outcome}')]"
            WebDriverWait(browser, 30).until(presence_of_element_located((By.XPATH, shown)))
        for name, (width, scheme) in SHOTS.items():
            resize(browser, width, scheme)
            time.sleep(SETTLED_S)
            height = browser.execute_script("return document.documentElement.scrollHeight")
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            shot = {"captureBeyondViewport": True, "clip": clip}
            image = browser.execute_cdp_cmd("Page.captureScreenshot", shot)["data"]
            (ROOT / "docs" / name).write_bytes(base64.b64decode(image))
            say(f"Written: docs/{name}")


if __name__ == "__main__":
    run_command(main)
