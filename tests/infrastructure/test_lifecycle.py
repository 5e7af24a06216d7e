"""What is left of a stack that is deleted, and what `sam deploy` and `sam delete` of one brand do to another's."""

import copy
import json
import re
import shlex
from unittest.mock import MagicMock

import pytest
from samcli.cli.types import CfnParameterOverridesType
from samcli.commands.delete import delete_context
from samcli.lib.config.samconfig import SamConfig

from tests.infrastructure.cloudformation import ROOT, Stack, template

STACK = Stack()


@pytest.mark.parametrize("name", ["Queue", "DeadLetterQueue", "CredentialsSecret", "WebhookSecret"])
def test_what_cannot_be_made_again_outlives_the_stack_but_not_a_failed_first_deployment(name):
    """CloudFormation deletes a secret at once, with no recovery window."""
    assert STACK.resources[name]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert STACK.resources[name]["UpdateReplacePolicy"] == "Retain"
    assert not {"Name", "QueueName"} & STACK[name].keys(), "it would collide with the next stack's"


def test_no_deployment_writes_over_a_secret_and_nobody_edits_how_the_webhook_secret_is_generated():
    """CloudFormation makes a new one when anything in this block changes, and every sender gets 401."""
    assert STACK["CredentialsSecret"].keys() == STACK["TokenSecret"].keys() == {"Description"}
    assert STACK["WebhookSecret"]["GenerateSecretString"] == {
        "PasswordLength": 44,
        "ExcludePunctuation": True,
        "ExcludeCharacters": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    }


@pytest.fixture
def brands(tmp_path):
    """What `sam deploy` and `sam delete` read, with the example for another brand in samconfig.toml uncommented."""
    settings, example = (ROOT / "samconfig.toml").read_text().split("# [otherbrand", 1)
    (tmp_path / "samconfig.toml").write_text(settings + "[otherbrand" + example.replace("\n# ", "\n"))
    config = SamConfig(str(tmp_path))
    return [config.get_all(["deploy"], "parameters", name) for name in ("default", "otherbrand")]


def test_each_brand_has_a_stack_parameters_and_a_folder_for_its_code_of_its_own(brands):
    one, other = brands
    assert one["stack_name"] == one["s3_prefix"] == STACK["Api"]["Name"]
    assert other["stack_name"] == other["s3_prefix"] != one["s3_prefix"]
    differ = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    assert differ == {"stack_name", "s3_prefix", "parameter_overrides"}


def code_left_after_deleting(stack, prefixes, monkeypatch):
    """Run SAM CLI's own deletion of a stack. One bucket has the code of all stacks, each under its prefix."""
    source = copy.deepcopy(template())
    for resource in source["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = f"s3://bucket/{prefixes[stack]}/code"
    code = {f"{prefix}/code" for prefix in prefixes.values()}
    aws = MagicMock()
    aws.get_template.return_value = {"TemplateBody": json.dumps(source)}
    aws.describe_stacks.side_effect = lambda StackName: {  # noqa: N803
        "Stacks": [{"EnableTerminationProtection": False}] if StackName == stack else []
    }
    aws.list_objects_v2.side_effect = lambda **request: {
        "Contents": [{"Key": key} for key in sorted(code) if key.startswith(request["Prefix"])]
    }
    aws.delete_object.side_effect = lambda **request: code.discard(request["Key"])
    monkeypatch.setattr(
        delete_context, "get_boto_client_provider_with_config", lambda **_: lambda service: aws
    )
    monkeypatch.setattr(delete_context, "delete_web_function_code_bucket", lambda *_: None)
    with delete_context.DeleteContext(stack, "eu-central-1", "", True, None, None) as deletion:
        deletion.run()
    aws.delete_stack.assert_called_once()
    return code


def test_sam_delete_of_one_brand_leaves_the_code_of_the_other(brands, monkeypatch):
    prefixes = {brand["stack_name"]: brand["s3_prefix"] for brand in brands}
    first, other = prefixes
    assert code_left_after_deleting(other, prefixes, monkeypatch) == {f"{first}/code"}


def test_sam_delete_takes_the_code_of_every_stack_with_the_same_prefix(monkeypatch):
    """Why each command that deploys another stack names a prefix: the first one's next rollback finds no code."""
    prefixes = {"one": "clopos-cancel", "two": "clopos-cancel"}
    assert code_left_after_deleting("two", prefixes, monkeypatch) == set()


COMMANDS = [
    command.replace("\\\n", "")
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for command in re.findall(r"sam deploy(?:[^`\n]|\\\n)*", page.read_text())
    if "--template-file" not in command  # a template without code
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_deployment_of_another_stack_keeps_its_code_apart(command):
    if name := re.search(r"--stack-name (\S+)", command):
        assert f"--s3-prefix {name[1]}" in command


@pytest.mark.parametrize("command", [each for each in COMMANDS if "--parameter-overrides" in each])
def test_documented_parameters_are_those_of_the_template_in_a_form_that_sam_reads(command):
    """`EventBusName=` is not: SAM CLI drops it, or refuses it."""
    [_, given] = command.removesuffix(" &").split("--parameter-overrides ")
    for word in shlex.split(given.partition(" --")[0]):
        parsed = CfnParameterOverridesType().convert(word, None, None)
        assert len(parsed) == word.count("=")
        assert parsed.keys() <= template()["Parameters"].keys()


@pytest.mark.parametrize("page", ["first-deployment.md", "operations.md", "costs.md", "emulator.md"])
def test_documented_commands_run_on_macos_and_in_every_partition(page):
    text = (ROOT / "docs" / page).read_text()
    assert re.findall(r"sed -i|date -d|readlink -f|grep -\w*P|stat -c|xargs -r|arn:aws:", text) == []
