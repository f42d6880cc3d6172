"""Provenance of results: program, environment and hashes of inputs."""

import hashlib
import platform
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import torch

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "cv2")


def provenance() -> dict:
    """Command line, versions, device and git commit of this process, to be stored with its results."""
    versions = {name: sys.modules[name].__version__ for name in _PACKAGES if name in sys.modules}
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "versions": versions,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """The commit of this source tree, with "-dirty" if there are uncommitted changes; None outside git."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def sha256(path: Path) -> str:
    """Hash of a file's content, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sha256_once(path: Path) -> str:
    """As `sha256`, but cached until the file's size or modification time changes."""
    status = path.stat()
    return _sha256_of_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _sha256_of_version(path: Path, _size: int, _time: int) -> str:
    return sha256(path)
