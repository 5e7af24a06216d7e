"""Make the emulator's SAM transform use the values of a stack's parameters, as AWS does.

By itself it only uses their defaults, so `sam deploy --parameter-overrides GradualDeployments=false` would
still ask for CodeDeploy, which the emulator does not have. There is no setting for this, so a function of the
emulator is replaced. The version is locked, and tests/infrastructure/test_deployed.py fails if this stops
working. For other differences between the emulator and AWS, see docs/emulator.md.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

Json = dict[str, Any]
Transform = Callable[..., Json]


def transform_with_values() -> None:
    """Replace the emulator's transform; to be called in its process, before it runs."""
    package = "ministack.services.cloudformation"
    engine = import_module(f"{package}.engine")
    replaced = with_values(engine._apply_transforms, engine._transform_parameters)
    for caller in ("changesets", "handlers"):
        vars(import_module(f"{package}.{caller}"))["_apply_transforms"] = replaced


def with_values(transform: Transform, values_of: Transform) -> Transform:
    """Return a transform that gets every parameter's value as its default.

    In `MaximumConcurrency`, a reference becomes an integer: the emulator's event sources cannot compare text.
    """

    def transform_template(template: Json, provided: Any = None, previous: Any = None) -> Json:
        values = values_of(template, provided, previous)
        parameters = {
            name: {**parameter, "Default": values[name]} if name in values else parameter
            for name, parameter in template.get("Parameters", {}).items()
        }
        processed = transform({**template, "Parameters": parameters}, provided, previous)
        for resource in processed.get("Resources", {}).values():
            scaling = resource.get("Properties", {}).get("ScalingConfig", {})
            if isinstance(reference := scaling.get("MaximumConcurrency"), dict):
                scaling["MaximumConcurrency"] = int(values[reference["Ref"]])
        return processed

    return transform_template
