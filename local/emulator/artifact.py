"""The output of ``sam build``: the template and each function's artifact."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from local.errors import StackError
from local.paths import BUILD


def built_template() -> dict[str, Any]:
    """Return the template that ``sam build`` has written.

    Raises
    ------
    StackError
        If there is none.
    """
    path = BUILD / "template.yaml"
    if not path.exists():
        raise StackError("There is no built template. Run: make build")
    template: dict[str, Any] = yaml.safe_load(path.read_text())
    return template


def functions(template: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the properties of the template's functions by their logical ids."""
    return {
        logical_id: resource["Properties"]
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def parameter_defaults(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the default values of the template's parameters by their names."""
    return {name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()}


def files(folder: Path) -> list[tuple[str, Path]]:
    """Return the files in a folder with their paths relative to it, always in the same order."""
    return sorted((str(path.relative_to(folder)), path) for path in folder.rglob("*") if path.is_file())


def digest(folder: Path) -> str:
    """Return a hash of the names and contents of all files in a folder."""
    sha256 = hashlib.sha256()
    for name, path in files(folder):
        sha256.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return sha256.hexdigest()


def archive(folder: Path, compression: int = 1) -> bytes:
    """Return the folder as a zip file.

    Parameters
    ----------
    folder : Path
        The folder.
    compression : int
        zlib's level. The lowest is enough for a file that stays on this machine; sam uses 6.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=compression) as zip_file:
        for name, path in files(folder):
            zip_file.write(path, name)
    return buffer.getvalue()
