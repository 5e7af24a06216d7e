"""Import the functions' code separately, with replacements for some of the modules that it imports."""

import builtins
import functools
import types
from pathlib import Path
from typing import Any

FUNCTIONS = Path(__file__).parents[2] / "functions"


class Code:
    """A separate set of the modules of `functions/`.

    Parameters
    ----------
    replacements : dict
        What the code gets when it imports a module of this name.
    """

    def __init__(self, replacements: dict[str, Any]) -> None:
        self._modules = dict(replacements)

    def load(self, name: str, **more_replacements: Any) -> Any:
        """Run a module's code again, as in a new process."""

        def import_(
            name: str, _globals: Any = None, _locals: Any = None, wanted: Any = (), level: int = 0
        ) -> Any:
            if name in more_replacements:
                return more_replacements[name]
            return self._import(name, wanted, level)

        module = types.ModuleType(name)
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_}
        exec(_compiled(name), module.__dict__)  # noqa: S102 - our own code
        return module

    def _import(self, name: str, wanted: Any = ("it",), level: int = 0) -> Any:
        if name not in self._modules:
            if not _path(name).exists():
                return builtins.__import__(name, None, None, wanted, level)
            self._modules[name] = self.load(name)
        return self._modules[name]

    def replace(self, module: str, **names: Any) -> None:
        """Replace names of a module before others import them."""
        vars(self._import(module)).update(names)

    def __getitem__(self, module: str) -> Any:
        """Return a module."""
        return self._import(module)


def _path(name: str) -> Path:
    return FUNCTIONS / (name.replace(".", "/") + ".py")


@functools.cache
def _compiled(name: str) -> types.CodeType:
    return compile(_path(name).read_text(), _path(name), "exec")
