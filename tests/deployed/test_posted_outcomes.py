"""The template of docs/outcomes.md that posts outcomes. The emulator's CloudFormation does not know its resources."""

import json

from samcli.yamlhelper import yaml_parse

from tests.conftest import eventually
from tests.pages import ROOT, code_blocks


def test_an_outcome_is_posted_with_the_key(stack, clopos, endpoint):
    [text] = [b for b in code_blocks(ROOT / "docs" / "outcomes.md", "yaml").values() if "ApiDestination" in b]
    template = json.loads(json.dumps(yaml_parse(text)).replace('{"Ref": "ApiKey"}', '"a-key"'))
    properties = {name: resource["Properties"] for name, resource in template["Resources"].items()}
    [target] = properties["OutcomeRule"]["Targets"]
    events = stack.client("events")
    connection = events.create_connection(Name="post", **properties["Connection"])
    destination = events.create_api_destination(
        Name="post",
        **properties["Endpoint"]
        | {"ConnectionArn": connection["ConnectionArn"], "InvocationEndpoint": endpoint.address},
    )
    events.put_rule(Name="post", EventPattern=json.dumps(properties["OutcomeRule"]["EventPattern"]))
    events.put_targets(
        Rule="post",
        Targets=[
            {
                "Id": target["Id"],
                "Arn": destination["ApiDestinationArn"],
                "RoleArn": "arn:aws:iam::000000000000:role/post",
            }
        ],
    )
    endpoint.answers = [(200, {})]
    stack.put_order(108)
    [(method, _, headers, body)] = eventually(lambda: endpoint.requests)
    assert (method, headers["x-api-key"]) == ("POST", "a-key")
    assert json.loads(body)["detail"]["outcome"] == "cancelled"
    events.remove_targets(Rule="post", Ids=[target["Id"]])
