"""Checks of the stack: whether it is as its template and its parameters say, and what its alarms say."""

from collections.abc import Mapping
from datetime import UTC

from botocore.exceptions import ClientError

from tools.operate.checks import Findings, ok, problem, unknown
from tools.operate.stack import Deployed, snake_case

SECRETS = ("TokenSecretArn", "CredentialsSecretArn", "WebhookSecretArn")
OUTPUTS = (*SECRETS, "ApiUrl", "QueueUrl", "QueueArn", "DeadLetterQueueUrl", "TokenRefreshFunctionName")
#: The parameters that each function gets as environment variables.
VARIABLES = {
    "ApiFunction": ("CloposBaseUrl", "EventBusName"),
    "QueueFunction": ("CloposBaseUrl", "EventBusName", "CancellationTypes", "QueueWorkers", "ApiReserve"),
    "WebhookFunction": ("CancellationTypes",),
    "TokenRefreshFunction": ("CloposBaseUrl",),
}
PARAMETERS = (*VARIABLES["QueueFunction"], "TokenRefresh", "AlarmEmail")
ALIAS = "live"


def outputs(stack: Deployed) -> Findings:
    """The stack is complete, and was created from this template."""
    status, name, deploy = stack.description["StackStatus"], stack.name, stack.deploy_command
    why = f"Read why: aws cloudformation describe-stack-events --stack-name {name}"
    account = stack.description["StackId"].split(":")[4]
    if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"):
        text = f"the stack is {status}: it can only be deleted"
        yield problem(text, f"{why}; then run: .venv/bin/sam delete --stack-name {name}, and: {deploy}")
    elif status == "UPDATE_ROLLBACK_FAILED":
        rollback = f"aws cloudformation continue-update-rollback --stack-name {name}"
        text = f"the stack is {status}, between two versions"
        yield problem(text, f"{why}; remove the reason, and run: {rollback}; then deploy again: {deploy}")
    elif missing := missing_from(stack):
        text = f"the stack is {status} and has no {', '.join(missing)}"
        yield problem(text, f"Deploy this version of the template: {deploy}")
    elif status.endswith("_IN_PROGRESS"):
        yield problem(f"the stack is {status}", "Run the doctor again when the deployment is done")
    elif status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"):
        text = f"the stack is {status}: its last deployment failed"
        yield problem(text, f"{why}; then deploy again: {deploy}")
    yield ok(f"{name} in {stack.region}, account {account}, is {status} and has all {len(OUTPUTS)}")


def missing_from(stack: Deployed) -> list[str]:
    """Return the names of missing outputs and parameters; the other checks need all of them."""
    found = {*stack.outputs, *stack.parameters}
    return [name for name in (*OUTPUTS, *PARAMETERS) if name not in found]


def parameters(stack: Deployed) -> Findings:
    """The versions behind the aliases use the stack's current parameters."""
    given = stack.parameters
    refresh = stack.outputs["TokenRefreshFunctionName"] if given["TokenRefresh"] == "ENABLED" else ""
    for function, names in VARIABLES.items():
        expected = {name.upper(): value for name, value in snake_case({n: given[n] for n in names}).items()}
        if "EventBusName" in names:  # those that cancel orders may ask for a token
            expected["TOKEN_REFRESH_FUNCTION"] = refresh
        yield from _function_parameters(stack, function, expected)
    yield ok("every function uses the stack's current parameters")


def _function_parameters(stack: Deployed, function: str, expected: Mapping[str, str]) -> Findings:
    client, name = stack.client("lambda"), stack.physical_id(function)
    versions = stack.physical_ids("AWS::Lambda::Version").items()
    numbers = [arn.rpartition(":")[2] for key, arn in versions if key.startswith(f"{function}Version")]
    moved, current = "", max(numbers, key=int, default="")
    if current:  # the token refresh has no alias
        alias = client.get_alias(FunctionName=name, Name=ALIAS)
        if weights := alias.get("RoutingConfig", {}).get("AdditionalVersionWeights"):
            share = f"version {', '.join(weights)} gets {sum(weights.values()):.0%} of the calls"
            yield unknown(f"{function} is being deployed: {share}", "Run the doctor again in ten minutes")
            return
        if alias["FunctionVersion"] != current:
            moved = f"its alias {ALIAS} is at version {alias['FunctionVersion']}, the stack's is {current}"
    qualifier = {"Qualifier": ALIAS} if current else {}
    configuration = client.get_function_configuration(FunctionName=name, **qualifier)
    found = configuration.get("Environment", {}).get("Variables", {})
    wrong = [
        f"{variable} is {found.get(variable, 'not set')!r}, the parameter {value!r}"
        for variable, value in expected.items()
        if found.get(variable) != value
    ]
    if moved:
        update = f"aws lambda update-alias --function-name {name} --name {ALIAS} --function-version {current}"
        text = "; ".join([f"{function}: {moved}", *wrong])
        yield problem(text, f"If nobody rolled it back on purpose, run: {update}")
    elif wrong:
        yield problem(f"{function}: {'; '.join(wrong)}", f"Deploy again: {stack.deploy_command}")


def event_source(stack: Deployed) -> Findings:
    """The queue's messages reach the worker, with the right number of workers."""
    client, workers = stack.client("lambda"), int(stack.parameters["QueueWorkers"])
    function, arn = stack.physical_id("QueueFunction"), stack.outputs["QueueArn"]
    sources = client.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
    if not sources:
        text = "nothing reads the queue: its event source is gone"
        yield problem(text, f"Deploy again: {stack.deploy_command}")
    for source in sources:
        update = f"Run: aws lambda update-event-source-mapping --uuid {source['UUID']}"
        if not source["FunctionArn"].endswith(f":{function}:{ALIAS}"):
            text = f"the queue is read by {source['FunctionArn']}, not by the alias {ALIAS} of {function}"
            yield problem(text, f"{update} --function-name {function}:{ALIAS}")
        if source["State"] in ("Disabled", "Disabling"):
            yield problem(f"it is {source['State']}, so orders wait on the queue", f"{update} --enabled")
        elif source["State"] != "Enabled":
            yield unknown(f"it is {source['State']}", "Run the doctor again in a minute")
        if "ReportBatchItemFailures" not in source.get("FunctionResponseTypes", []):
            text = "it does not report batch item failures, so a failed message repeats its whole batch"
            yield problem(text, f"{update} --function-response-types ReportBatchItemFailures")
        found = source.get("ScalingConfig", {}).get("MaximumConcurrency")
        if found != workers:
            text = f"its MaximumConcurrency is {found}, but the parameter QueueWorkers is {workers}"
            yield problem(text, f"{update} --scaling-config MaximumConcurrency={workers}")
    if client.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions") == 0:
        delete = f"aws lambda delete-function-concurrency --function-name {function}"
        yield problem(f"{function} cannot run: its reserved concurrency is 0", f"Run: {delete}")
    yield ok(f"enabled, reports batch item failures, {workers} workers")


def throttling(stack: Deployed) -> Findings:
    """Both routes have the limits that the template gives them, and there is no stage without limits."""
    api, stage = stack.physical_id("Api"), stack.outputs["ApiUrl"].rpartition("/")[2]
    template = stack.client("cloudformation").get_template(StackName=stack.name, TemplateStage="Processed")
    resources = template["TemplateBody"]["Resources"].values()
    (wanted,) = [each["Properties"] for each in resources if each["Type"] == "AWS::ApiGateway::Stage"]
    stages = stack.client("apigateway").get_stages(restApiId=api)["item"]
    found = {each["stageName"]: each.get("methodSettings", {}) for each in stages}
    update = f"Run: aws apigateway update-stage --rest-api-id {api} --stage-name {stage} --patch-operations"
    limits = {method_key(key): in_calls(each, "t") for key, each in found.pop(stage).items()}
    told = "; ".join(f"{key} {limit}" for key, limit in limits.items())
    for setting in wanted["MethodSettings"]:
        path = f"{setting['ResourcePath']}/{setting['HttpMethod']}"
        has, wants = limits.pop(method_key(path), "no limit"), in_calls(setting, "T")
        if has != wants:
            rate = f"'op=replace,path={path}/throttling/rateLimit,value={setting['ThrottlingRateLimit']}'"
            burst = f"'op=replace,path={path}/throttling/burstLimit,value={setting['ThrottlingBurstLimit']}'"
            text = f"{method_key(path)} has {has}, not {wants} as in the template"
            yield problem(text, f"{update} {rate} {burst}")
    for key, has in limits.items():
        path = f"/~1{key.rpartition('/')[0].replace('/', '~1')}/{key.rpartition('/')[2]}"
        yield problem(f"{key} has limits of its own, {has}", f"{update} op=remove,path={path}")
    for name in found:
        delete = f"aws apigateway delete-stage --rest-api-id {api} --stage-name {name}"
        yield problem(f"there is a second stage, {name}: it has no throttling of ours", f"Run: {delete}")
    yield ok(f"{told}; {stage} is the only stage")


def method_key(path: str) -> str:
    """Return the key of a method, whether or not the slashes of its path are escaped as `~1`."""
    return path.replace("~1", "/").strip("/")


def in_calls(setting: Mapping[str, float], t: str) -> str:
    """Return a method's limit in words; the keys begin with `t` in the API, and with `T` in a template."""
    rate, burst = (setting.get(f"{t}hrottling{name}Limit") for name in ("Rate", "Burst"))
    return f"{rate:g} calls/s with a burst of {burst}"


def event_bus(stack: Deployed) -> Findings:
    """The bus for outcome events exists."""
    name = stack.parameters["EventBusName"]
    try:
        if name:
            stack.client("events").describe_event_bus(Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        text = f"there is no event bus {name}, so no order leaves the queue"
        yield problem(text, f"Run: aws events create-event-bus --name {name}")
    yield ok(f"{name} exists" if name else "not used, as EventBusName is empty")


def alarms(stack: Deployed) -> Findings:
    """No alarm is in ALARM, and the actions of all of them are enabled."""
    names = stack.physical_ids("AWS::CloudWatch::Alarm")
    pages = stack.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNames=[*names.values()])
    found = {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}
    for logical_id, name in names.items():
        alarm = found.get(name)
        if alarm is None:
            yield problem(f"{logical_id} has been deleted", f"Deploy again: {stack.deploy_command}")
            continue
        # The emulator ignores dimensions and periods: a metric of one function sets the alarms of all.
        if alarm["StateValue"] == "ALARM" and not stack.endpoint:
            since = f"{alarm['StateUpdatedTimestamp'].astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            help_ = alarm.get("AlarmDescription", "").rstrip(".")
            yield problem(f"{logical_id} has been in ALARM since {since}", help_)
        if not alarm["ActionsEnabled"]:
            enable = f"aws cloudwatch enable-alarm-actions --alarm-names {name}"
            yield problem(f"the actions of {logical_id} are disabled, so it tells nobody", f"Run: {enable}")
    states = "the local emulator does not evaluate them" if stack.endpoint else "none is in ALARM"
    yield ok(f"the actions of all {len(names)} are enabled; {states}")


def subscriptions(stack: Deployed) -> Findings:
    """The subscriptions to alarms are confirmed."""
    topic, email = stack.physical_id("AlarmTopic"), stack.parameters["AlarmEmail"]
    attributes = stack.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
    confirmed, pending = int(attributes["SubscriptionsConfirmed"]), int(attributes["SubscriptionsPending"])
    address = email or "ops@example.com"
    subscribe = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint {address}"
    if pending:
        text = f"{pending} of {confirmed + pending} subscriptions to alarms are not confirmed"
        again = f"To get it again, run: {subscribe}"
        yield problem(text, f"Open the link in the e-mail from AWS Notifications. {again}")
    elif email and not confirmed:
        yield problem(f"{email} does not get the alarms any more", f"Run: {subscribe}")
    none = "none, as AlarmEmail is empty: nobody is told of alarms"
    yield ok(f"{confirmed} confirmed" if confirmed or email else none)
