"""The examples for callers, run as they stand in docs/callers.md."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from local.emulator.clients import REGION, ROOT_USER
from tests.conftest import eventually
from tests.pages import ROOT, code_blocks

# Each program comes from standard input, and finds its packages in the current folder.
RUN = {
    "bash": ["bash", "-eu"],
    "python": [sys.executable, "-"],
    "js": ["node", "--input-type=module", "-"],
    "php": ["php"],
}
NODE_PACKAGES = ROOT / ".local" / "callers" / "node_modules"
INSTALL = "npm install --prefix .local/callers aws-sigv4-fetch @aws-sdk/client-sqs standardwebhooks"
ASYNC_AWS = Path("/usr/share/php/AsyncAws/Sqs/autoload.php")


@pytest.fixture
def run(environment, tmp_path):
    """Run the example of a language that contains a text, and return what it printed."""

    def run(language, text, **more):
        [program] = [
            block for block in code_blocks(ROOT / "docs" / "callers.md", language).values() if text in block
        ]
        if missing := missing_here(language, program):
            pytest.skip(missing)
        if language == "js":
            (tmp_path / "node_modules").symlink_to(NODE_PACKAGES)
        if "vendor/autoload.php" in program:
            (tmp_path / "vendor").mkdir()
            (tmp_path / "vendor" / "autoload.php").symlink_to(ASYNC_AWS)
        done = subprocess.run(
            RUN[language], input=program, cwd=tmp_path, env=environment | more, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def missing_here(language, program):
    """Return what an example needs and this machine lacks, if anything."""
    if not shutil.which(RUN[language][0]):
        return RUN[language][0]
    if language == "js" and not NODE_PACKAGES.exists():
        return f"the Node packages; run once: {INSTALL}"
    if (
        language == "php"
        and subprocess.run(["php", "-r", "exit((int) !defined('CURLOPT_AWS_SIGV4'));"]).returncode
    ):
        return "PHP 8.2 with the curl extension"
    if "autoload" in program and not ASYNC_AWS.exists():
        return "Debian's package php-async-aws-sqs"
    return None


def is_signed(method, path, headers, body):
    """Return whether a request has the signature that botocore would give it: the emulator does not check it."""
    authorization = re.search(r"SignedHeaders=(\S+), ?Signature=(\w+)", headers["Authorization"])
    signed_headers = {name: headers[name] for name in authorization[1].split(";")}
    request = AWSRequest(method, f"http://{headers['Host']}{path}", signed_headers, body)
    request.context["timestamp"] = headers["x-amz-date"]
    sigv4 = SigV4Auth(ROOT_USER, "execute-api", REGION)
    text = sigv4.string_to_sign(request, sigv4.canonical_request(request))
    return sigv4.signature(text, request) == authorization[2] and "x-amz-security-token" in signed_headers


@pytest.mark.parametrize("language", RUN)
def test_the_example_of_the_api_signs_and_tries_again_when_it_is_asked_to(run, endpoint, language):
    busy = {"success": False, "error": "rate_limited", "message": "Too many requests", "retryable": True}
    endpoint.answers = [(429, busy), (200, {"success": True})]
    run(language, "/orders/", api_url=endpoint.address, AWS_SESSION_TOKEN="a-token")
    assert [json.loads(body) for *_, body in endpoint.requests] == [{"status": "IGNORE"}] * 2
    assert all(is_signed(*request) for request in endpoint.requests)


@pytest.mark.parametrize(
    ("status", "printed"),
    [("PENDING", '"success": true|cancelled'), ("RECEIVED", "not_cancellable|call the")],
)
@pytest.mark.parametrize("language", RUN)
def test_the_example_of_the_api_says_what_became_of_the_order(run, clopos, language, status, printed):
    clopos.add_order(108, status=status)
    assert re.search(printed, run(language, "/orders/"))
    assert (clopos.order(108)["status"] == "IGNORE") == (status == "PENDING")


@pytest.mark.parametrize(
    ("language", "order_id"),  # without the AWS CLI: only new ones find the emulator
    [*((language, 110) for language in RUN), *((language, 109) for language in RUN if language != "bash")],
)
def test_the_examples_of_the_queue_and_the_webhook_cancel_an_order(
    run, clopos, deployed_queues, language, order_id
):
    clopos.add_order(order_id)
    run(language, str(order_id))
    eventually(lambda: clopos.order(order_id)["status"] == "IGNORE")
