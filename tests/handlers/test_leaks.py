"""No part of a secret is output, in whatever form Clopos repeats it.

Whatever a handler lets out is searched for the token and the credentials at the end of every test, in this file
and elsewhere (`Output.check_for_leaks`).
"""

import logging

import pytest

from local.simulator import CREDENTIALS, FORMS, Fault, quoting


@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize("form", FORMS)
def test_a_token_that_clopos_repeats_goes_nowhere(clopos, call_api, run_batch, output, form, status):
    clopos.fail(108, quoting("token", form, status), repeat=None)
    answer = call_api(108)
    assert "***" in answer.body["upstream"]["message"]
    run_batch({"order_id": 108})


@pytest.mark.parametrize("form", FORMS)
def test_a_credential_that_clopos_repeats_goes_nowhere(clopos, call_api, refreshable, output, form):
    clopos.expire_tokens()
    clopos.fail_auth(quoting("client_secret", form), repeat=None)
    answer = call_api(108)
    assert answer.body["error"] == "clopos_access_denied"
    assert "***" in answer.body["message"]


def test_all_credentials_in_one_sentence_go_nowhere(clopos, call_api, refreshable, output):
    output.secrets |= set(CREDENTIALS.values())
    clopos.expire_tokens()
    text = "{client_id} with {client_secret} of {integrator_id} has no access to {brand}"
    clopos.fail_auth(Fault(401, {"success": False, "error": "unauthorized", "message": text}), repeat=None)
    assert call_api(108).body["error"] == "clopos_access_denied"


def test_a_token_in_a_field_of_a_success_goes_nowhere(clopos, call_api, run_batch, token):
    fields = {
        "integration": token,
        "customer_ref_id": token[:12],
        "integration_response": {"x": token.upper()},
    }
    clopos.fail(108, Fault(data=fields), repeat=None)
    assert call_api(108).status == 200
    assert run_batch({"order_id": 108}).fates == ["done"]


def test_a_token_in_an_orders_status_goes_nowhere(clopos, call_api, run_batch, token):
    clopos.fail(108, "status_not_allowed", repeat=None)
    clopos.fail_get(108, Fault(data={"status": token}), repeat=None)
    assert call_api(108).status == 409
    assert run_batch({"order_id": 108}).fates == ["dead"]


@pytest.mark.parametrize("library", ["botocore", "urllib3", "requests", "boto3"])
def test_a_library_cannot_be_made_to_log_what_it_sends(call_api, function, library):
    function("api")
    assert not logging.getLogger(library).isEnabledFor(logging.INFO)
    assert not logging.getLogger(library + ".anything").isEnabledFor(logging.DEBUG)
    assert call_api(108).status == 200
