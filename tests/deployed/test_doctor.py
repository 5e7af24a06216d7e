"""`make doctor`: the deployed stack is broken in one way after the other, and the sentence is read.

Where the sentence holds a command of the AWS CLI, that command is run, and must repair what was broken.
"""

import io
import json
import re
import shlex
import subprocess
import time
from datetime import UTC, datetime
from functools import partial

import pytest
from botocore import xform_name
from botocore.config import Config

from local.common import ROOT
from local.emulator.deploy import built_template
from local.simulator import CREDENTIALS as LOCAL_CREDENTIALS
from local.stack import STACK_NAME
from tests.conftest import eventually
from tools.operate import dead_letters, doctor
from tools.operate import stack as deployed
from tools.operate.__main__ import main as operate
from tools.operate.checks import configuration as conf
from tools.operate.checks import order, secrets
from tools.operate.checks import orders as happened
from tools.operate.doctor import CHECKS, diagnose
from tools.operate.stack import Deployed

CREDENTIALS = {"client_id": "not-an-id", "client_secret": "not-a-secret", "brand": "b", "integrator_id": "i"}


@pytest.fixture
def target(stack):
    """The stack as the doctor sees it."""
    return Deployed.from_environment(STACK_NAME)


@pytest.fixture(autouse=True)
def started(monkeypatch):
    """Wait less than on AWS, and look no further back in the log than this test."""
    monkeypatch.setattr(order, "POLL_S", 0.1)
    monkeypatch.setattr(dead_letters, "LONG_POLL_S", 0)  # the emulator has a single server
    monkeypatch.setattr(happened, "WINDOW_S", 0.001)
    return time.time()


@pytest.fixture
def read(target, monkeypatch, started):
    """Run a check and return its lines."""

    def read(check, target=target):
        monkeypatch.setattr(happened, "WINDOW_S", time.time() - started)
        happened.read_log.cache_clear()
        return [finding.line("check") for finding in doctor.examine(target, check)]

    return read


@pytest.fixture
def store(stack, secretsmanager):
    """Store a secret for the length of a test."""
    before = {}

    def store(output, value):
        arn = stack.outputs[output]
        before.setdefault(arn, secretsmanager.get_secret_value(SecretId=arn)["SecretString"])
        text = value if isinstance(value, str) else json.dumps(value)
        secretsmanager.put_secret_value(SecretId=arn, SecretString=text)

    yield store
    for arn, value in before.items():
        secretsmanager.put_secret_value(SecretId=arn, SecretString=value)


@pytest.fixture
def run_aws(stack):
    """Run what the AWS CLI would run for the command at the end of a line."""

    def run(line):
        service, operation, *words = shlex.split(line.partition("aws ")[2])
        client, method = stack.client(service), operation.replace("-", "_")
        model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method])
        members = model.input_shape.members
        names = {xform_name(name, "-"): name for name in members} | {"notification-endpoint": "Endpoint"}
        options = [option.split() for option in " ".join(words).split("--")[1:]]
        getattr(client, method)(**{names[name]: value(members[names[name]], of) for name, *of in options})

    def value(shape, words):
        if shape.type_name == "list":
            return [value(shape.member, [word]) for word in words]
        if shape.type_name == "structure":
            fields = (field.split("=", 1) for field in words[0].split(","))
            return {name: value(shape.members[name], [text]) for name, text in fields}
        return (
            not words if shape.type_name == "boolean" else {"integer": int}.get(shape.type_name, str)(*words)
        )

    return run


@pytest.fixture
def healthy(stack, clopos, deployed_queues):
    stack.refresh_token()
    return stack


def test_a_healthy_stack_gets_one_line_per_check_and_is_not_changed(healthy, clopos, capsys):
    calls_before = len(clopos.calls())
    assert operate(["doctor", STACK_NAME]) == 0
    *lines, _, last = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"ok       {name}" for name in ("outputs", *CHECKS)]
    assert last == "No problem."
    assert len(clopos.calls()) == calls_before


def test_the_permissions_of_the_policy_are_enough(healthy, clopos, deployed_queues, operator, capsys):
    policy = json.loads((ROOT / "tools" / "operate" / "operator-policy.json").read_text())
    # The emulator asks for these where AWS asks for GetAlias, GetFunctionConcurrency, ChangeMessageVisibility.
    own = ["lambda:ListAliases", "lambda:PutFunctionConcurrency", "sqs:ChangeMessageVisibilityBatch"]
    permitted = operator(*own, statements=policy["Statement"])
    assert diagnose(permitted, refresh=True, order_id="108")
    out = capsys.readouterr().out
    assert "ok       token refresh: a new token is stored" in out
    for way in ("API", "queue", "webhook"):
        assert f"ok       order 108 by {way}: cancelled in " in out
    assert "unknown" not in out
    assert [call.status for call in clopos.calls(108)] == [200, 200, 200]
    clopos.add_order(109)
    deployed_queues[1].send({"order_id": 109})
    assert dead_letters.DeadLetters(permitted, "all").redrive()
    eventually(lambda: clopos.order(109)["status"] == "IGNORE")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("STACK", "nothing", "there is no stack nothing on the local emulator"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "127.0.0.1:9 does not answer. Run: make start"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE", 'run: eval "$(make outputs LOCAL=1)"'),
        ("AWS_DEFAULT_REGION", "", "You must specify a region. Sign in (aws sso login), or"),
        ("AWS_PROFILE", "nobody", "The config profile (nobody) could not be found. Sign in"),
    ],
)
def test_the_doctor_says_why_it_cannot_reach_the_stack(stack, monkeypatch, capsys, name, value, sentence):
    if name in ("AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    monkeypatch.setenv(name, value)
    one_attempt = Config(retries={"total_max_attempts": 1})
    monkeypatch.setattr(deployed, "CONFIG", deployed.CONFIG.merge(one_attempt))
    assert operate(["doctor", value if name == "STACK" else STACK_NAME]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("problem  stack: ")
    assert sentence in line


def test_each_check_names_the_permission_that_is_missing(operator, read):
    target = operator("cloudformation:*")
    lines = [line for check in CHECKS.values() for line in read(check, target)]
    refused = [line for line in lines if "not allowed: your credentials need the permission " in line]
    assert {line.split()[-1].lower() for line in refused} == {
        *("secretsmanager:getsecretvalue", "scheduler:getschedule", "lambda:listeventsourcemappings"),
        *("apigateway:get", "cloudwatch:describealarms", "events:describeeventbus", "logs:filterlogevents"),
        *("sns:gettopicattributes", "sqs:getqueueattributes"),
        "lambda:listaliases",  # for GetAlias; AWS checks lambda:GetAlias
    }
    assert all(line.startswith("problem  ") for line in refused)
    assert lines[0].startswith(
        "unknown  check: whether they are filled in, you may not read (secretsmanager:Get"
    )
    (line,) = read(order.OrderCheck("108").by_api, target)
    assert line.startswith("problem  check: the API refuses your signature: ")
    assert "Your credentials need the permission execute-api:Invoke for arn:*:execute-api:" in line


def test_an_output_or_a_parameter_is_missing(target, read, capsys, monkeypatch):
    del target.outputs["QueueArn"], target.parameters["QueueWorkers"]
    (line,) = read(conf.outputs)
    missing = "the stack is CREATE_COMPLETE and has no QueueArn, QueueWorkers"
    assert line == f"problem  check: {missing}. Deploy this version of the template: make start"
    monkeypatch.setattr(Deployed, "from_environment", lambda name: target)
    assert operate(["doctor", STACK_NAME]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 3, "no other check can work without them"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("UPDATE_IN_PROGRESS", "Run the doctor again when the deployment is done"),
        ("UPDATE_ROLLBACK_COMPLETE", "its last deployment failed. Read why: aws cloudformation"),
        ("ROLLBACK_COMPLETE", "it can only be deleted. Read why: aws cloudformation describe-stack-events "),
        ("UPDATE_ROLLBACK_FAILED", "run: aws cloudformation continue-update-rollback --stack-name clopos"),
    ],
)
def test_the_last_deployment_is_not_done_or_failed(target, read, status, sentence):
    target.description["StackStatus"] = status
    (line,) = read(conf.outputs)
    assert line.startswith("problem  check: the stack is " + status)
    assert sentence in line


def test_a_function_has_other_parameters_than_the_stack(stack, target, read, run_aws):
    client, name = stack.client("lambda"), stack.physical_id("WebhookFunction")
    before = client.get_function_configuration(FunctionName=name)["Environment"]
    changed = before["Variables"] | {"CANCELLATION_TYPES": "order.deleted"}
    client.update_function_configuration(FunctionName=name, Environment={"Variables": changed})
    version = client.publish_version(FunctionName=name)["Version"]
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
    (line,) = read(conf.parameters)
    assert f"WebhookFunction: its alias live is at version {version}, the stack's is 1" in line
    assert "CANCELLATION_TYPES is 'order.deleted', the parameter 'order.cancelled,order.canceled'" in line
    run_aws(line)
    client.update_function_configuration(FunctionName=name, Environment=before)
    assert read(conf.parameters) == ["ok       check: every function uses the stack's current parameters"]
    target.parameters["CloposBaseUrl"] = "https://clopos.example/v2"
    lines = read(conf.parameters)
    assert [line.split()[2] for line in lines] == ["ApiFunction:", "QueueFunction:", "TokenRefreshFunction:"]
    assert all("the parameter 'https://clopos.example/v2'. Deploy again: " in line for line in lines)
    target.parameters["TokenRefresh"] = "DISABLED"
    assert "; TOKEN_REFRESH_FUNCTION is " in read(conf.parameters)[0]


def test_a_deployment_that_shifts_traffic_is_no_problem(stack, read):
    client, name = stack.client("lambda"), stack.physical_id("ApiFunction")
    live, canary = {"FunctionName": name, "Name": "live"}, {"AdditionalVersionWeights": {"2": 0.1}}
    client.update_alias(**live, RoutingConfig=canary)
    try:
        (line,) = read(conf.parameters)
    finally:
        client.update_alias(**live, RoutingConfig={"AdditionalVersionWeights": {}})
    assert line.startswith("unknown  check: ApiFunction is being deployed: version 2 gets 10% of the calls")


def test_the_event_source_is_not_as_it_should_be(stack, read, run_aws):
    client, name = stack.client("lambda"), stack.physical_id("QueueFunction")
    (source,) = client.list_event_source_mappings()["EventSourceMappings"]
    wrong = {"Enabled": False, "ScalingConfig": {"MaximumConcurrency": 7}, "FunctionResponseTypes": []}
    client.update_event_source_mapping(UUID=source["UUID"], FunctionName=name, **wrong)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    sentences = (
        f"function:{name}, not by the alias live of {name}",
        "it is Disabled, so orders wait on the queue",
        "it does not report batch item failures, so a failed message repeats its whole batch",
        "its MaximumConcurrency is 7, but the parameter QueueWorkers is 2",
        f"{name} cannot run: its reserved concurrency is 0",
    )
    for line, sentence in zip(read(conf.event_source), sentences, strict=True):
        assert sentence in line
        run_aws(line)
    assert read(conf.event_source) == ["ok       check: enabled, reports batch item failures, 2 workers"]


def test_the_stages_and_their_throttling_were_changed(stack, read, run_aws):
    client, api = stack.client("apigateway"), stack.physical_id("Api")
    (in_order,) = read(conf.throttling)
    paths = ("~1webhooks~1cancellations/POST", "~1orders~1{id}/PUT")
    patches = [{"op": "replace", "value": "7", "path": f"/{path}/throttling/rateLimit"} for path in paths]
    client.update_stage(restApiId=api, stageName="v1", patchOperations=patches)
    deployment = client.get_stage(restApiId=api, stageName="v1")["deploymentId"]
    client.create_stage(restApiId=api, stageName="Stage", deploymentId=deployment)
    changed, own, second = read(conf.throttling)
    assert "webhooks/cancellations/POST has 7 calls/s with a burst of 100, not 10 calls/s with" in changed
    assert "orders/{id}/PUT has limits of its own, 7 calls/s with" in own
    assert "there is a second stage, Stage" in second
    for line in (changed, own, second):
        run_aws(line)
    assert read(conf.throttling) == [in_order]
    assert in_order.endswith("; v1 is the only stage")


def test_the_event_bus_does_not_exist(stack, target, read, run_aws):
    target.parameters["EventBusName"] = "orders"
    (line,) = read(conf.event_bus)
    assert line.startswith("problem  check: there is no event bus orders, so no order leaves the queue")
    run_aws(line)
    assert read(conf.event_bus) == ["ok       check: orders exists"]
    stack.client("events").delete_event_bus(Name="orders")


def test_an_alarm_is_on_and_its_actions_are_disabled(stack, target, read, run_aws):
    client, name = stack.client("cloudwatch"), stack.physical_id("TokenRefreshAlarm")
    client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    client.disable_alarm_actions(AlarmNames=[name])
    (disabled,) = read(conf.alarms)  # the emulator sets alarms without looking at their dimensions
    assert "the actions of TokenRefreshAlarm are disabled, so it tells nobody" in disabled
    run_aws(disabled)
    (line,) = read(conf.alarms)
    assert line.startswith("ok       check: the actions of all ")
    target.client("cloudwatch")
    target.endpoint = ""  # as on AWS
    (on,) = read(conf.alarms)
    assert f"TokenRefreshAlarm has been in ALARM since {datetime.now(UTC):%Y-%m-%d}" in on
    assert "(docs/operations.md, TokenRefreshAlarm)" in on
    client.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="a test")


def test_a_subscription_is_not_confirmed(stack, target, read, run_aws):
    client, topic = stack.client("sns"), stack.physical_id("AlarmTopic")
    target.parameters["AlarmEmail"] = "ops@example.com"
    (line,) = read(conf.subscriptions)
    assert line.startswith("problem  check: ops@example.com does not get the alarms any more")
    client.subscribe(TopicArn=topic, Protocol="http", Endpoint="http://127.0.0.1:9/alarms")
    (line,) = read(conf.subscriptions)
    assert "1 of 1 subscriptions to alarms are not confirmed. Open the link in the e-mail" in line
    run_aws(line)
    (line,) = read(conf.subscriptions)
    assert "1 of 2 subscriptions to alarms are not confirmed" in line
    for subscription in client.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        client.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])


NO_TOKEN = "the secret holds no token. Run: make doctor STACK=clopos-cancel REFRESH=1"
NO_OBJECT = "the secret is not a JSON object. Run: make credentials STACK=clopos-cancel"
NOT_BASE64 = "it is not base64 of at least 16 bytes, so every webhook is refused. Make one, "

LAST_YEAR = 1767852332


@pytest.mark.parametrize(
    ("name", "secret", "sentence"),
    [
        (
            "credentials",
            CREDENTIALS | {"brand": "", "client_id": ""},
            "client_id, brand missing or empty. Run",
        ),
        ("credentials", {}, "client_id, client_secret, brand, integrator_id missing or empty. Run: make cre"),
        ("credentials", "client_secret=not-a-secret", NO_OBJECT),
        ("credentials", '["not-a-secret"]', NO_OBJECT),
        ("token", {"token": "not-a-token", "expires_at": LAST_YEAR}, "it expired "),
        ("token", {"token": "", "expires_at": LAST_YEAR}, NO_TOKEN),
        ("token", {"expires_at": LAST_YEAR}, NO_TOKEN),
        ("token", "[]", NO_TOKEN),
        ("token", "not a token", NO_TOKEN),
        ("token", " ", "the secret has no value yet. Run: make doctor"),
        ("webhook_secret", " ", "it is empty, so every webhook is refused. Make one, and give it to the "),
        ("webhook_secret", "whsec_QQ==", NOT_BASE64),
        ("webhook_secret", "bm90LWEtc2VjcmV0!LW5vdC1hLXNlY3JldHNl", NOT_BASE64),
        ("webhook_secret", "v1,whsec_bm90LWEtc2VjcmV0LW5vdC1hLXNlY3JldA==", NOT_BASE64),
    ],
)
def test_a_secret_cannot_be_used(store, read, name, secret, sentence):
    store(f"{name.removesuffix('_secret').title()}SecretArn", secret)
    (line,) = read(getattr(secrets, name))
    assert line.startswith(f"problem  check: {sentence}")


def test_nothing_of_a_secret_is_printed(store, capsys):
    store("CredentialsSecretArn", CREDENTIALS | {"brand": ""})
    store("TokenSecretArn", {"token": "not-a-token", "expires_at": time.time() - 60})
    assert operate(["doctor", STACK_NAME]) == 1
    out = capsys.readouterr().out
    assert "problem  token: it expired 6" in out
    assert "not-a" not in out


def test_a_token_that_was_not_refreshed_in_time_and_a_bare_one(store, read, target):
    store("TokenSecretArn", {"token": "not-a-token", "expires_at": time.time() + 601})
    (line,) = read(secrets.token)
    assert "it expires in 10 minutes, and should have been refreshed by now" in line
    target.parameters["TokenRefresh"] = "DISABLED"
    assert read(secrets.token) == ["ok       check: it expires in 10 minutes"]
    store("TokenSecretArn", "not-a-token")
    assert read(secrets.token) == ["ok       check: there is one; the secret does not say when it expires"]


def test_another_system_stores_the_token(target, read):
    target.parameters["TokenRefresh"] = "DISABLED"
    assert read(secrets.credentials) == ["ok       check: not needed, as TokenRefresh is DISABLED"]
    (line,) = read(secrets.token_refresh)
    assert line.startswith("problem  check: TokenRefresh is DISABLED, so another system stores the token")
    (line,) = read(secrets.schedule)
    assert "the schedule of the token refresh is ENABLED, the parameter TokenRefresh DISABLED" in line


@pytest.mark.parametrize(
    ("state", "stored", "found", "fix"),
    [
        ("ok", LOCAL_CREDENTIALS | {"client_secret": "not-one"}, "Invalid client", "The restaurant finds"),
        ("client_disabled", LOCAL_CREDENTIALS, "Client is disabled", "The restaurant switches"),
        ("ok", "{}", "the credentials secret", "Run: make credentials STACK=clopos-cancel"),
    ],
)
def test_a_refresh_fails(healthy, store, clopos, read, state, stored, found, fix):
    clopos.configure(state=state)
    store("CredentialsSecretArn", stored)
    (line,) = read(secrets.token_refresh)
    assert line.startswith("problem  check: it failed with clopos_access_denied: ")
    assert found in line
    assert fix in line
    assert "(docs/operations.md, TokenRefreshAlarm)" in line
    assert "not-one" not in line
    (logged,) = read(secrets.last_refresh)
    assert found in logged
    assert logged.startswith("unknown" if stored == "{}" else "problem  check: the last, at ")


def test_a_new_webhook_secret_and_new_credentials_are_in_order(store, healthy, read, monkeypatch, capsys):
    store("WebhookSecretArn", " ")
    store("CredentialsSecretArn", " ")
    assert operate(["webhook-secret", STACK_NAME, "--rotate"]) == 0
    assert capsys.readouterr().out.strip() == healthy.webhook_secret()
    assert read(secrets.webhook_secret) == ["ok       check: base64 of 32 bytes"]
    assert healthy.post_webhook('{"order_id": 108}').status_code == 202
    monkeypatch.setattr("sys.stdin", io.StringIO("\ufeff" + json.dumps(LOCAL_CREDENTIALS)))
    assert operate(["credentials", STACK_NAME]) == 0
    assert read(secrets.token_refresh) == ["ok       check: a new token is stored"]
    for text in ("", "[]", json.dumps(CREDENTIALS | {"brand": ""})):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert operate(["credentials", STACK_NAME]) == 1
    assert "not-a" not in "".join(capsys.readouterr())


def test_outputs_are_variables_of_a_shell(stack, capsys):
    assert operate(["outputs", STACK_NAME, "--keys"]) == 0
    script = capsys.readouterr().out + 'echo "$STACK $api_url $AWS_ACCESS_KEY_ID"'
    told = subprocess.run(["sh", "-eu"], input=script, capture_output=True, text=True).stdout.split()
    assert told == [STACK_NAME, stack.outputs["ApiUrl"], "test"]


@pytest.fixture
def queued(healthy, clopos, sqs, deployed_queues, started, target):
    """Send a message for an order, and wait until the worker has logged what became of it."""

    def queued(order_id):
        clopos.add_order(order_id)
        deployed_queues[0].send({"order_id": order_id})
        lines = lambda: target.log_lines("Queue", "", started)  # noqa: E731
        eventually(lambda: [line for line in lines() if line.get("order_id") == str(order_id)])

    yield queued
    clopos.configure(state="ok")
    clopos.heal()
    sqs.purge_queue(QueueUrl=healthy.outputs["QueueUrl"])


DENIED = "clopos_access_denied: Clopos says "
ROLE = {"status": 403, "body": {"success": False, "error": "forbidden", "message": "Not for this user"}}
BREAKS = [
    ("client_disabled", None, f"{DENIED}401 Client is disabled", "The restaurant switches the"),
    ("integrator_deactivated", None, f"{DENIED}400 Invalid ", "Compare the integrator_id"),
    ("test_mode_200", None, f"{DENIED}200 ", "A test integrator"),
    ("module_missing", None, f"{DENIED}403 does not have access to", "The brand has not"),
    ("ok", ROLE, f"{DENIED}403 Not for this user", "The credentials may do"),
    ("ok", {"status": 503}, "clopos_unavailable: 503 ", "Clopos is down. Nothing"),
    ("ok", {"status": 504}, "clopos_timeout: 504 ", "Clopos is too slow."),
    (
        "ok",
        {"status": 429, "headers": {"RateLimit-Reset": "1"}},
        "rate_limited: 429 ",
        "Something else uses the quota",
    ),
    ("ok", {"status": 200, "body": "<html>"}, "clopos_bad_response: 200 ", "Clopos sends what"),
]


@pytest.mark.parametrize(("state", "fault", "found", "fix"), BREAKS)
def test_an_order_fails_for_a_reason_that_is_not_its_own(
    queued, clopos, read, capsys, state, fault, found, fix
):
    clopos.configure(state=state)
    if fault:
        clopos.fail_all(fault)
    else:
        clopos.revoke_tokens()
    queued(300)
    (line,) = read(happened.orders)
    assert line.startswith(f"problem  check: 1 deferred with {found}")
    assert "for example order 300, request " in line
    assert fix in line
    assert "(docs/operations.md, " in line
    (line,) = read(happened.queue)
    assert "1 waiting, 1 of them in progress or deferred; the oldest that was tried, order 300, has " in line
    assert operate(["orders", STACK_NAME, "--minutes", "0.5"]) == 0
    assert f"1 deferred with {found}" in capsys.readouterr().out


def test_a_refusal_of_the_order_itself_and_a_call_that_failed_before_are_no_problem(
    queued, healthy, clopos, read
):
    clopos.fail_all({"status": 403})
    assert healthy.put_order(108).status_code == 502
    (line,) = read(happened.orders)
    assert line.startswith("problem  check: 1 failed with clopos_access_denied: 403 ")
    clopos.heal()
    clopos.fail(303, {"status": 503})
    queued(303)  # deferred at first, cancelled then: it counts once
    clopos.add_order(302, status="RECEIVED", receipt_id=7)
    assert healthy.put_order(302).status_code == 409
    counted = "ok       check: 1 cancelled, 1 rejected, 0 deferred, 1 failed in "
    eventually(lambda: read(happened.orders)[0].startswith(counted))
    assert read(happened.orders)[0].endswith(" (order_not_cancellable 1)")


def test_webhooks_are_refused(healthy, read):
    assert read(happened.webhooks) == ["ok       check: 0 accepted, 0 refused"]

    def says(sentence, call):
        call()  # each time: the emulator may take what a function wrote last only when it calls the function again
        return re.match(sentence, read(happened.webhooks)[0])

    refused = r"([1-9]\d*) refused: the header webhook-id is missing \1"
    unsigned = partial(healthy.call, "POST", "/webhooks/cancellations", "{}")
    eventually(
        lambda: says(rf"problem  check: 0 accepted, {refused}. If they come from your sender", unsigned)
    )
    signed = partial(healthy.post_webhook, '{"order_id": 108}')
    eventually(lambda: says(rf"ok       check: [1-9]\d* accepted, {refused}$", signed))


def test_a_message_has_been_waiting_for_a_long_time(stack, read, sqs):
    url = stack.outputs["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody='{"order_id": 108}', DelaySeconds=900)
    try:
        (line,) = read(happened.queue)
        assert line == "ok       check: 1 waiting, 1 of them in progress or deferred"
        dimensions = [{"Name": "QueueName", "Value": url.rpartition("/")[2]}]
        metric = {"MetricName": "ApproximateAgeOfOldestMessage", "Dimensions": dimensions, "Value": 8000}
        stack.client("cloudwatch").put_metric_data(Namespace="AWS/SQS", MetricData=[metric])
        (line,) = read(happened.queue)
        assert line.startswith("problem  check: 1 waiting, 1 of them in progress or deferred; the oldest")
        assert "the oldest that was not, for 2 hours. Nothing is lost. Fix the problems above" in line
    finally:
        sqs.purge_queue(QueueUrl=url)


def test_dead_letters_are_counted_by_code_and_left_alone(deployed_queues, read, monkeypatch):
    _, dead = deployed_queues
    code = {"ErrorCode": {"DataType": "String", "StringValue": "order_not_found"}}
    dead.send(*range(12), MessageAttributes=code)
    dead.send(12)
    (line,) = read(happened.dead_letters)
    assert line == (
        "problem  check: about 13: order_not_found 12, none 1; SQS deletes the oldest of them in 13 days. "
        "To see them: make dead-letters STACK=clopos-cancel (docs/operations.md, DeadLetterAlarm)"
    )
    monkeypatch.setattr(happened, "DEAD_LETTERS_READ", 5)
    (line,) = read(happened.dead_letters)
    assert "order_not_found 5 among the 5 that were read;" in line
    assert dead.counts() == (13, 0)


@pytest.mark.parametrize(
    ("limit", "alarm"),
    [(happened.WAITING_LONG_S, "WaitingOrdersAlarm"), (secrets.TOKEN_LOW_S, "TokenExpiryAlarm")],
)
def test_the_doctor_and_the_alarms_agree_on_what_is_too_long(limit, alarm):
    assert built_template()["Resources"][alarm]["Properties"]["Threshold"] == limit


def test_an_order_that_cannot_be_cancelled_makes_no_dead_letter(healthy, deployed_queues, capsys):
    _, dead = deployed_queues
    assert operate(["doctor", STACK_NAME, "--order", "404"]) == 1
    out = capsys.readouterr().out
    assert "problem  order 404 by API: not cancelled (404), order_not_found: " in out
    assert "unknown  order 404 by queue: not tried, as Clopos answered order_not_found" in out
    assert "unknown  order 404 by webhook: not tried, as Clopos answered order_not_found" in out
    assert sum(dead.counts()) == 0


def test_a_message_has_no_result(healthy, read, monkeypatch, stack, sqs):
    monkeypatch.setattr(order, "RESULT_WITHIN_S", 0.2)
    client = stack.client("lambda")
    (source,) = client.list_event_source_mappings()["EventSourceMappings"]
    client.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
    try:
        (line,) = read(order.OrderCheck("108").by_queue)
    finally:
        sqs.purge_queue(QueueUrl=stack.outputs["QueueUrl"])
        client.update_event_source_mapping(UUID=source["UUID"], Enabled=True)
    assert line.startswith("problem  check: message ")
    assert "has no result after 0.2 s; it may be waiting behind others" in line


def test_the_api_cannot_be_reached(target, read, store):
    target.outputs["ApiUrl"] = "http://127.0.0.1:9"
    for way in (order.OrderCheck("108").by_api, order.OrderCheck("108").by_webhook):
        (line,) = read(way)
        assert "no answer" in line
        assert " ConnectionError: http://127.0.0.1:9/" in line
    store("WebhookSecretArn", "not base64")
    (line,) = read(order.OrderCheck("108").by_webhook)
    assert line == "unknown  check: not tried, as the webhook secret cannot be used"
