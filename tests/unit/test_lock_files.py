"""The lock files agree with each other, with the dependencies, and with the runtime."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tools.build import RUNTIME

ROOT = Path(__file__).parents[2]


def locked(name):
    """Return what a lock file pins: versions by name."""
    return dict(re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", (ROOT / name).read_text()))


def test_what_the_functions_need_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {Requirement(text).name for text in project["dependencies"]} <= locked("requirements.txt").keys()


def test_what_is_tested_is_what_is_deployed():
    deployed, tested = locked("requirements.txt"), locked("requirements/dev.txt")
    assert {name: tested.get(name) for name in deployed} == deployed
    assert {name: importlib.metadata.version(name) for name in deployed} == deployed, (
        "the environment is older than the lock file: make .venv/.installed"
    )


@pytest.mark.parametrize("name", locked("requirements.txt"))
def test_every_locked_package_supports_the_runtime(name):
    supported = importlib.metadata.metadata(name)["Requires-Python"] or ""
    assert "{}.{}.0".format(*RUNTIME) in SpecifierSet(supported)
