"""Checks of the configuration: whether the stack is as its template and its parameters say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from tools.operate.checks.findings import Findings, ok, problem, unknown
from tools.operate.stack import Deployed

OUTPUTS = (
    "ApiUrl",
    "QueueUrl",
    "QueueArn",
    "DeadLetterQueueUrl",
    "TokenSecretArn",
    "CredentialsSecretArn",
    "WebhookSecretArn",
    "TokenRefreshFunctionName",
)
PARAMETERS = (
    "CloposBaseUrl",
    "TokenRefresh",
    "AlarmEmail",
    "QueueWorkers",
    "ApiReserve",
    "CancellationTypes",
    "EventBusName",
)
ALIAS = "live"
ROUTES = (("PUT", "/orders/{id}"), ("POST", "/webhooks/cancellations"))
ANY_METHOD = "*/*"


def outputs(stack: Deployed) -> Findings:
    """The stack is complete, and was created from this template."""
    status = stack.description["StackStatus"]
    if missing := missing_from(stack):
        yield problem(
            f"the stack is {status} and has no {', '.join(missing)}",
            f"Deploy this version of the template: {stack.deploy_command}",
        )
    elif status.endswith("_IN_PROGRESS"):
        yield problem(f"the stack is {status}", "Run the doctor again when the deployment is done")
    elif status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"):
        yield problem(
            f"the stack is {status}: its last deployment failed",
            f"Read why: aws cloudformation describe-stack-events --stack-name {stack.name}; "
            f"then deploy again: {stack.deploy_command}",
        )
    account = stack.description["StackId"].split(":")[4]
    yield ok(f"{stack.name} in {stack.region}, account {account}, is {status} and has all {len(OUTPUTS)}")


def missing_from(stack: Deployed) -> list[str]:
    """Return the names of missing outputs and parameters; the other checks need all of them."""
    return [name for name in OUTPUTS if name not in stack.outputs] + [
        name for name in PARAMETERS if name not in stack.parameters
    ]


def parameters(stack: Deployed) -> Findings:
    """The versions behind the aliases use the stack's current parameters."""
    for function, variables in expected_variables(stack).items():
        yield from _function_parameters(stack, function, variables)
    yield ok("every function uses the stack's current parameters")


def expected_variables(stack: Deployed) -> dict[str, dict[str, str]]:
    """Return the environment variables of each function that come from parameters."""
    given = stack.parameters
    refreshed = given["TokenRefresh"] == "ENABLED"
    base_url = {"CLOPOS_BASE_URL": given["CloposBaseUrl"]}
    types = {"CANCELLATION_TYPES": given["CancellationTypes"]}
    both = base_url | {
        "TOKEN_REFRESH_FUNCTION": stack.outputs["TokenRefreshFunctionName"] if refreshed else "",
        "EVENT_BUS_NAME": given["EventBusName"],
    }
    shares = {"QUEUE_WORKERS": given["QueueWorkers"], "API_RESERVE": given["ApiReserve"]}
    return {
        "ApiFunction": both,
        "QueueFunction": both | types | shares,
        "WebhookFunction": types,
        "TokenRefreshFunction": base_url,
    }


def _function_parameters(stack: Deployed, function: str, expected: Mapping[str, str]) -> Findings:
    client, name = stack.client("lambda"), stack.physical_id(function)
    versions = [
        arn.rpartition(":")[2]
        for logical_id, arn in stack.physical_ids("AWS::Lambda::Version").items()
        if logical_id.startswith(f"{function}Version")
    ]
    moved, current = "", max(versions, key=int, default="")
    if current:  # the token refresh has no alias
        alias = client.get_alias(FunctionName=name, Name=ALIAS)
        if weights := alias.get("RoutingConfig", {}).get("AdditionalVersionWeights"):
            yield unknown(
                f"{function} is being deployed: version {', '.join(weights)} gets "
                f"{sum(weights.values()):.0%} of the calls",
                "Run the doctor again in ten minutes",
            )
            return
        if alias["FunctionVersion"] != current:
            moved = f"its alias {ALIAS} is at version {alias['FunctionVersion']}, the stack's is {current}"
    configuration = client.get_function_configuration(
        FunctionName=name, **({"Qualifier": ALIAS} if current else {})
    )
    found = configuration.get("Environment", {}).get("Variables", {})
    wrong = [
        f"{variable} is {found.get(variable, 'not set')!r}, the parameter {value!r}"
        for variable, value in expected.items()
        if found.get(variable) != value
    ]
    if moved:
        yield problem(
            "; ".join([f"{function}: {moved}", *wrong]),
            "If nobody rolled it back on purpose, run: aws lambda update-alias "
            f"--function-name {name} --name {ALIAS} --function-version {current}",
        )
    elif wrong:
        yield problem(
            "; ".join([f"{function}: {wrong[0]}", *wrong[1:]]), f"Deploy again: {stack.deploy_command}"
        )


def event_source(stack: Deployed) -> Findings:
    """The queue's messages reach the worker, with the right number of workers."""
    client, workers = stack.client("lambda"), int(stack.parameters["QueueWorkers"])
    function, arn = stack.physical_id("QueueFunction"), stack.outputs["QueueArn"]
    sources = client.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
    if not sources:
        yield problem(
            "nothing reads the queue: its event source is gone", f"Deploy again: {stack.deploy_command}"
        )
    for source in sources:
        update = f"Run: aws lambda update-event-source-mapping --uuid {source['UUID']}"
        if not source["FunctionArn"].endswith(f":{function}:{ALIAS}"):
            yield problem(
                f"the queue is read by {source['FunctionArn']}, not by the alias {ALIAS} of {function}",
                f"{update} --function-name {function}:{ALIAS}",
            )
        if source["State"] in ("Disabled", "Disabling"):
            yield problem(f"it is {source['State']}, so orders wait on the queue", f"{update} --enabled")
        elif source["State"] != "Enabled":
            yield unknown(f"it is {source['State']}", "Run the doctor again in a minute")
        if "ReportBatchItemFailures" not in source.get("FunctionResponseTypes", []):
            yield problem(
                "it does not report batch item failures, so a failed message repeats its whole batch",
                f"{update} --function-response-types ReportBatchItemFailures",
            )
        found = source.get("ScalingConfig", {}).get("MaximumConcurrency")
        if found != workers:
            yield problem(
                f"its MaximumConcurrency is {found}, but the parameter QueueWorkers is {workers}",
                f"{update} --scaling-config MaximumConcurrency={workers}",
            )
    if client.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions") == 0:
        yield problem(
            f"{function} cannot run: its reserved concurrency is 0",
            f"Run: aws lambda delete-function-concurrency --function-name {function}",
        )
    yield ok(f"enabled, reports batch item failures, {workers} workers")


def throttling(stack: Deployed) -> Findings:
    """Both routes have the limits that the template gives them."""
    api, stage = stack.physical_id("Api"), stage_name(stack)
    template = stack.client("cloudformation").get_template(StackName=stack.name, TemplateStage="Processed")
    wanted = {
        method_key(setting["ResourcePath"], setting["HttpMethod"]): (
            setting.get("ThrottlingRateLimit"),
            setting.get("ThrottlingBurstLimit"),
        )
        for resource in template["TemplateBody"]["Resources"].values()
        if resource["Type"] == "AWS::ApiGateway::Stage"
        for setting in resource["Properties"].get("MethodSettings", [])
    }
    settings = stack.client("apigateway").get_stage(restApiId=api, stageName=stage).get("methodSettings", {})
    found = {
        method_key(*key.rsplit("/", 1)): (
            setting.get("throttlingRateLimit"),
            setting.get("throttlingBurstLimit"),
        )
        for key, setting in settings.items()
    }
    for method, path in ROUTES:
        rate, burst = limits(wanted, path, method)
        if limits(found, path, method) != (rate, burst):
            own = method_key(path, method) in wanted
            prefix = f"/{path.replace('/', '~1')}/{method}" if own else f"/{ANY_METHOD}"
            yield problem(
                f"{method} {path} has {in_words(*limits(found, path, method))}, "
                f"not {in_words(rate, burst)} as in the template",
                f"Run: aws apigateway update-stage --rest-api-id {api} --stage-name {stage} "
                "--patch-operations "
                f"'op=replace,path={prefix}/throttling/rateLimit,value={rate}' "
                f"'op=replace,path={prefix}/throttling/burstLimit,value={burst}'",
            )
    yield ok(
        "; ".join(f"{method} {path} {in_words(*limits(found, path, method))}" for method, path in ROUTES)
    )


def method_key(path: str, method: str) -> str:
    """Return the key of a method, whether or not the slashes of its path are escaped as `~1`."""
    return f"{path.replace('~1', '/').strip('/')}/{method}"


def limits(settings: Mapping[str, tuple[Any, Any]], path: str, method: str) -> tuple[Any, Any]:
    """Return rate and burst of a route: its own, or those of all methods."""
    return settings.get(method_key(path, method)) or settings.get(ANY_METHOD) or (None, None)


def in_words(rate: float | None, burst: int | None) -> str:
    """Return the limit of a route in words."""
    return "only the account's own limit" if rate is None else f"{rate:g} calls/s with a burst of {burst}"


def stage_name(stack: Deployed) -> str:
    """Return the stage in the API's address."""
    return stack.outputs["ApiUrl"].rstrip("/").rpartition("/")[2]


def stages(stack: Deployed) -> Findings:
    """The API has no second stage, which would have no limits."""
    api, stage = stack.physical_id("Api"), stage_name(stack)
    names = [each["stageName"] for each in stack.client("apigateway").get_stages(restApiId=api)["item"]]
    for name in names:
        if name != stage:
            yield problem(
                f"there is a second stage, {name}: it has no throttling of ours",
                f"Run: aws apigateway delete-stage --rest-api-id {api} --stage-name {name}",
            )
    yield ok(f"{stage} is the only one")


def event_bus(stack: Deployed) -> Findings:
    """The bus for outcome events exists."""
    name = stack.parameters["EventBusName"]
    if not name:
        yield ok("not used, as EventBusName is empty")
        return
    try:
        stack.client("events").describe_event_bus(Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        yield problem(
            f"there is no event bus {name}, so no order leaves the queue",
            f"Run: aws events create-event-bus --name {name}",
        )
    else:
        yield ok(f"{name} exists")
