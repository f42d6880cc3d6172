"""Which pictures to predict, and where the results of each go."""

import glob
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".hdr", ".exr")


class Job(NamedTuple):
    """One picture to predict.

    Attributes:
        picture: the file.
        stem: results are written to STEM_depth.npy, STEM.json and so on.
    """

    picture: Path
    stem: Path

    def result(self, ending: str) -> Path:
        """The file of a result: STEM followed by an ending."""
        return self.stem.with_name(self.stem.name + ending)


def find_jobs(given: str, out: Path) -> list[Job]:
    """The pictures that --input names, in order, with a place each below --out that mirrors theirs.

    Hidden files are left out, and so is what lies below an `out` within the folder that is searched: results are no
    input.

    Args:
        given: a file; a folder, searched with all its subfolders; or a pattern with ``*``, ``?``, ``[...]`` and ``**``.
        out: the folder to write to.

    Raises:
        UserError: when there is none, when results would lie beside the pictures, or two pictures would be written to
            the same names.
    """
    root, found = _search(given)
    if out.resolve() != root.resolve() and _is_below(out, root):
        found = [path for path in found if not _is_below(path, out)]
    pictures = sorted(found)
    if not pictures:
        raise UserError(f"--input {given} names no picture ({', '.join(SUFFIXES)})")
    jobs = [Job(path, out / path.relative_to(root).with_suffix("")) for path in pictures]
    by_stem = {job.stem: job for job in jobs}
    folders = {path.parent.resolve() for path in pictures}
    for job in jobs:
        if job.stem.parent.resolve() in folders:
            raise UserError(f"--out {out} would put results beside the pictures: choose another folder")
        if by_stem[job.stem] != job:
            raise UserError(
                f"{job.picture} and {by_stem[job.stem].picture} would be written to the same names: rename one"
            )
    return jobs


def _search(given: str) -> tuple[Path, list[Path]]:
    """The folder whose tree is mirrored, and the pictures in it."""
    path = Path(given)
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        return path, [file for file in path.rglob("*") if _is_picture(file, path)]
    if not glob.has_magic(given):
        raise UserError(f"--input {given} does not exist")
    fixed = Path(*_before_magic(path.parts))
    return fixed, [file for name in glob.glob(given, recursive=True) if _is_picture(file := Path(name), fixed)]


def _before_magic(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The folders of a pattern up to the first part that has wildcards."""
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return parts[:first]


def _is_picture(file: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    there = file.is_file() or file.is_symlink()  # a link to nowhere is a bad picture, to be reported
    return file.suffix.lower() in SUFFIXES and not hidden and there


def _is_below(path: Path, folder: Path) -> bool:
    """Whether a path lies in `folder` or deeper."""
    return path.resolve().is_relative_to(folder.resolve())
