"""Where things are in this project."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".aws-sam" / "build"  # what sam build writes
STATE = ROOT / ".local"  # what the local stack and the benchmarks write
