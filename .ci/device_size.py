"""Print how large the device install is, and fail if it is too large or holds what it must not."""

import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

LIMIT_MB = 220
# What a venv has before anything is installed.
OWN = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")

site = Path(sysconfig.get_paths()["purelib"])
files = [p for p in site.rglob("*") if p.is_file()]
files = [p for p in files if not p.relative_to(site).parts[0].startswith(OWN)]
installed = sum(p.stat().st_size for p in files if p.suffix != ".pyc") / 1e6
bytecode = sum(p.stat().st_size for p in files if p.suffix == ".pyc") / 1e6
print(f"installed: {installed:.0f} MB, and {bytecode:.0f} MB of bytecode caches")

forbidden = [name for name in ("torch", "transformers", "onnx", "safetensors") if find_spec(name)]
if forbidden:
    sys.exit(f"the device install holds {', '.join(forbidden)}")
if installed > LIMIT_MB:
    sys.exit(f"the device install is over {LIMIT_MB} MB")
