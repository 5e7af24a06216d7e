"""The functions' own code, with the clock, the threads, the AWS clients and Clopos of a simulation."""

import concurrent.futures
import importlib
import sys
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

FUNCTIONS = Path(__file__).parents[2] / "functions"
if str(FUNCTIONS) not in sys.path:  # pytest has it there
    sys.path.insert(0, str(FUNCTIONS))
MODULES = [
    importlib.import_module(f"cancellation.{file.stem}") for file in FUNCTIONS.glob("cancellation/[a-z]*.py")
]
exchange = importlib.import_module("cancellation.exchange")
errors = importlib.import_module("cancellation.errors")


class Code:
    """Replaces what the code reaches the outside with, until `restore`. Only one can do so at a time.

    `names` are the replacements by the names that the modules know them by; `client` replaces `boto3.client`.
    """

    def __init__(
        self, names: Mapping[str, Any], client: Any, executor: Any, environment: Mapping[str, str]
    ) -> None:
        self._names = names
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(boto3, "client", client)
        self._patch.setattr(concurrent.futures, "ThreadPoolExecutor", executor)
        for name, value in environment.items():
            self._patch.setenv(name, value)
        for module in MODULES:
            self._replace(module)

    def _replace(self, module: ModuleType) -> None:
        for name in self._names.keys() & vars(module).keys():
            self._patch.setattr(module, name, self._names[name])

    def load(self, handler: str) -> Any:
        """Run a handler's module anew, as a new execution environment does."""
        spec = spec_from_file_location(handler, FUNCTIONS / f"{handler}.py")
        assert spec
        assert spec.loader
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        self._replace(module)
        return module

    def restore(self) -> None:
        """Put the real things back."""
        self._patch.undo()
