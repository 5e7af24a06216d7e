"""Checks of the configuration: whether the stack is as its template and its parameters say."""

from collections.abc import Mapping

from botocore.exceptions import ClientError

from tools.operate.checks.findings import Findings, ok, problem, unknown
from tools.operate.stack import Deployed

SECRETS = ("TokenSecretArn", "CredentialsSecretArn", "WebhookSecretArn")
OUTPUTS = (*SECRETS, "ApiUrl", "QueueUrl", "QueueArn", "DeadLetterQueueUrl", "TokenRefreshFunctionName")
VARIABLES = ("CloposBaseUrl", "CancellationTypes", "EventBusName", "QueueWorkers", "ApiReserve")
PARAMETERS = (*VARIABLES, "TokenRefresh", "AlarmEmail")
ALIAS = "live"
ROUTES = (("PUT", "/orders/{id}"), ("POST", "/webhooks/cancellations"))
ANY_METHOD = "*/*"


def outputs(stack: Deployed) -> Findings:
    """The stack is complete, and was created from this template."""
    status, name, deploy = stack.description["StackStatus"], stack.name, stack.deploy_command
    why = f"Read why: aws cloudformation describe-stack-events --stack-name {name}"
    account = stack.description["StackId"].split(":")[4]
    if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"):
        text = f"the stack is {status}: it can only be deleted{stack.lacks_capacity()}"
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
    for function, variables in expected_variables(stack).items():
        yield from _function_parameters(stack, function, variables)
    yield ok("every function uses the stack's current parameters")


def expected_variables(stack: Deployed) -> dict[str, dict[str, str]]:
    """Return the environment variables of each function that come from parameters."""
    given = stack.parameters
    refresh = stack.outputs["TokenRefreshFunctionName"] if given["TokenRefresh"] == "ENABLED" else ""
    base_url = {"CLOPOS_BASE_URL": given["CloposBaseUrl"]}
    types = {"CANCELLATION_TYPES": given["CancellationTypes"]}
    both = base_url | {"TOKEN_REFRESH_FUNCTION": refresh, "EVENT_BUS_NAME": given["EventBusName"]}
    shares = {"QUEUE_WORKERS": given["QueueWorkers"], "API_RESERVE": given["ApiReserve"]}
    return {
        "ApiFunction": both,
        "QueueFunction": both | types | shares,
        "WebhookFunction": types,
        "TokenRefreshFunction": base_url,
    }


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
    """Both routes have the limits that the template gives them."""
    api, stage = stack.physical_id("Api"), stage_name(stack)
    template = stack.client("cloudformation").get_template(StackName=stack.name, TemplateStage="Processed")
    resources = template["TemplateBody"]["Resources"].values()
    (deployed,) = [each for each in resources if each["Type"] == "AWS::ApiGateway::Stage"]
    wanted = {
        method_key(f"{each['ResourcePath']}/{each['HttpMethod']}"): (
            each.get("ThrottlingRateLimit"),
            each.get("ThrottlingBurstLimit"),
        )
        for each in deployed["Properties"].get("MethodSettings", [])
    }
    settings = stack.client("apigateway").get_stage(restApiId=api, stageName=stage).get("methodSettings", {})
    found = {
        method_key(key): (each.get("throttlingRateLimit"), each.get("throttlingBurstLimit"))
        for key, each in settings.items()
    }
    limits = []
    for method, path in ROUTES:
        # A route without limits of its own has those of all.
        own = method_key(f"{path}/{method}")
        limit = found.get(own) or found.get(ANY_METHOD) or (None, None)
        rate, burst = wanted.get(own) or wanted[ANY_METHOD]
        limits.append(f"{method} {path} {in_calls(*limit)}")
        if limit != (rate, burst):
            has_own = own in {*wanted, *found}
            prefix = f"/{path.replace('/', '~1')}/{method}" if has_own else f"/{ANY_METHOD}"
            yield problem(
                f"{method} {path} has {in_calls(*limit)}, not {in_calls(rate, burst)} as in the template",
                f"Run: aws apigateway update-stage --rest-api-id {api} --stage-name {stage} "
                f"--patch-operations "
                f"'op=replace,path={prefix}/throttling/rateLimit,value={rate}' "
                f"'op=replace,path={prefix}/throttling/burstLimit,value={burst}'",
            )
    yield ok("; ".join(limits))


def method_key(path: str) -> str:
    """Return the key of a method, whether or not the slashes of its path are escaped as `~1`."""
    return path.replace("~1", "/").strip("/")


def in_calls(rate: float | None, burst: int | None) -> str:
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
            delete = f"aws apigateway delete-stage --rest-api-id {api} --stage-name {name}"
            yield problem(f"there is a second stage, {name}: it has no throttling of ours", f"Run: {delete}")
    yield ok(f"{stage} is the only one")


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
