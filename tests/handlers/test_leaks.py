"""No part of a secret is output, in whatever form Clopos repeats it.

Whatever a handler lets out is searched for tokens, the tokens inside them and the credentials at the end of every
test, in this file and elsewhere (`Output.check_for_leaks`).
"""

import logging

import pytest

from local.simulator import CREDENTIALS, FORMS, Fault, inner_token, quoting
from tests.handlers.conftest import Output


@pytest.mark.parametrize("status", [401, 404])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", ["token", "inner_token"])
def test_a_token_that_clopos_repeats_goes_nowhere(clopos, call_api, run_batch, value, form, status):
    clopos.fail(108, quoting(value, form, status), repeat=None)
    answer = call_api(108)
    assert answer.body["upstream"]["message"].startswith("The value ***")
    assert run_batch({"order_id": 108}).fates == ["dead" if status == 404 else "queued"]


@pytest.mark.parametrize("form", FORMS)
def test_a_credential_that_clopos_repeats_goes_nowhere(clopos, call_api, refreshable, output, form):
    clopos.expire_tokens()
    clopos.fail_auth(quoting("client_secret", form), repeat=None)
    answer = call_api(108)
    assert answer.body["error"] == "clopos_access_denied"
    assert "***" in answer.body["message"]


def test_all_credentials_in_one_sentence_go_nowhere(clopos, call_api, refreshable, output):
    output.secrets |= set(CREDENTIALS.values())
    text = "{client_id} with {client_secret} of {integrator_id} has no access to {brand}"
    clopos.expire_tokens()
    clopos.fail_auth(Fault(401, {"success": False, "error": "unauthorized", "message": text}), repeat=None)
    assert call_api(108).body["error"] == "clopos_access_denied"


def test_a_token_in_a_field_of_a_success_goes_nowhere(clopos, call_api, run_batch, token):
    fields = {
        "integration": token,
        "customer_ref_id": token[:12],
        "integration_id": inner_token(token),
        "integration_response": {"x": [inner_token(token).upper()], token: 1},
    }
    clopos.fail(108, Fault(data=fields), repeat=None)
    assert call_api(108).status == 200
    assert run_batch({"order_id": 108}).fates == ["done"]


def test_a_token_in_an_orders_status_goes_nowhere(clopos, call_api, run_batch, token):
    clopos.fail(108, "status_not_allowed", repeat=None)
    clopos.fail_get(108, Fault(data={"status": inner_token(token)}), repeat=None)
    assert call_api(108).body["order"]["status"] == "***"
    assert run_batch({"order_id": 108}).fates == ["dead"]


@pytest.mark.parametrize("form", ["whole", "upper", "first_12", "last_12", "base64", "hex", "url"])
@pytest.mark.parametrize("value", [str, inner_token])
def test_the_search_for_leaks_finds_them(clopos, capsys, call_api, token, value, form):
    output = Output(capsys, clopos)
    call_api(108)
    output.sent.append(f"this is {FORMS[form](value(token))}")
    with pytest.raises(AssertionError):
        output.check_for_leaks()


@pytest.mark.parametrize("library", ["botocore", "urllib3", "requests", "boto3"])
def test_a_library_cannot_be_made_to_log_what_it_sends(function, library):
    function("api")
    assert not logging.getLogger(library + ".anything").isEnabledFor(logging.INFO)
