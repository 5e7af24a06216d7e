"""The packaged template: deployed with no more than the deploy policy, and as a part of another stack."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

from tests.pages import ROOT, code_blocks

PARENT = "the-parent-of-" + "x" * 54  # longer than the name of a function may be
BUCKET = "aws-sam-cli-managed-default-samclisourcebucket-test"
MAKE = f"make --silent --old-file=build package BUCKET={BUCKET}"  # the build is that of `make test`
DEPLOY = (
    f"-m samcli deploy --template-file .aws-sam/packaged.yaml --stack-name clopos-cancel-2 --s3-bucket {BUCKET} --s3-prefix "
    "clopos-cancel-2 --capabilities CAPABILITY_IAM --no-confirm-changeset --parameter-overrides GradualDeployments=false"
)


@pytest.fixture(scope="module")
def limited(stack, environment):
    """Run a command with the rights of the deploy policy, and return what it printed."""
    stack.client("s3").create_bucket(Bucket=BUCKET)
    iam = stack.client("iam")
    iam.create_user(UserName="deployer")
    policy = (ROOT / "tools" / "operate" / "deploy-policy.json").read_text()
    iam.put_user_policy(UserName="deployer", PolicyName="deploy", PolicyDocument=policy)
    key = iam.create_access_key(UserName="deployer")["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def run(*command):
        done = subprocess.run(command, cwd=ROOT, env=environment | keys, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def template_url(limited):
    return limited(*MAKE.split()).strip()


def test_the_deploy_policy_is_enough_for_sam(template_url, limited):
    assert "Successfully created" in limited(sys.executable, *DEPLOY.split())


def test_another_stack_includes_the_package_and_uses_its_outputs(template_url, stack):
    s3, cloudformation = stack.client("s3"), stack.client("cloudformation")
    key = template_url.partition(f"{BUCKET}/")[2]
    template = yaml_parse(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode())
    template["Parameters"]["GradualDeployments"]["Default"] = "false"  # the emulator has no CodeDeploy
    messages = template["Resources"]["QueueFunction"]["Properties"]["Events"]["Messages"]["Properties"]
    messages["ScalingConfig"]["MaximumConcurrency"] = 2  # it cannot compare a reference with a number
    transformed = json.dumps(
        transform(template, {}, SimpleNamespace(load=dict))
    )  # as AWS does with a nested stack
    s3.put_object(Bucket=BUCKET, Key="transformed", Body=transformed)

    def outputs(name):
        [described] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}

    cloudformation.create_stack(
        StackName=PARENT,
        TemplateBody=code_blocks(ROOT / "docs" / "component.md", "yaml").popitem()[1],
        Parameters=[
            {"ParameterKey": "TemplateUrl", "ParameterValue": template_url.replace(key, "transformed")}
        ],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=PARENT, WaiterConfig={"Delay": 1})
    resource = cloudformation.describe_stack_resource(StackName=PARENT, LogicalResourceId="Cancel")
    child = resource["StackResourceDetail"]["PhysicalResourceId"]
    assert f":stack/{PARENT}-Cancel-" in child
    assert outputs(PARENT).items() <= outputs(child).items()
    functions = stack.client("lambda").list_functions()["Functions"]
    assert max(len(function["FunctionName"]) for function in functions) <= 64  # all that Lambda allows
