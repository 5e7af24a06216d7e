"""What our artifact is compared with: a plain ``sam build`` of the same functions, and plain libraries."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from local.paths import ROOT, STATE
from tools.build import finish

TEMPLATE = """\
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  ApiFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/
      Handler: api.handler
      Runtime: python3.13
      Architectures: [{architecture}]
"""


LIBRARIES = ("boto3", "requests", "aws-lambda-powertools[tracer]")
LOCK = ROOT / "requirements" / "dev.txt"


def plain_artifact() -> Path:
    """Return what SAM's own builder for Python makes of functions/ and requirements.txt, without bytecode.

    It needs the package index, once for each version of the two.

    Raises
    ------
    subprocess.CalledProcessError
        If sam fails; its own words are on standard error.
    """
    sources = (ROOT / "requirements.txt", *sorted((ROOT / "functions").rglob("*.py")))
    return made_once("plain", build, TEMPLATE.encode(), *map(Path.read_bytes, sources))


def library_artifact() -> Path:
    """Return boto3, requests and Powertools, nothing pruned but compiled: for the floor and the plain worker.

    Raises
    ------
    subprocess.CalledProcessError
        If the installation fails; its own words are on standard error.
    """
    return made_once("libraries", install, repr(LIBRARIES).encode(), LOCK.read_bytes())


def made_once(name: str, make: Callable[[Path], Path], *recipe: bytes) -> Path:
    """Return the folder that was made from this recipe, making it in a scratch folder if there is none."""
    folder = STATE / "bench" / f"{name}-{hashlib.sha256(b''.join(recipe)).hexdigest()[:16]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            make(Path(scratch)).rename(folder)
    return folder


def install(folder: Path) -> Path:
    """Install the libraries in the locked versions and compile them."""
    target = folder / "libraries"
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet"]
    subprocess.run([*uv, "--target", str(target), "--constraint", str(LOCK), *LIBRARIES], check=True)
    finish(target)
    return target


def build(folder: Path) -> Path:
    """Run sam build in a folder and return the artifact."""
    shutil.copytree(ROOT / "functions", folder / "functions", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", folder / "functions")
    # The dependencies' compiled extensions are to be of use here.
    architecture = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
    (folder / "template.yaml").write_text(TEMPLATE.format(architecture=architecture))
    subprocess.run(
        [sys.executable, "-m", "samcli", "build"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        # sam looks for the runtime's Python on the path.
        env={
            **os.environ,
            "SAM_CLI_TELEMETRY": "0",
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        },
    )
    return folder / ".aws-sam" / "build" / "ApiFunction"
