"""The same functions as a plain ``sam build`` makes them: no bytecode, nothing pruned."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from local.paths import ROOT, STATE

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


def plain_artifact() -> Path:
    """Return what SAM's own builder for Python makes of functions/ and requirements.txt.

    It needs the package index, once for each version of the two.

    Raises
    ------
    subprocess.CalledProcessError
        Where sam fails; its own words are on standard error.
    """
    recipe = hashlib.sha256(TEMPLATE.encode())
    sources = sorted((ROOT / "functions").rglob("*.py"))
    for path in (ROOT / "requirements.txt", *sources):
        recipe.update(path.read_bytes())
    artifact = STATE / "bench" / f"plain-{recipe.hexdigest()[:16]}"
    if not artifact.is_dir():
        artifact.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=artifact.parent) as scratch:
            build(Path(scratch)).rename(artifact)
    return artifact


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
