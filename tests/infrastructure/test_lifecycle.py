"""What is left of a stack that is deleted, and what no deployment may change."""

import pytest

from tests.infrastructure.cloudformation import Stack

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
