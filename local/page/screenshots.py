"""Take the screenshots of the page that the documentation shows: ``python -m local.page.screenshots``."""

import sys
import time
from collections.abc import Callable

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from local.common import ROOT, say
from local.emulator.xray import Traces
from local.page import serve
from local.page.browser import CHROMEDRIVER, CHROMIUM, chromium, resize, screenshot
from local.stack import LocalStack

SHOTS = {"page.png": (1280, "light"), "page-narrow-dark.png": (400, "dark")}
ORDERS = 24
TIMEOUT_S = 30
SETTLED_S = 2.5  # two refreshes, and the time until a deferred message is received again


def take(url: str, write: Callable[[str, bytes], object]) -> None:
    """Press some buttons, wait for their results, and take a screenshot in each size."""
    with chromium() as browser:
        wait = WebDriverWait(browser, TIMEOUT_S)

        def press(button: str) -> None:
            browser.find_element(By.XPATH, f"//button[normalize-space()='{button}']").click()
            ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, "h1")).perform()

        def await_result(outcome: str, source: str) -> None:
            cells = f"//tr[td[normalize-space()='{source}']][td[starts-with(normalize-space(), '{outcome}')]]"
            wait.until(lambda browser: browser.find_elements(By.XPATH, cells))

        browser.get(url)
        resize(browser, 1280)
        wait.until(lambda browser: browser.find_elements(By.CSS_SELECTOR, ".tiles dd"))
        press("by queue")
        await_result("cancelled", "queue")
        press("already accepted")
        press("unknown to Clopos")
        await_result("rejected", "queue")
        press("by webhook")
        await_result("accepted", "webhook")
        press("revoke")
        press("by API")
        await_result("cancelled", "api")
        press("503")
        press("by queue")
        await_result("deferred", "queue")
        time.sleep(SETTLED_S)
        for name, (width, scheme) in SHOTS.items():
            resize(browser, width, scheme=scheme)
            time.sleep(SETTLED_S)
            write(name, screenshot(browser))


def main() -> None:
    """Start a stack and take the screenshots."""
    if not (CHROMIUM and CHROMEDRIVER):
        sys.exit("Chromium and its driver are needed. On Debian: apt install chromium chromium-driver")
    with (
        Traces() as traces,
        LocalStack(settings={"seed_orders": ORDERS}, xray_daemon=traces.address, report=say) as stack,
        serve(stack, traces) as url,
    ):
        take(url, lambda name, image: (ROOT / "docs" / name).write_bytes(image))
    say(f"Written: {', '.join(f'docs/{name}' for name in SHOTS)}")


if __name__ == "__main__":
    main()
