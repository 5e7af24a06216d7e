"""The artifacts to measure: this build, one of an earlier commit, a plain ``sam build``, and libraries."""

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

from local.common import BUILD, ROOT, STATE, StackError
from tools.build import finish

#: The libraries for the floor of a cold start (see `floor.py`) and for bare calls.
LIBRARIES = ("boto3", "requests")
LOCK = ROOT / "requirements" / "dev.txt"

PLAIN_TEMPLATE = """\
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


@dataclass(frozen=True)
class Build:
    """An artifact, and the settings of its template for the queue and the functions.

    Attributes
    ----------
    name : str
        Its name in reports.
    artifact : Path
        The code folder, which is the same for all functions.
    visibility_s, max_receives : int
        Settings of the queue.
    api_timeout_s, queue_timeout_s : int
        Timeouts of the functions.
    workers, reserve : int
        The number of queue workers, and the calls of each window that they leave to others.
    """

    name: str
    artifact: Path
    visibility_s: int
    max_receives: int
    api_timeout_s: int
    queue_timeout_s: int
    workers: int
    reserve: int

    @classmethod
    def of(cls, name: str, artifact: Path, template: Path) -> "Build":
        """Read the template of an artifact."""
        parsed = yaml_parse(template.read_text())
        resources = {name: resource.get("Properties", {}) for name, resource in parsed["Resources"].items()}
        defaults = {name: parameter["Default"] for name, parameter in parsed["Parameters"].items()}
        return cls(
            name,
            artifact,
            int(resources["Queue"]["VisibilityTimeout"]),
            int(resources["Queue"]["RedrivePolicy"]["maxReceiveCount"]),
            int(resources["ApiFunction"]["Timeout"]),
            int(resources["QueueFunction"]["Timeout"]),
            int(defaults.get("QueueWorkers", 2)),  # before these were parameters: two, and no reserve
            int(defaults.get("ApiReserve", 0)),
        )


def this_build(folder: Path) -> Build:
    """Return a copy of the output of ``make build``, which cannot change during the benchmark."""
    return Build.of("now", read_only_copy(BUILD / "ApiFunction", folder), BUILD / "template.yaml")


def read_only_copy(artifact: Path, target: Path) -> Path:
    """Copy an artifact and make it read-only, as it is in Lambda."""
    shutil.copytree(artifact, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return target


def earlier_build(ref: str) -> Build:
    """Return the build of another commit, made by the build script of that commit.

    Raises
    ------
    StackError
        If there is no such commit.
    subprocess.CalledProcessError
        If it cannot be built; the reason is on standard error.
    """
    git = ["git", "-C", str(ROOT)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.strip()
    except (subprocess.CalledProcessError, FileNotFoundError) as error:  # no such commit, or no git
        raise StackError(f"BASELINE={ref} is not a commit that git knows here") from error

    def build(scratch: Path) -> Path:
        archive = subprocess.run([*git, "archive", commit], check=True, stdout=subprocess.PIPE).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tree:
            tree.extractall(scratch / "tree", filter="data")
        script = next(
            path
            for folder in ("tools", "local")  # it was in local/ in early commits
            if (path := scratch / "tree" / folder / "build.py").exists()
        )
        made = scratch / "made"
        subprocess.run([sys.executable, "-I", script, made / "artifact"], check=True)
        shutil.copy(scratch / "tree" / "template.yaml", made)
        return made

    made = made_once("earlier", build, commit.encode())
    return Build.of(commit[:7], made / "artifact", made / "template.yaml")


def plain_artifact() -> Path:
    """Return functions/ and requirements.txt as built by SAM's own builder for Python, without bytecode.

    This needs the package index once for each version of the two.

    Raises
    ------
    subprocess.CalledProcessError
        If sam fails; its output is on standard error.
    """
    sources = (ROOT / "requirements.txt", *sorted((ROOT / "functions").rglob("*.py")))
    return made_once("plain", sam_build, PLAIN_TEMPLATE.encode(), *map(Path.read_bytes, sources))


def library_artifact() -> Path:
    """Return boto3 and requests, compiled and not pruned.

    Raises
    ------
    subprocess.CalledProcessError
        If the installation fails; its output is on standard error.
    """
    return made_once("libraries", install, repr(LIBRARIES).encode(), LOCK.read_bytes())


def made_once(name: str, make: Callable[[Path], Path], *recipe: bytes) -> Path:
    """Return the folder for this recipe; call `make` if it does not exist yet."""
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


def sam_build(folder: Path) -> Path:
    """Run sam build in a folder and return the artifact."""
    shutil.copytree(ROOT / "functions", folder / "functions", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", folder / "functions")
    # So that compiled extensions of the dependencies work on this machine.
    architecture = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
    (folder / "template.yaml").write_text(PLAIN_TEMPLATE.format(architecture=architecture))
    try:
        subprocess.run(
            [sys.executable, "-m", "samcli", "build"],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # sam looks for the runtime's Python on the path.
            env={
                **os.environ,
                "SAM_CLI_TELEMETRY": "0",
                "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            },
        )
    except subprocess.CalledProcessError as error:  # it writes its progress there too
        raise StackError(f"sam build failed:\n{error.stderr}") from error
    return folder / ".aws-sam" / "build" / "ApiFunction"
