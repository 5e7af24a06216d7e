"""The rights to deploy: those that CloudFormation says it needs for each type of resource in the template."""

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import cfnlint

from tests.infrastructure.cloudformation import ROOT, Stack

SCHEMAS = Path(cfnlint.__file__).parent / "data" / "schemas" / "resources"
# What CloudFormation only calls for properties that the template does not have.
UNUSED = re.compile(
    r"(kms|ec2|elasticfilesystem|s3files|firehose):|s3:REST|s3:GetObjectVersion|lambda:(Put|Delete)\w+Config$"
    r"|\w+:(Put|Delete)(DataProtection|Index|Resource)Policy|LogDelivery|KmsKey|BearerToken|DeletionProtection"
    r"|CapacityProvider|RuntimeAlias|OnPremises|(Group|User)Policy|Replicat|RestApiPolicy"
)


def test_the_deploy_policy_allows_what_cloudformation_calls_and_nothing_else():
    types = {resource["Type"] for resource in Stack().transformed["Resources"].values()}
    schemas = [
        schema
        for path in SCHEMAS.glob("*.json")
        if (schema := json.loads(path.read_text()))["typeName"] in types
    ]
    assert {schema["typeName"] for schema in schemas} == types
    needed = {
        action
        for schema in schemas
        for handler in ("create", "read", "update", "delete")
        for action in schema["handlers"].get(handler, {}).get("permissions", [])
    }
    statements = json.loads((ROOT / "tools" / "operate" / "deploy-policy.json").read_text())["Statement"]
    allowed = {
        action: statement["Sid"]
        for statement in statements
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    missing = {call for call in needed if not any(fnmatchcase(call, pattern) for pattern in allowed)}
    assert not {call for call in missing if not UNUSED.search(call)}
    unneeded = {pattern for pattern in allowed if not any(fnmatchcase(call, pattern) for call in needed)}
    assert {allowed[pattern] for pattern in unneeded} <= {
        "Deploy",
        "FindTheBucketOfSam",
        "Upload",
    }  # sam's own calls
