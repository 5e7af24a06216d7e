"""The template as AWS gets it: transformed by SAM, with values for its parameters."""

import copy
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform as sam_transform

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
Edit = Callable[[Json], None] | None


@cache
def template() -> Json:
    """Return template.yaml itself."""
    return yaml_parse((ROOT / "template.yaml").read_text())


@cache
def _transformed(artifact: str, values: tuple[tuple[str, str], ...], edit: Edit) -> Json:
    source = copy.deepcopy(template())
    source["Globals"]["Function"]["CodeUri"] = artifact  # as `sam deploy` has uploaded it
    if edit:
        edit(source)
    no_policies = SimpleNamespace(load=dict)  # the template names them by ARN, so SAM has none to look up
    return json.loads(json.dumps(sam_transform(source, dict(values), no_policies)))


class Stack:
    """A stack of the transformed template, with the code at `artifact` and values other than the parameters' defaults.

    `edit` changes the template before it is transformed.
    """

    def __init__(
        self,
        name: str = "clopos-cancel",
        artifact: str = "s3://artifacts/one",
        edit: Edit = None,
        **parameters: str,
    ) -> None:
        self.transformed = _transformed(artifact, tuple(sorted(parameters.items())), edit)
        defaults = {key: str(value["Default"]) for key, value in self.transformed["Parameters"].items()}
        assert parameters.keys() <= defaults.keys()
        self._values = {
            **defaults,
            **parameters,
            "AWS::StackName": name,
            "AWS::Region": "eu-central-1",
            "AWS::AccountId": "111122223333",
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
        }
        self.resources = {
            logical_id: {key: self._resolved(value) for key, value in resource.items()}
            for logical_id, resource in self.transformed["Resources"].items()
            if "Condition" not in resource or self._holds(resource["Condition"])
        }
        self.outputs = self._resolved(self.transformed["Outputs"])

    def of_type(self, resource_type: str) -> dict[str, Json]:
        """Return the properties of all resources of one type, by their logical ids."""
        return {
            logical_id: resource.get("Properties", {})
            for logical_id, resource in self.resources.items()
            if resource["Type"] == resource_type
        }

    def __getitem__(self, logical_id: str) -> Json:
        """Return the properties of one resource."""
        return self.resources[logical_id]["Properties"]

    def version_of(self, function: str) -> tuple[str, Json]:
        """Return the logical id and the properties of the version behind a function's alias."""
        logical_id, _ = self[f"{function}Aliaslive"]["FunctionVersion"]["Fn::GetAtt"]
        return logical_id, self[logical_id]

    def _holds(self, condition: str) -> bool:
        return bool(self._resolved(self.transformed["Conditions"][condition]))

    def _resolved(self, value: Any) -> Any:
        """Return a value with parameters and conditions in place; references to resources stay."""
        if isinstance(value, list):
            resolved = [self._resolved(item) for item in value]
            return [item for item in resolved if item != {"Ref": "AWS::NoValue"}]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Ref": name} if name in self._values:
                return self._values[name]
            case {"Fn::Sub": str(text)}:
                return self._substituted(text, {})
            case {"Fn::Sub": [text, variables]}:
                return self._substituted(text, self._resolved(variables))
            case {"Fn::Join": [separator, parts]}:
                texts = self._resolved(parts)
                return separator.join(texts) if all(isinstance(text, str) for text in texts) else value
            case {"Fn::If": [condition, yes, no]}:
                return self._resolved(yes if self._holds(condition) else no)
            case {"Fn::Equals": [left, right]}:
                return self._resolved(left) == self._resolved(right)
            case {"Fn::Not": [condition]}:
                return not self._resolved(condition)
        resolved = {key: self._resolved(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item != {"Ref": "AWS::NoValue"}}

    def _substituted(self, text: str, variables: Json) -> Any:
        values = self._values | {key: item for key, item in variables.items() if isinstance(item, str)}
        return re.sub(r"\$\{([^}]+)\}", lambda match: values.get(match[1], match[0]), text)
