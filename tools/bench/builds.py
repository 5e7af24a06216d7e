"""The builds to measure: this one, and that of an earlier commit."""

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from local.common import BUILD, ROOT, STATE, StackError


@dataclass(frozen=True)
class Build:
    """A code folder, which is the same for all functions, and the template that goes with it."""

    name: str
    artifact: Path
    template: dict[str, Any]

    def properties(self, logical_id: str) -> dict[str, Any]:
        """Return the properties of a resource of the template."""
        found: dict[str, Any] = self.template["Resources"][logical_id]["Properties"]
        return found

    def parameter(self, name: str) -> int:
        """Return the default of a parameter."""
        return int(self.template["Parameters"][name]["Default"])


def this_build() -> Build:
    """Return the output of ``make build``."""
    return Build("now", BUILD / "ApiFunction", yaml_parse((BUILD / "template.yaml").read_text()))


def earlier_build(ref: str) -> Build:
    """Return the build of another commit, made by the build script of that commit, once."""
    git = ["git", "-C", str(ROOT)]
    find = [*git, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"]
    try:
        commit = subprocess.run(find, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    except (subprocess.CalledProcessError, FileNotFoundError) as error:  # no such commit, or no git
        raise StackError(f"BASELINE={ref} is not a commit that git knows here") from error
    made = STATE / "bench" / commit
    if not made.is_dir():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
            tree, new = Path(scratch, "tree"), Path(scratch, "new")
            archive = subprocess.run([*git, "archive", commit], check=True, stdout=subprocess.PIPE).stdout
            with tarfile.open(fileobj=io.BytesIO(archive)) as files:
                files.extractall(tree, filter="data")
            scripts = (tree / folder / "build.py" for folder in ("tools", "local"))  # it has moved
            script = next(path for path in scripts if path.exists())
            subprocess.run([sys.executable, "-I", script, new / "artifact"], check=True)
            shutil.copy(tree / "template.yaml", new)
            new.rename(made)
    return Build(commit[:7], made / "artifact", yaml_parse((made / "template.yaml").read_text()))
