"""The live page of the local stack, in a real browser. One browser and one page serve all tests of this file."""

import base64
import contextlib
import itertools
import json
import re
import shutil

import pytest
import requests
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from local.page import serve
from local.simulator import Fault

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = (  # no background connections
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
WAIT_LIMIT_S = 60  # for what takes 30 s at most on an idle machine: an API call without an answer
MARKUP = "<img src=x onerror=alert(1)>"
WIDTHS = (390, 800, 1280)
TWO_FRAMES = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"  # drawn in its new size
# Whether a word of some letters is in several lines, which are as many rectangles.
BROKEN_WORDS = r"""
const broken = [], walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
while (walker.nextNode())
  for (const word of walker.currentNode.data.matchAll(/[A-Za-z]{2,}/g)) {
    const range = document.createRange();
    range.setStart(walker.currentNode, word.index);
    range.setEnd(walker.currentNode, word.index + word[0].length);
    if (range.getClientRects().length > 1) broken.push(word[0]);
  }
return broken;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("no chromium or no chromedriver was found")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    with webdriver.Chrome(options, Service(CHROMEDRIVER)) as browser:
        resize(browser, 1280)
        yield browser


def resize(browser, width, scheme="light"):
    """Set the page's width in CSS pixels, which may be smaller than a window can be, and the color scheme."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme_feature]})


@pytest.fixture(scope="module")
def served(browser, stack):
    """The page's address, and what ends it."""
    with contextlib.ExitStack() as page:
        url = page.enter_context(serve(stack))
        yield url, page.close


@pytest.fixture
def url(served):
    return served[0]


@pytest.fixture
def screen(browser, url, stack, clopos, deployed_queues):
    stack.refresh_token()
    if browser.current_url != f"{url}/":
        browser.get(url)
    requests.post(f"{url}/actions/answer/normally", timeout=30).raise_for_status()
    yield Screen(browser)
    clopos.heal()


class Screen:
    """What a person does with the page, and sees on it."""

    def __init__(self, browser):
        self._browser = browser

    def button(self, name):
        return self._browser.find_element(By.XPATH, f"//button[normalize-space()='{name}']")

    def click(self, name):
        self.button(name).click()

    def wait(self, condition):
        ignored = [StaleElementReferenceException]  # each second, what has changed is replaced
        return WebDriverWait(self._browser, WAIT_LIMIT_S, 0.1, ignored_exceptions=ignored).until(condition)

    def shows(self, part, pattern):
        """Wait until the text of a part of the page matches, and return it."""

        def text(browser):
            return re.sub(r"\s+", " ", browser.find_element(By.ID, part).text)

        try:
            return self.wait(lambda browser: (found := re.search(pattern, text(browser))) and found[0])
        except TimeoutException as error:  # its own message does not say what was there instead
            raise AssertionError(f"{part} does not show {pattern}: {text(self._browser)}") from error

    def has(self, part, selector):
        """Wait until a part of the page has such an element, and return its text."""
        return self.wait(lambda browser: browser.find_element(By.CSS_SELECTOR, f"#{part} {selector}").text)


def test_an_order_that_the_api_cancels_is_shown(screen, stack):
    screen.click("by API")
    screen.shows("messages", r"\d\d:\d\d:\d\d UTC PUT /orders/109: 200 OK")
    screen.shows("orders", "109 IGNORE")
    stack.put_order(
        108
    )  # the emulator may take what a function wrote last only when it calls the function again
    screen.shows("results", r"api 109 cancelled 1 \d+")


def test_while_a_call_waits_for_its_answer_the_other_buttons_say_what_they_did(screen, clopos):
    clopos.fail_all(Fault(delay=5), repeat=1)
    screen.click("by API")
    screen.shows("messages", "PUT /orders/109: waiting for the answer")
    screen.click("revoke")
    screen.shows("messages", "UTC Clopos now rejects every token .* PUT /orders/109: waiting for the answer")
    screen.shows("messages", "PUT /orders/109: 200 OK")


def test_a_webhook_is_signed_with_the_present_secret(screen, stack, secretsmanager):
    secret = base64.b64encode(b"new-and-not-a-real-secret-32-b.").decode()
    secretsmanager.put_secret_value(SecretId=stack.outputs["WebhookSecretArn"], SecretString=secret)
    screen.click("by webhook")
    screen.shows("messages", "POST /webhooks/cancellations: 202 Accepted")
    screen.shows("outcomes", r"109 cancelled queue msg_\w+")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ("503", "clopos_unavailable", "Clopos: Service unavailable"),
        ("429", "rate_limited", "Clopos: Too many requests"),
        ("403 access refused", "clopos_access_denied", "Clopos: does not have access to module call_center"),
        ("HTML", "clopos_bad_response", ""),
        ("broken connection", "clopos_unavailable", ""),
    ],
)
def test_orders_wait_while_clopos_fails_in_any_way_and_its_words_are_shown(screen, answer, error, words):
    screen.click(answer)
    screen.shows("tiles", f"Clopos answers {answer}")
    assert screen.button(answer).get_attribute("aria-pressed") == "true"
    screen.click("by queue")
    screen.shows("results", rf"queue 109 deferred {error} \d \d+ {words}")
    screen.click("normally")
    screen.shows("orders", "109 IGNORE")


def test_a_call_that_clopos_does_not_answer_is_red(screen, stack, clopos):
    screen.click("nothing")
    screen.click("by API")
    screen.shows("messages", "PUT /orders/109: 50")
    assert "PUT /orders/109: 504" in screen.has("messages", "li.bad")
    clopos.heal()
    stack.put_order(108)  # as above
    assert screen.has("results", "b.failed") == "failed"


def test_an_order_that_clopos_refuses_while_it_is_pending_is_tried_again(screen):
    screen.click("refused at first")
    code = "//*[@id='messages']//code[.='{\"order_id\": 109}']"  # between backticks in the message
    screen.wait(lambda browser: browser.find_elements(By.XPATH, code))
    screen.shows("results", "queue 109 deferred clopos_bad_response")
    screen.shows("orders", "109 IGNORE")


def test_dead_letters_are_counted_cut_redriven_and_deleted(screen, clopos, deployed_queues):
    queue, _ = deployed_queues
    clopos.add_order(404, status="RECEIVED", receipt_id=10950)
    assert not screen.button("redrive all").is_enabled()
    queue.send(*[{"order_id": 404}] * 11)
    screen.shows("letters", r"10 of 11 order_not_cancellable .* its receipt is 10950 \{\"order_id\": 404\}")
    screen.shows("outcomes", "404 rejected order_not_cancellable queue It is RECEIVED, receipt 10950")
    clopos.add_order(404)
    screen.click("redrive all")
    screen.shows("messages", "11 dead letters sent back to the queue")
    screen.shows("orders", "404 IGNORE")
    screen.shows("letters", "^Empty")
    queue.send(MARKUP + "x" * 5000)
    screen.shows("letters", f"1 of 1 invalid_request .* {re.escape(MARKUP)}x+… cut: 5,028 characters in all")
    screen.click("delete all")
    screen.shows("messages", "1 dead letter deleted")
    screen.shows("letters", "^Empty")


def problems(browser):
    """Return what axe-core finds at each width and in both color schemes, and what does not fit in."""
    axe_selenium = pytest.importorskip("axe_selenium_python", reason="axe-selenium-python needs Python 3.12")
    axe, found = axe_selenium.Axe(browser), []
    axe.inject()
    for width, scheme in itertools.product(WIDTHS, ("light", "dark")):
        resize(browser, width, scheme)
        browser.execute_async_script(TWO_FRAMES)
        found += [
            (width, scheme, violation["id"], node["target"], node["failureSummary"])
            for violation in axe.run(options={"resultTypes": ["violations"]})["violations"]
            for node in violation["nodes"]
        ]
        if (right := browser.execute_script("return document.scrollingElement.scrollWidth")) > width:
            found.append((width, "scrolls sideways", right))
    resize(browser, 1280)
    return found


def test_the_page_is_accessible_in_all_sizes_and_colors_and_breaks_no_word(screen, browser):
    screen.click("already accepted")
    screen.shows("letters", "order_not_cancellable")
    screen.click("403 access refused")
    screen.click("by queue")
    screen.shows("results", "deferred clopos_access_denied")
    assert problems(browser) == []
    resize(browser, WIDTHS[0])
    assert browser.execute_script(BROKEN_WORDS) == []
    resize(browser, 1280)


def test_nothing_comes_from_another_machine_and_nothing_goes_wrong_in_the_browser(screen, browser, url):
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in loaded if not name.startswith(f"{url}/")] == []
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_another_site_gets_no_page_and_cannot_press_a_button(url, stack, clopos, headers):
    assert requests.get(url, headers=headers, timeout=30).status_code == 403
    assert requests.post(f"{url}/actions/api", headers=headers, timeout=30).status_code == 403
    assert clopos.statuses() == {"108": "PENDING"}


def test_the_state_contains_no_secret(screen, url, stack, secretsmanager):
    for button in ("by API", "by queue", "by webhook"):
        screen.click(button)
    screen.shows("tiles", r"orders IGNORE \(cancelled\) 3")
    state = requests.get(f"{url}/state", timeout=30).text
    for output in ("TokenSecretArn", "WebhookSecretArn", "CredentialsSecretArn"):
        secret = secretsmanager.get_secret_value(SecretId=stack.outputs[output])["SecretString"]
        values = json.loads(secret).values() if secret.startswith("{") else [secret]
        assert not [value for value in values if isinstance(value, str) and value in state], output


def test_the_api_reference_is_accessible_shows_both_routes_and_leads_back(browser, url):
    browser.get(f"{url}/api")
    paths = (By.CLASS_NAME, "opblock-summary-path")
    WebDriverWait(browser, WAIT_LIMIT_S).until(
        lambda b: (
            [path.text for path in b.find_elements(*paths)] == ["/orders/{id}", "/webhooks/cancellations"]
        )
    )
    for operation in browser.find_elements(By.CLASS_NAME, "opblock-summary-control"):
        operation.click()
    assert not browser.find_elements(By.CSS_SELECTOR, ".authorize, .try-out, .authorization__btn")
    assert problems(browser) == []
    browser.find_element(By.CSS_SELECTOR, "nav a").click()
    assert browser.current_url == f"{url}/"


def test_a_stack_that_has_stopped_looks_stopped(screen, browser, served):
    _, stop = served
    stop()
    screen.shows("stopped", "The stack has stopped")
    assert browser.find_element(By.TAG_NAME, "main").get_property("inert")
