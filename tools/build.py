"""Build one function's artifact: the ``functions/`` folder and everything it imports.

``sam build`` calls this through the Makefile, once per function. It only uses the standard library, so that
it runs under any Python that the Makefile finds.
"""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import importlib.util
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ROOT / "functions"
REQUIREMENTS = ROOT / "requirements.txt"
CACHE = ROOT / ".local" / "build"

#: The runtime, as set in template.yaml. It can only use bytecode that its own version of Python compiled.
RUNTIME = tuple(
    map(int, re.findall(r"(?m)^    Runtime: python(\d+)\.(\d+)$", (ROOT / "template.yaml").read_text())[0])
)

#: Only pure Python packages, so that one artifact runs on every processor and under the Python of the local
#: emulator.
WHEELS = (
    "--only-binary=:all:",
    "--implementation=py",
    "--abi=none",
    "--platform=any",
    "--python-version={}.{}".format(*RUNTIME),
)

#: The AWS services that the functions call. botocore's data files describe 400 more, in 26 MB.
SERVICES = {"events", "lambda", "secretsmanager", "sqs"}

#: Files of the dependencies that are not used at run time. No dependency reads its own metadata.
UNUSED = (
    "bin",
    "*.dist-info",
    "*-stubs",
    "*/tests",
    "boto3/data",
    "boto3/examples",
    "**/*.pyi",
    "**/py.typed",
    "aws_lambda_powertools/event_handler/openapi/swagger_ui/*.min.*",
)

#: Where Lambda unpacks the artifact: the path that the bytecode must contain.
TASK_ROOT = "/var/task"

# 1980-01-02, the first day that a zip file can store in every time zone. Fixed times make builds
# reproducible.
TIMESTAMP = 315619200


def build(artifact: Path) -> None:
    """Fill `artifact` with the functions and their dependencies.

    Parameters
    ----------
    artifact : Path
        The folder to fill, which is then zipped and uploaded. It may exist.
    """
    with tempfile.TemporaryDirectory() as scratch:
        functions = Path(scratch, "functions")
        shutil.copytree(FUNCTIONS, functions, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        finish(functions)
        for tree in (dependencies(), functions):
            shutil.copytree(tree, artifact, dirs_exist_ok=True, copy_function=link)


def link(source: str, target: str) -> None:
    """Hard-link a file: for four artifacts of 1,700 files each, this takes a tenth of the time of copying."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)


def dependencies() -> Path:
    """Return a folder with the locked packages, which are installed if that has not been done before.

    The four functions share it, whether ``sam`` builds them one after another or in parallel.
    """
    recipe = REQUIREMENTS.read_bytes() + Path(__file__).read_bytes() + repr(RUNTIME).encode()
    recipe += importlib.util.MAGIC_NUMBER
    tree = CACHE / hashlib.sha256(recipe).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.is_dir():
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                packages = Path(scratch, "packages")
                install(packages, scratch=Path(scratch))
                prune(packages)
                finish(packages)
                packages.rename(tree)
    return tree


def install(target: Path, scratch: Path) -> None:
    """Install the locked packages into `target` with pip of a new environment (this Python may lack it)."""
    venv.create(scratch / "venv", with_pip=True)
    python = scratch / "venv" / "bin" / "python"
    arguments = ["--disable-pip-version-check", "--no-compile", "--no-deps", "--require-hashes", *WHEELS]
    subprocess.run(
        [
            python,
            "-m",
            "pip",
            "install",
            "-qq",
            *arguments,
            "--target",
            target,
            "--requirement",
            REQUIREMENTS,
        ],
        check=True,
    )


def prune(packages: Path) -> None:
    """Delete the parts of the dependencies that the functions never use.

    These are files that are never loaded, and entries of services that are never called in a file that
    botocore loads for every client: 1.2 MB of JSON that each cold start would have to parse.
    """
    data = packages / "botocore" / "data"
    for service in data.iterdir():
        if service.is_dir() and service.name not in SERVICES:
            shutil.rmtree(service)
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        partition["services"] = {
            name: service for name, service in partition["services"].items() if name in SERVICES
        }
    (data / "endpoints.json").write_text(json.dumps(endpoints))
    for pattern in UNUSED:
        for path in list(packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def finish(folder: Path) -> None:
    """Compile `folder`, and make its file modes and times the same in every build.

    Lambda's code folder is read-only, so without bytecode each cold start would compile everything. The
    bytecode is not checked against its sources, which cannot change there. It is only created if this Python
    has the runtime's version; the artifact works without it too.
    """
    if sys.version_info[:2] == RUNTIME:
        compileall.compile_dir(
            folder,
            quiet=1,
            stripdir=str(folder),
            prependdir=TASK_ROOT,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # readable for Lambda's user with any umask
        os.utime(path, (TIMESTAMP, TIMESTAMP))


if __name__ == "__main__":
    if sys.version_info[:2] != RUNTIME:
        print(
            "No Python {}.{} here: building without bytecode (cold starts are slower).".format(*RUNTIME),
            file=sys.stderr,
        )
    build(Path(sys.argv[1]))
