"""Finding the images to predict, and counting skipped files."""

import glob
import os
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

from prediction.image_formats import image_suffixes, read_header
from prediction.naming import Job, stems
from prediction.result_files import ENDINGS
from prediction.video import VIDEO_SUFFIXES
from utils.errors import UserError

_SHOWN_SUFFIXES = 8


class Inputs(NamedTuple):
    """The files of --input.

    Attributes:
        jobs: the images to predict, in order.
        skipped: number of other files by suffix (in lower case, or empty).
        problems: a line of text for each folder or video that cannot be read.
    """

    jobs: list[Job]
    skipped: Counter[str]
    problems: list[str]

    def skipped_line(self) -> str | None:
        """The skipped files as text, such as "3 other files skipped: 2 .heic, 1 .pdf"."""
        return f"{_count(self.skipped)} skipped: {_by_suffix(self.skipped)}" if self.skipped else None


def find_all_jobs(given: list[str], out: Path, videos: bool = False) -> Inputs:
    """Find the images of several paths, see `find_jobs`; an image that several paths name is predicted once.

    Raises:
        UserError: as `find_jobs`, and when results of different images would have the same names.
    """
    found = [find_jobs(path, out, videos) for path in given]
    jobs: dict[Path, Job] = {}
    for job in (job for inputs in found for job in inputs.jobs):
        first = jobs.setdefault(job.stem, job)
        if first.image.resolve() != job.image.resolve():
            raise UserError(
                f"--input: results of {first.image} and {job.image} would both be named {job.stem}: predict one of "
                "them with another --out"
            )
    skipped = sum((inputs.skipped for inputs in found), Counter())
    return Inputs(list(jobs.values()), skipped, [problem for inputs in found for problem in inputs.problems])


def find_jobs(given: str, out: Path, videos: bool = False) -> Inputs:
    """Find the images of --input and the stems of their results below --out, in the same folder structure.

    Folders are searched recursively for images, following links. Files that are named, or that match a pattern, are
    included whatever their suffix, but a pattern that ends in ``**`` acts like a folder. Hidden files are skipped
    unless they are named. Files in `out` are skipped if it is inside the folder, as results are not inputs.

    Args:
        given: a file; a folder; or a pattern with ``*``, ``?``, ``[...]`` and ``**``.
        out: the folder to write to.
        videos: whether videos in folders are included.

    Raises:
        UserError: when there are no images, or results would be written among them.
    """
    problems: list[str] = []
    root, files, any_suffix = _search(given, problems)
    folders = {folder: folder.resolve() for folder in {path.parent for path in files}}
    if not root.resolve().is_relative_to(out.resolve()):
        files = [path for path in files if not folders[path.parent].is_relative_to(out.resolve())]
    images = sorted(path for path in files if any_suffix or _is_image(path, videos))
    skipped = Counter(path.suffix.lower() for path in set(files).difference(images))
    if not images:
        others = f", but {_count(skipped)}: {_by_suffix(skipped)}" if skipped else ""
        raise UserError(problems[0] if problems else f"--input {given} names no image{others}")
    image_folders = {folders[path.parent] for path in images}
    stem_of = stems([path.relative_to(root) for path in images], ENDINGS)
    for folder in {(out / stem).parent for stem in stem_of.values()}:
        if folder.resolve() in image_folders:
            raise UserError(f"--out {out} would put results among the images: choose another folder")
    return Inputs([Job(path, out / stem_of[path.relative_to(root)]) for path in images], skipped, problems)


def _search(given: str, problems: list[str]) -> tuple[Path, list[Path], bool]:
    """The root of the folder structure, the files found, and whether files with any suffix are included."""
    path = Path(given)
    if not given:
        raise UserError("--input is empty: pass an image, a folder or a pattern")
    if path.is_file():
        return path.parent, [path], True
    if path.is_dir():
        return path, list(_files_below(path, problems)), False
    if path.exists():
        raise UserError(f"--input {given} is neither a file nor a folder")
    if not glob.has_magic(given):
        raise UserError(f"--input {given} does not exist")
    parts = path.parts
    root = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
    pattern = parts[len(root.parts) :]
    if "**" not in pattern:
        return root, [file for name in glob.glob(given) if _is_file_or_broken_link(file := Path(name))], True
    files = [file for file in _files_below(root, problems) if _matches(file.relative_to(root).parts, pattern)]
    return root, files, pattern[-1] != "**"


def _files_below(folder: Path, problems: list[str]) -> Iterator[Path]:
    """The files in a folder and its subfolders that are not hidden. Links are followed unless they lead to a parent."""
    above = frozenset(_identity(parent) for parent in folder.resolve().parents)
    return _walk(folder, above, problems)


def _walk(folder: Path, above: frozenset, problems: list[str]) -> Iterator[Path]:
    try:
        identity = _identity(folder)
        names = sorted(os.listdir(folder))
    except OSError as error:
        problems.append(f"{folder} cannot be read: {error.strerror}")
        return
    if identity in above:
        return
    for path in (folder / name for name in names if not name.startswith(".")):
        if os.path.isdir(path):  # unlike `Path.is_dir`, False below a folder that may not be searched
            yield from _walk(path, above | {identity}, problems)
        elif _is_file_or_broken_link(path):
            yield path


def _identity(folder: Path) -> tuple[int, int]:
    """Identifies a folder, independent of the path to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_file_or_broken_link(path: Path) -> bool:
    """Broken links are reported as bad images."""
    return os.path.isfile(path) or not os.path.exists(path)


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether the parts of a path match those of a pattern, where ``**`` matches any number of folders."""
    if not pattern or not parts:
        return not parts and set(pattern) <= {"**"}
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or _matches(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _is_image(path: Path, videos: bool) -> bool:
    """Whether a file has the suffix of an image (so that damaged ones are reported), or no suffix but its content."""
    if path.suffix:
        return path.suffix.lower() in (_suffixes() | VIDEO_SUFFIXES if videos else _suffixes())
    try:
        return read_header(path) is not None
    except OSError:
        return False


@cache
def _suffixes() -> frozenset[str]:
    return image_suffixes()


def _count(counts: Counter[str]) -> str:
    return "1 other file" if counts.total() == 1 else f"{counts.total()} other files"


def _by_suffix(counts: Counter[str]) -> str:
    """Such as "3 .heic, 2 .mp4", the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{number} {suffix or 'without suffix'}" for suffix, number in ordered[:_SHOWN_SUFFIXES]]
    return ", ".join([*shown, *(["..."] if len(ordered) > _SHOWN_SUFFIXES else [])])
