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


def built_template() -> dict[str, Any]:
    """Return the template that ``sam build`` has written.

    Raises
    ------
    StackError
        If there is none.
    """
    path = BUILD / "template.yaml"
    if not path.exists():
        raise StackError("There is no built template. Run: make build")
    template: dict[str, Any] = yaml.safe_load(path.read_text())
    return template


def functions(template: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the properties of the template's functions by their logical ids."""
    return {
        logical_id: resource["Properties"]
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def parameter_defaults(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the default values of the template's parameters by their names."""
    return {name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()}


def files(folder: Path) -> list[tuple[str, Path]]:
    """Return the files in a folder with their paths relative to it, always in the same order."""
    return sorted((str(path.relative_to(folder)), path) for path in folder.rglob("*") if path.is_file())


def digest(folder: Path) -> str:
    """Return a hash of the names and contents of all files in a folder."""
    sha256 = hashlib.sha256()
    for name, path in files(folder):
        sha256.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return sha256.hexdigest()


def archive(folder: Path, compression: int = 1) -> bytes:
    """Return the folder as a zip file.

    Parameters
    ----------
    folder : Path
        The folder.
    compression : int
        zlib's level. The lowest is enough for a file that stays on this machine; sam uses 6.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=compression) as zip_file:
        for name, path in files(folder):
            zip_file.write(path, name)
    return buffer.getvalue()


def deploy(client: Client, endpoint: str, stack_name: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Deploy the built template.

    Parameters
    ----------
    client : callable
        Returns the emulator's client of a service.
    endpoint : str
        The address of the emulator.
    stack_name : str
        The name of the new stack.
    parameters : dict
        The template's parameters.

    Returns
    -------
    dict
        The outputs of the stack, with addresses that can be reached from this machine.

    Raises
    ------
    StackError
        If there is no built template, or if the deployment fails.
    """
    template = built_template()
    _upload_artifacts(client, template)
    parameters = {**parameters, **FIXED_PARAMETERS}
    _create_stack(client, stack_name, template, parameters)

    def physical_id(logical_id: str) -> str:
        answer = client("cloudformation").describe_stack_resource(
            StackName=stack_name, LogicalResourceId=logical_id
        )
        return str(answer["StackResourceDetail"]["PhysicalResourceId"])

    if parameters.get("ReserveConcurrency") != "false":
        _reserve_concurrency(client, template, physical_id)
    _customize_gateway_responses(client, template, physical_id)
    _limit_methods(client, template, physical_id)
    described = client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"][0]
    return {
        output["OutputKey"]: _reachable(output["OutputValue"], endpoint) for output in described["Outputs"]
    }


def _upload_artifacts(client: Client, template: Json) -> None:
    """Upload the functions' artifacts, and put their addresses into the template."""
    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET)
    uploaded = set()
    for function in functions(template).values():
        artifact = BUILD / function["CodeUri"]
        key = digest(artifact)
        if key not in uploaded:  # the functions have the same code, only different handlers
            s3.put_object(Bucket=BUCKET, Key=key, Body=archive(artifact))
            uploaded.add(key)
        function["CodeUri"] = f"s3://{BUCKET}/{key}"


def _create_stack(client: Client, stack_name: str, template: Json, parameters: Mapping[str, str]) -> None:
    cloudformation = client("cloudformation")
    target = {"StackName": stack_name, "ChangeSetName": "deployment"}
    wait = {"Delay": POLL_S, "MaxAttempts": TIMEOUT_S / POLL_S}
    try:
        cloudformation.create_change_set(
            **target,
            ChangeSetType="CREATE",
            TemplateBody=json.dumps(template),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM"],  # as in samconfig.toml
        )
        cloudformation.get_waiter("change_set_create_complete").wait(**target, WaiterConfig=wait)
        cloudformation.execute_change_set(**target)
        cloudformation.get_waiter("stack_create_complete").wait(StackName=stack_name, WaiterConfig=wait)
    except (ClientError, WaiterError) as error:  # refused, or failed while it was deployed
        reasons = _failures(cloudformation, stack_name)
        raise StackError(f"The deployment failed: {error}\n{reasons}") from error


def _failures(cloudformation: Any, stack_name: str) -> str:
    try:
        events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
    except ClientError:  # the change set was refused, so there is no stack
        return ""
    return "\n".join(
        f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in reversed(events)
        if event["ResourceStatus"].endswith("_FAILED") and "ResourceStatusReason" in event
    )


def _reserve_concurrency(client: Client, template: Json, physical_id: Callable[[str], str]) -> None:
    """Set the reserved concurrency of functions, which the emulator's CloudFormation ignores."""
    for logical_id, function in functions(template).items():
        if "ReservedConcurrentExecutions" in function:
            _, reserved, _ = function["ReservedConcurrentExecutions"]["Fn::If"]
            client("lambda").put_function_concurrency(
                FunctionName=physical_id(logical_id), ReservedConcurrentExecutions=reserved
            )


def _customize_gateway_responses(client: Client, template: Json, physical_id: Callable[[str], str]) -> None:
    """Set the API's gateway responses, which the emulator's import of an API ignores."""
    api = physical_id("Api")
    properties = template["Resources"]["Api"]["Properties"]
    for response_type, response in properties["GatewayResponses"].items():
        headers = response.get("ResponseParameters", {}).get("Headers", {})
        client("apigateway").put_gateway_response(
            restApiId=api,
            responseType=response_type,
            responseTemplates=response["ResponseTemplates"],
            responseParameters={f"gatewayresponse.header.{name}": value for name, value in headers.items()},
        )
    client("apigateway").create_deployment(restApiId=api, stageName=properties["StageName"])


def _limit_methods(client: Client, template: Json, physical_id: Callable[[str], str]) -> None:
    """Set the limits of single methods, whose paths the emulator's CloudFormation does not decode."""
    properties = template["Resources"]["Api"]["Properties"]
    for setting in properties["MethodSettings"]:
        method = f"{setting['ResourcePath']}/{setting['HttpMethod']}/throttling"
        if "~1" in method:
            client("apigateway").update_stage(
                restApiId=physical_id("Api"),
                stageName=properties["StageName"],
                patchOperations=[
                    {"op": "replace", "path": f"{method}/{name}", "value": str(value)}
                    for name, value in (
                        ("burstLimit", setting["ThrottlingBurstLimit"]),
                        ("rateLimit", setting["ThrottlingRateLimit"]),
                    )
                ],
            )


def _reachable(value: str, endpoint: str) -> str:
    """Return the emulator's address of the API if `value` is its address on AWS; otherwise return `value`."""
    url = urlsplit(value)
    api, _, domain = (url.hostname or "").partition(".")
    if domain.startswith("execute-api."):
        return f"{endpoint}/_aws/execute-api/{api}{url.path}"
    return value
