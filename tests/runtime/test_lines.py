"""Every output line of a function is a JSON object and contains no secret (`start` checks this)."""

import pytest

from tests.runtime.conftest import EVENTS, event

#: What Lambda sets for a function's `LoggingConfig`. Somebody who looks for an error turns on DEBUG.
LOGGING = {
    "as in the template": {},
    "debug": {"AWS_LAMBDA_LOG_LEVEL": "DEBUG"},
    "text": {"AWS_LAMBDA_LOG_FORMAT": "Text", "AWS_LAMBDA_LOG_LEVEL": "DEBUG"},
}


@pytest.mark.parametrize("logging", LOGGING)
@pytest.mark.parametrize("function", EVENTS)
def test_libraries_write_json_too(start, function, logging):
    environment = start(function, wrapper="noisy", PYTHONWARNINGS="always", **LOGGING[logging])
    sent = event(
        "queue.json" if function == "QueueFunction" else EVENTS[function]
    )  # one that dead-letters, too
    assert not environment.invoke(sent).error
    environment.kill()
    lines = "\n".join(environment.lines)
    for said in ("a warning", "an error with its cause", "on the root logger"):
        assert said in lines
    assert lines.count("unhandled exception") == 2


def test_the_runtimes_report_of_a_failed_refresh_is_json(start, clopos):
    """It raises, so that Lambda tries again and counts an error. What the runtime client then writes counts too."""
    clopos.fail_auth("wrong_credentials", repeat=None)
    result = start("TokenRefreshFunction").invoke(event("schedule.json"))
    assert "clopos_access_denied" in result.error["errorMessage"]
