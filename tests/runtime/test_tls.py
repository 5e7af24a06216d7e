"""In production Clopos is reached over TLS, where a context takes more CPU time than many calls."""

import json

from local.simulator import Simulator
from tests.runtime.conftest import event
from tests.runtime.relay import Relay


def test_all_connections_of_a_process_share_one_context(start, secretsmanager, references, secrets):
    with Simulator(tls=True) as clopos, Relay(clopos.tls_url) as relay:
        references["CLOPOS_BASE_URL"] = relay.url
        token = clopos.issue_token()
        secrets.add(token)
        secretsmanager.put_secret_value(SecretId=references["TOKEN_SECRET_ARN"], SecretString=token)
        environment = start("ApiFunction", wrapper="counting_contexts", SSL_CERT_FILE=clopos.ca_file)
        for number in range(1, 4):  # each is refused, after which the connection is closed
            result = environment.invoke(event("api.json"))
            assert json.loads(result.payload["body"])["error"] == "order_not_found"
            assert relay.opened == number
    environment.kill()
    assert [line["contexts"] for line in map(json.loads, environment.lines) if "contexts" in line] == [
        1,
        1,
        1,
    ]
