"""Read what ``sam build`` has written, and deploy it to the AWS emulator as ``sam deploy`` does on AWS.

docs/emulator.md lists the differences between the emulator and AWS that this module works around.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from botocore.exceptions import ClientError, WaiterError

from local.common import BUILD, StackError

Json = dict[str, Any]
Client = Callable[[str], Any]

BUCKET = "artifacts"
TIMEOUT_S = 60  # usually 1 s
POLL_S = 0.05

#: Set because the emulator has no CodeDeploy.
FIXED_PARAMETERS = {"GradualDeployments": "false"}


def built_template() -> Json:
    """Return the template that ``sam build`` has written."""
    path = BUILD / "template.yaml"
    if not path.exists():
        raise StackError("There is no built template. Run: make build")
    template: Json = yaml.safe_load(path.read_text())
    return template


def functions(template: Mapping[str, Any]) -> dict[str, Json]:
    """Return the properties of the template's functions by their logical ids."""
    return {
        logical_id: resource["Properties"]
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def files(folder: Path) -> list[tuple[str, Path]]:
    """Return the files in a folder with their paths relative to it, always in the same order."""
    return sorted((str(path.relative_to(folder)), path) for path in folder.rglob("*") if path.is_file())


def archive(folder: Path, compression: int = 1) -> bytes:
    """Return the folder as a zip file. The lowest level is enough on this machine; sam uses 6."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=compression) as zip_file:
        for name, path in files(folder):
            zip_file.write(path, name)
    return buffer.getvalue()


def deploy(client: Client, endpoint: str, stack_name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Deploy the built template to the emulator at `endpoint`; `client` returns its client of a service.

    Returns the outputs of the stack, with addresses that can be reached from this machine. Raises StackError
    if there is no built template, or if the deployment fails.
    """
    template, cloudformation = built_template(), client("cloudformation")
    _upload_artifacts(client("s3"), template)
    parameters = {**parameters, **FIXED_PARAMETERS}
    _create_stack(cloudformation, stack_name, template, parameters)
    resources = cloudformation.describe_stack_resources(StackName=stack_name)["StackResources"]
    physical_ids = {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources}
    if parameters.get("ReserveConcurrency") != "false":
        _reserve_concurrency(client("lambda"), template, physical_ids)
    _complete_api(client("apigateway"), template, physical_ids["Api"])
    described = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
    return {
        output["OutputKey"]: _reachable(output["OutputValue"], endpoint) for output in described["Outputs"]
    }


def _upload_artifacts(s3: Any, template: Json) -> None:
    """Upload the functions' artifacts, and put their addresses into the template."""
    s3.create_bucket(Bucket=BUCKET)
    uploaded = set()
    for function in functions(template).values():
        artifact = BUILD / function["CodeUri"]
        content = hashlib.sha256()
        for name, path in files(artifact):
            content.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        key = content.hexdigest()
        if key not in uploaded:  # the functions have the same code, only different handlers
            s3.put_object(Bucket=BUCKET, Key=key, Body=archive(artifact))
            uploaded.add(key)
        function["CodeUri"] = f"s3://{BUCKET}/{key}"


def _create_stack(cloudformation: Any, name: str, template: Json, parameters: Mapping[str, str]) -> None:
    target = {"StackName": name, "ChangeSetName": "deployment"}
    wait = {"Delay": POLL_S, "MaxAttempts": TIMEOUT_S / POLL_S}
    try:
        cloudformation.create_change_set(
            **target,
            ChangeSetType="CREATE",
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],  # as in samconfig.toml
        )
        cloudformation.get_waiter("change_set_create_complete").wait(**target, WaiterConfig=wait)
        cloudformation.execute_change_set(**target)
        cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=wait)
    except (ClientError, WaiterError) as error:  # refused, or failed while it was deployed
        try:
            events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        except ClientError:  # the change set was refused, so there is no stack
            events = []
        reasons = [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in reversed(events)
            if event["ResourceStatus"].endswith("_FAILED") and "ResourceStatusReason" in event
        ]
        raise StackError("\n".join([f"The deployment failed: {error}", *reasons])) from error


def _reserve_concurrency(client: Any, template: Json, physical_ids: Mapping[str, str]) -> None:
    """Set the reserved concurrency of functions, which the emulator's CloudFormation ignores."""
    for logical_id, function in functions(template).items():
        if "ReservedConcurrentExecutions" in function:
            _, reserved, _ = function["ReservedConcurrentExecutions"]["Fn::If"]
            client.put_function_concurrency(
                FunctionName=physical_ids[logical_id], ReservedConcurrentExecutions=reserved
            )


def _complete_api(apigateway: Any, template: Json, api: str) -> None:
    """Set what the emulator ignores: gateway responses, and limits of paths with an encoded slash."""
    properties = template["Resources"]["Api"]["Properties"]
    for response_type, response in properties["GatewayResponses"].items():
        headers = response.get("ResponseParameters", {}).get("Headers", {})
        apigateway.put_gateway_response(
            restApiId=api,
            responseType=response_type,
            responseTemplates=response["ResponseTemplates"],
            responseParameters={f"gatewayresponse.header.{name}": value for name, value in headers.items()},
        )
    apigateway.create_deployment(restApiId=api, stageName=properties["StageName"])
    for setting in properties["MethodSettings"]:
        path = f"{setting['ResourcePath']}/{setting['HttpMethod']}/throttling"
        limits = {"burstLimit": "ThrottlingBurstLimit", "rateLimit": "ThrottlingRateLimit"}
        if "~1" in path:
            patches = [
                {"op": "replace", "path": f"{path}/{name}", "value": str(setting[key])}
                for name, key in limits.items()
            ]
            apigateway.update_stage(restApiId=api, stageName=properties["StageName"], patchOperations=patches)


def _reachable(value: str, endpoint: str) -> str:
    """Return the emulator's address of the API if `value` is its address on AWS; otherwise return `value`."""
    url = urlsplit(value)
    api, _, domain = (url.hostname or "").partition(".")
    return f"{endpoint}/_aws/execute-api/{api}{url.path}" if domain.startswith("execute-api.") else value
