"""The live page of the local stack, in a real browser, and what it makes of logs and metrics."""

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

from local import page
from local.alarms import alarm_states
from local.page import MISSING_ORDER, Watch

PATIENCE_S = 20  # for what takes 5 s at most: a message that has failed three times sleeps for up to 8 s
CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
# It asks nobody for anything, and keeps nothing.
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1400,1300"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("there is no chromium or no chromedriver here")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, Service(CHROMEDRIVER)) as browser:
        yield browser


@pytest.fixture(scope="module")
def url(browser, stack, traces):
    with page.serve(stack, traces) as url:
        browser.get(url)
        yield url


@pytest.fixture
def screen(browser, url, stack, clopos, deployed_queues):
    stack.refresh_token()
    return Screen(browser)


class Screen:
    """What a person does with the page, and sees on it."""

    def __init__(self, browser):
        self._browser = browser
        self._wait = WebDriverWait(
            browser, PATIENCE_S, 0.1, ignored_exceptions=[StaleElementReferenceException]
        )

    def click(self, button):
        self._browser.find_element(By.XPATH, f"//button[normalize-space()='{button}']").click()

    def choose(self, *cells):
        """Click on the result that has these cells."""
        row = "".join(f"[td[normalize-space()='{cell}']]" for cell in cells)
        self._wait.until(lambda browser: browser.find_elements(By.XPATH, f"//tr[@data-id]{row}"))[0].click()

    def shows(self, box, pattern):
        """Wait until the text of a box matches, and return it."""

        def text(browser):
            return re.sub(r"\s+", " ", browser.find_element(By.CLASS_NAME, box).text)

        try:
            return self._wait.until(lambda browser: (found := re.search(pattern, text(browser))) and found[0])
        except TimeoutException as error:  # which does not say what was there instead
            raise AssertionError(f"{box} does not show {pattern}: {text(self._browser)}") from error


def test_an_order_that_the_api_cancels_is_shown_with_its_trace(screen):
    screen.click("by API")
    screen.shows("told", r"PUT /orders/109: 200 OK")
    screen.shows("orders", r"109 IGNORE")
    screen.shows("results", r"api 109 cancelled 1 \d+ ms")
    screen.choose("api", "109")
    screen.shows(
        "trace", r"api handler .* cancel_order: cancelled .* PUT /open-api/v2/orders/109: 200 [\d.]+ ms"
    )


def test_the_trace_of_a_webhook_leads_over_the_queue(screen):
    screen.click("by webhook")
    screen.shows("told", "POST /webhooks/cancellations: 202 Accepted")
    screen.shows("orders", "109 IGNORE")
    screen.choose("queue", "109", "cancelled")
    screen.shows("trace", r"webhook handler .* queue [\d.]+ ms queue handler .* PUT .*/orders/109: 200")


def test_a_message_waits_while_clopos_is_broken_and_is_done_when_it_is_mended(screen):
    screen.click("503")
    screen.shows("counts", "503 Clopos answers")
    screen.click("by queue")
    screen.shows("results", "queue 109 deferred clopos_unavailable")
    screen.shows("counts", "1 in flight or backing off")
    screen.shows("orders", "109 PENDING")
    screen.click("mend")
    screen.shows("orders", "109 IGNORE")
    screen.shows("counts", "^0 waiting 0 in flight or backing off")


def test_a_dead_letter_is_shown_with_its_reason_and_its_alarm_until_it_is_redriven(screen, clopos):
    screen.shows("alarms", r"DeadLetter 0 > 0 OK")
    screen.click("that does not exist")
    screen.shows("dead", rf'order_not_found Clopos knows no such order .* {{"order_id": {MISSING_ORDER}}}')
    screen.shows("alarms", "DeadLetter 1 > 0 ALARM")
    clopos.add_order(MISSING_ORDER)
    screen.click("redrive")
    screen.shows("orders", f"{MISSING_ORDER} IGNORE")
    screen.shows("dead", "Empty")
    screen.shows("alarms", "DeadLetter 0 > 0 OK")


def test_a_revoked_token_is_replaced_before_anybody_notices(screen):
    screen.click("revoked token")
    screen.shows("told", "Clopos has forgotten every token")
    screen.click("by API")
    screen.shows("orders", "109 IGNORE")


def test_the_description_of_the_api_is_rendered(browser, url):
    browser.get(f"{url}/api")
    WebDriverWait(browser, PATIENCE_S).until(
        lambda browser: (
            [operation.text for operation in browser.find_elements(By.CLASS_NAME, "opblock-summary-path")]
            == ["/orders/{id}", "/webhooks/cancellations"]
        )
    )
    browser.get(url)


def test_nothing_comes_from_another_machine_and_nothing_goes_wrong_in_the_browser(browser, url):
    loaded = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert [name for name in loaded if not name.startswith(f"{url}/")] == []
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_a_site_whose_name_leads_here_gets_no_page(url):
    assert requests.get(url, headers={"Host": "evil.example"}, timeout=5).status_code == 400


def test_a_snapshot_holds_no_secret(stack, traces, secretsmanager, clopos):
    watch = Watch(stack, traces)
    watch.send_by_queue(108)
    watch.send_by_api()
    watch.send_by_webhook()
    WebDriverWait(clopos, PATIENCE_S, 0.1).until(lambda clopos: set(clopos.statuses().values()) == {"IGNORE"})
    text = json.dumps(watch.snapshot())
    for output in ("TokenSecretArn", "WebhookSecretArn", "CredentialsSecretArn"):
        secret = secretsmanager.get_secret_value(SecretId=stack.outputs[output])["SecretString"]
        values = json.loads(secret).values() if secret.startswith("{") else [secret]
        assert not [value for value in values if isinstance(value, str) and value in text], output


def alarm(**properties):
    defaults = {
        "AlarmDescription": "",
        "MetricName": "Metric",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 5,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    return {"Resources": {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": defaults | properties}}}


@pytest.mark.parametrize(
    ("properties", "points", "state", "value"),
    [
        ({}, [(999, 3), (950, 3)], "ALARM", 6),
        ({}, [(999, 3), (939, 3)], "OK", 3),
        ({}, [(999, 5)], "OK", 5),
        ({"ComparisonOperator": "GreaterThanOrEqualToThreshold"}, [(999, 5)], "ALARM", 5),
        (
            {"Statistic": "Minimum", "ComparisonOperator": "LessThanThreshold"},
            [(999, 9), (998, 4)],
            "ALARM",
            4,
        ),
        ({"EvaluationPeriods": 2}, [(999, 6)], "OK", 6),
        ({"EvaluationPeriods": 2}, [(999, 6), (930, 6)], "ALARM", 6),
        ({}, [], "OK", None),
        ({}, None, "INSUFFICIENT_DATA", None),
    ],
)
def test_an_alarm_compares_the_statistic_of_its_periods(properties, points, state, value):
    metrics = {} if points is None else {"Metric": points}
    [told] = alarm_states(alarm(**properties), metrics, now=1000)
    assert (told["state"], told["value"]) == (state, value)
