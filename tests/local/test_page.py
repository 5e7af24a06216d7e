"""The live page of the local stack, in a real browser. One browser and one page serve all tests of this file."""

import base64
import contextlib
import itertools
import json
import re

import pytest
import requests
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from selenium_axe_python import Axe

from local.page import serve
from local.page.browser import CHROMEDRIVER, CHROMIUM, chromium, resize
from local.page.controls import MISSING_ORDER, Controls
from local.page.watch import Watch
from local.simulator import Fault

WAIT_LIMIT_S = 20  # for what takes 5 s at most: a message that has failed three times sleeps for up to 8 s
AT_ONCE_S = 3  # two refreshes on a busy machine
WIDTHS = (400, 800, 1280)
SCHEMES = ("light", "dark")
TWO_FRAMES = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"  # drawn in its new size


@pytest.fixture(scope="module")
def browser():
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("no chromium or no chromedriver was found")
    with chromium() as browser:
        resize(browser, 1280)
        yield browser


@pytest.fixture(scope="module")
def served(browser, stack, traces):
    """The page's address, and what ends it."""
    with contextlib.ExitStack() as page:
        url = page.enter_context(serve(stack, traces))
        browser.get(url)
        yield url, page.close


@pytest.fixture
def url(served):
    return served[0]


@pytest.fixture
def screen(browser, url, stack, clopos, deployed_queues):
    stack.refresh_token()
    if browser.current_url != f"{url}/":
        browser.get(url)
    yield Screen(browser)
    clopos.heal()


class Screen:
    """What a person does with the page, and sees on it."""

    def __init__(self, browser):
        self._browser = browser

    def _wait(self, condition, timeout_s=WAIT_LIMIT_S):
        ignored = [StaleElementReferenceException]
        return WebDriverWait(self._browser, timeout_s, 0.1, ignored_exceptions=ignored).until(condition)

    def button(self, name):
        return self._browser.find_element(By.XPATH, f"//button[normalize-space()='{name}']")

    def click(self, name):
        self.button(name).click()

    def choose(self, *cells):
        """Click on the result that has these cells."""
        row = "".join(f"[td[normalize-space()='{cell}']]" for cell in cells)
        self._wait(lambda browser: browser.find_elements(By.XPATH, f"//tr[@data-id]{row}"))[0].click()

    def shows(self, part, pattern, timeout_s=WAIT_LIMIT_S):
        """Wait until the text of a part of the page matches, and return it."""

        def text(browser):
            return re.sub(r"\s+", " ", browser.find_element(By.CLASS_NAME, part).text)

        def match(browser):
            found = re.search(pattern, text(browser))
            return found and found[0]

        try:
            return self._wait(match, timeout_s)
        except TimeoutException as error:  # its own message does not say what was there instead
            raise AssertionError(f"{part} does not show {pattern}: {text(self._browser)}") from error


def test_an_order_that_the_api_cancels_is_shown_with_its_trace(screen):
    screen.click("by API")
    screen.shows("status", r"PUT /orders/109: 200 OK")
    screen.shows("orders", r"109 IGNORE")
    screen.shows("results", r"api 109 cancelled 1 \d+ ms")
    screen.choose("api", "109", "cancelled")
    screen.shows("trace", r"api handler .* cancel_order: cancelled .* PUT /orders: 200 [\d.]+ ms")


def test_a_call_that_takes_long_is_shown_at_once(screen, clopos):
    clopos.fail_all(Fault(delay=2), repeat=1)
    screen.click("by API")
    screen.shows("status", "PUT /orders/109: waiting for the answer", AT_ONCE_S)
    screen.shows("results", "api 109 under way", AT_ONCE_S)
    screen.shows("status", "PUT /orders/109: 200 OK")


def test_a_webhook_is_signed_with_the_present_secret_and_its_trace_leads_over_the_queue(
    screen, stack, secretsmanager
):
    secret = base64.b64encode(b"new-and-not-a-real-secret-32-b.").decode()
    secretsmanager.put_secret_value(SecretId=stack.outputs["WebhookSecretArn"], SecretString=secret)
    screen.click("by webhook")
    screen.shows("status", "POST /webhooks/cancellations: 202 Accepted")
    screen.shows("orders", "109 IGNORE")
    screen.choose("queue", "109", "cancelled")
    screen.shows("trace", r"webhook handler .* queue [\d.]+ ms queue handler .* PUT /orders: 200")


def test_a_message_waits_while_clopos_fails_and_is_done_when_it_answers_normally(screen, browser):
    screen.click("503")
    screen.shows("tiles", "Clopos answers 503")
    assert screen.button("503").get_attribute("aria-pressed") == "true"
    screen.click("by queue")
    screen.shows("results", "queue 109 deferred clopos_unavailable")
    screen.shows("tiles", "waiting for a retry 1 ")
    screen.shows("orders", "109 PENDING")
    status = screen.shows("status", ".+")
    browser.refresh()
    assert screen.shows("status", ".+", AT_ONCE_S) == status
    screen.click("normally")
    screen.shows("orders", "109 IGNORE")
    screen.shows(
        "tiles",
        "^waiting 0 in flight, .* retry 0 dead letters 0 orders PENDING 1 orders RECEIVED 0 orders IGNORE 1 ",
    )


def test_dead_letters_are_counted_cut_redriven_and_deleted(screen, clopos, deployed_queues):
    queue, _ = deployed_queues
    markup = f"<img src=x onerror=alert(1)>{'x' * 5000}"
    screen.shows("alarms", r"DeadLetter 0 > 0 OK")
    queue.send(*[{"order_id": MISSING_ORDER}] * 11)
    screen.shows("dead-letters", rf"10 of 11 order_not_found .* {{\"order_id\": {MISSING_ORDER}}}")
    screen.shows("alarms", "DeadLetter 11 > 0 ALARM Orders were not cancelled")
    clopos.add_order(MISSING_ORDER)
    screen.click("redrive all")
    screen.shows("status", "11 dead letters sent back to the queue")
    screen.shows("orders", f"{MISSING_ORDER} IGNORE")
    screen.shows("dead-letters", "^Empty")
    queue.send(markup)
    screen.shows("dead-letters", r"1 of 1 invalid_request .* <img src=x .*x… cut: 5,028 characters in all")
    screen.click("delete all")
    screen.shows("status", "1 dead letter deleted")
    screen.shows("dead-letters", "^Empty")
    screen.shows("alarms", "DeadLetter 0 > 0 OK")


def test_a_revoked_token_is_replaced_without_a_failed_call(screen):
    screen.click("revoke")
    screen.shows("status", "Clopos now rejects every token")
    screen.click("by API")
    screen.shows("orders", "109 IGNORE")


def test_outcomes_are_shown_as_they_are_published(screen):
    screen.click("by webhook")
    screen.shows("outcomes", r"109 cancelled queue msg_\w+")
    screen.click("already accepted")
    screen.shows("outcomes", r"110 rejected order_not_cancellable: RECEIVED, receipt 10950 queue")


def accessibility_problems(browser):
    """Return what axe-core finds, at each width and in both color schemes, and whatever does not fit in."""
    problems = []
    axe = Axe(browser)
    axe.inject()
    for width in WIDTHS:
        for scheme in SCHEMES:
            resize(browser, width, scheme=scheme)
            browser.execute_async_script(TWO_FRAMES)
            problems += [
                (width, scheme, violation["id"], node["target"], node["failureSummary"])
                for violation in axe.run(options={"resultTypes": ["violations"]})["violations"]
                for node in violation["nodes"]
            ]
        right = browser.execute_script("return document.scrollingElement.scrollWidth")
        if right > width:
            problems.append((width, "scrolls sideways", right))
    resize(browser, 1280)
    return problems


def test_the_page_is_accessible_in_all_sizes_and_colors(screen, browser):
    screen.click("unknown to Clopos")
    screen.shows("dead-letters", "order_not_found")
    screen.click("503")
    screen.click("by queue")
    screen.shows("results", "deferred clopos_unavailable")
    assert accessibility_problems(browser) == []
    screen.click("normally")
    screen.shows("status", "normally")


def test_a_narrow_page_has_one_column_and_keeps_its_place(screen, browser):
    resize(browser, 400)
    screen.shows("status", ".+")
    parts = browser.find_elements(By.CSS_SELECTOR, "section, .tiles")
    edges = [(part.rect["y"], part.rect["y"] + part.rect["height"]) for part in parts]
    assert all(below[0] >= above[1] for above, below in itertools.pairwise(edges))
    assert {part.rect["width"] for part in parts} == {376}
    screen.click("revoke")
    screen.shows("status", "Clopos now rejects every token that it has issued")
    assert [part.rect["y"] for part in parts[:2]] == [above for above, _ in edges[:2]]
    resize(browser, 1280)


def test_the_focus_is_visible_and_survives_a_refresh(screen, browser, deployed_queues):
    queue, _ = deployed_queues
    screen.click("by API")
    screen.shows("results", "api 109 cancelled")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.value_of_css_property("outline-style") == "solid"
    name, outline = browser.execute_script(  # in one step: a refresh replaces the element at any moment
        """
        document.querySelector('.results button').focus();
        return [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle];
        """
    )
    assert name.startswith("result-")
    assert outline == "solid"
    queue.send({"order_id": 108})
    screen.shows("results", "queue 108 cancelled")
    assert browser.execute_script("return document.activeElement.id") == name


def test_the_api_reference_is_accessible_and_offers_nothing_that_a_browser_cannot_do(browser, url):
    browser.get(f"{url}/api")
    WebDriverWait(browser, WAIT_LIMIT_S).until(
        lambda browser: (
            [operation.text for operation in browser.find_elements(By.CLASS_NAME, "opblock-summary-path")]
            == ["/orders/{id}", "/webhooks/cancellations", "outcome"]
        )
    )
    for operation in browser.find_elements(By.CLASS_NAME, "opblock-summary-control"):
        operation.click()
    assert not browser.find_elements(By.CSS_SELECTOR, ".authorize, .try-out, .authorization__btn")
    assert accessibility_problems(browser) == []


def test_nothing_comes_from_another_machine_and_nothing_goes_wrong_in_the_browser(screen, browser, url):
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in loaded if not name.startswith(f"{url}/")] == []
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_a_site_whose_name_resolves_to_this_machine_gets_no_page(url):
    assert requests.get(url, headers={"Host": "evil.example"}, timeout=5).status_code == 403


def test_a_snapshot_contains_no_secret(stack, traces, secretsmanager, clopos, deployed_queues):
    watch = Watch(stack, traces)
    controls = Controls(stack, watch.dead_letters)
    for cancel in (controls.cancel_by_queue, controls.cancel_by_api, controls.cancel_by_webhook):
        cancel()
    WebDriverWait(clopos, WAIT_LIMIT_S, 0.1).until(
        lambda clopos: list(clopos.statuses().values()).count("IGNORE") == 3
    )
    text = json.dumps(watch.snapshot())
    for output in ("TokenSecretArn", "WebhookSecretArn", "CredentialsSecretArn"):
        secret = secretsmanager.get_secret_value(SecretId=stack.outputs[output])["SecretString"]
        values = json.loads(secret).values() if secret.startswith("{") else [secret]
        assert not [value for value in values if isinstance(value, str) and value in text], output


def test_a_stack_that_has_stopped_looks_stopped(screen, browser, served):
    _, stop = served
    stop()
    WebDriverWait(browser, WAIT_LIMIT_S).until(
        lambda browser: "The stack has stopped" in browser.find_element(By.ID, "stopped").text
    )
    assert browser.find_element(By.TAG_NAME, "main").get_property("inert")
