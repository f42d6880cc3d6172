"""Writes the tree that --dataset MP3D reads, viewpoint by viewpoint, with several processes or machines."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.matterport3d import viewpoint_files
from datasets.preparation.labeled_mesh import RayCaster, parse_category_mapping, parse_ply
from datasets.preparation.matterport_panorama import PanoramaMaker, ViewpointMeasurement, face_ids
from datasets.preparation.matterport_raw import RawScan, find_scans
from utils.errors import UserError
from utils.extras import import_extra
from utils.files import atomic_path, write_json
from utils.parallel import map_with_progress
from utils.tasks import MAP_OF_TASK, TASK_NAMES

NOTE = "prepared_matterport3d.json"  # in the prepared folder
RECORDS = "preparation"  # folder in each scan: the `Outcome` of each viewpoint


@dataclass(frozen=True)
class Settings:
    """Settings of a preparation.

    Attributes:
        raw, out: folders of the published and of the prepared data.
        height: H of the panoramas, W = 2H.
        tasks: tasks whose maps are made, besides RGB.
        depth_from: source of depth and normals: "views" or "mesh".
        category_mapping: published file with the mpcat40 index of each category.
    """

    raw: Path
    out: Path
    height: int = 512
    tasks: tuple[str, ...] = TASK_NAMES
    depth_from: str = "views"
    category_mapping: Path | None = None

    def kinds(self) -> list[str]:
        """Kinds of the images to make."""
        return ["rgb", *(MAP_OF_TASK[task] for task in self.tasks)]

    def files(self, scan: str, viewpoint: str) -> dict[str, Path]:
        """The files of a viewpoint to make, by kind."""
        files = asdict(viewpoint_files(scan, viewpoint))
        return {kind: self.out / files[kind] for kind in self.kinds()}

    def needs_mesh(self) -> bool:
        """Whether rays are cast into the mesh."""
        return "segmentation" in self.tasks or (self.depth_from == "mesh" and self.tasks != ())


@dataclass
class Outcome:
    """Result for one viewpoint.

    Attributes:
        scan, viewpoint: names.
        measured: see `ViewpointMeasurement`.
        problems: reasons for missing images.
    """

    scan: str
    viewpoint: str
    measured: ViewpointMeasurement = field(default_factory=ViewpointMeasurement)
    problems: list[str] = field(default_factory=list)


@dataclass
class Summary:
    """Result of a run.

    Attributes:
        skipped: number of viewpoints whose images existed.
        outcomes: results for the other viewpoints.
        without_poses: "<scan>/<viewpoint>" of skyboxes that cannot be used, as they were published without cameras.
        bad_scans: errors of unusable scans.
    """

    skipped: int
    outcomes: list[Outcome]
    without_poses: list[str]
    bad_scans: list[str]


def prepare(settings: Settings, scans: Sequence[str], shard: tuple[int, int], num_workers: int) -> Summary:
    """Make all missing panoramas of a shard.

    Args:
        scans: names of scans; empty: all in `settings.raw`.
        shard: (I, N), the I-th of N parts, counted from 1.

    Raises:
        UserError: when there is no scan, the category mapping is unusable, or a file cannot be written.
    """
    for cached in (open_scan, open_mesh, read_mapping):
        cached.cache_clear()  # files may have changed since an earlier call
    folders = find_scans(settings.raw)
    if settings.out.resolve() in {folder.parent.resolve() for folder in folders.values()}:
        raise UserError(f"--out {settings.out} contains the published data: choose another folder")
    unknown = [name for name in scans if name not in folders]
    if unknown:
        raise UserError(f"--scans {unknown[0]} is not in --raw {settings.raw}")
    if settings.needs_mesh():
        import_extra("embreex", "casting rays into the mesh (--only segmentation, --depth_from mesh)")
        read_mapping(settings.category_mapping)
    _claim(settings)
    summary = Summary(0, [], [], [])
    viewpoints = []
    for name in scans or folders:
        found, without_poses, problem = _viewpoints(RawScan(folders[name]))
        viewpoints += [(name, viewpoint) for viewpoint in found]
        summary.without_poses += [f"{name}/{viewpoint}" for viewpoint in without_poses]
        summary.bad_scans += [problem] if problem else []
    first, last = (len(viewpoints) * part // shard[1] for part in (shard[0] - 1, shard[0]))
    own = viewpoints[first:last]  # consecutive, as viewpoints of a scan share a mesh
    todo = [one for one in own if not all(path.is_file() for path in settings.files(*one).values())]
    summary.skipped = len(own) - len(todo)
    work = partial(prepare_viewpoint, folders=folders, settings=settings)
    summary.outcomes += map_with_progress(work, todo, num_workers, "preparing MP3D")
    return summary


def prepare_viewpoint(names: tuple[str, str], folders: dict[str, Path], settings: Settings) -> Outcome:
    """Write the images that can be made of a viewpoint, given as (scan, viewpoint), and its `Outcome`."""
    scan, viewpoint = names
    outcome = Outcome(scan, viewpoint)
    images = make_images(outcome, folders[scan], settings)
    for kind, path in settings.files(scan, viewpoint).items():
        if kind in images:
            with atomic_path(path) as temporary:
                Image.fromarray(images[kind]).save(temporary)
    write_json(settings.out / scan / RECORDS / f"{viewpoint}.json", asdict(outcome))
    return outcome


def make_images(outcome: Outcome, folder: Path, settings: Settings) -> dict[str, np.ndarray]:
    """The images that can be made of a viewpoint, by kind; measurements and problems are added to `outcome`."""
    images: dict[str, np.ndarray] = {}
    try:
        maker = PanoramaMaker(open_scan(folder), outcome.viewpoint, settings.height)
        outcome.measured = maker.measured
        images["rgb"] = maker.rgb()
    except UserError as error:  # without the skybox the heading is unknown
        outcome.problems.append(str(error))
        return images
    for make in (_from_views, _from_mesh):
        try:
            images |= make(maker, settings)
        except UserError as error:
            outcome.problems.append(str(error))
    return images


@lru_cache(maxsize=1)
def open_scan(folder: Path) -> RawScan:
    """A scan; the last one is cached, as viewpoints are processed scan by scan."""
    return RawScan(folder)


@lru_cache(maxsize=1)
def open_mesh(folder: Path, category_mapping: Path) -> tuple[RayCaster, np.ndarray]:
    """The labeled mesh of a scan for casting rays, and the stored id of each face (F,) uint8; the last one is cached.

    Raises:
        UserError: when the mesh is missing or damaged.
    """
    scan = open_scan(folder)
    name = f"{scan.name}.ply"
    mesh = parse_ply(scan.read("mesh", name), str(scan.path("mesh", name)))
    return RayCaster(mesh), face_ids(mesh.category, read_mapping(category_mapping))


@lru_cache(maxsize=1)
def read_mapping(path: Path) -> dict[int, int]:
    """Read a category mapping, see `parse_category_mapping`.

    Raises:
        UserError: when the file is missing or another one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): pass --category_mapping FILE, from metadata/ of the code "
            "repository niessner/Matterport"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text: pass the published category_mapping.tsv as --category_mapping") from error
    return parse_category_mapping(text, str(path))


def _claim(settings: Settings) -> None:
    """Write the note to the folder.

    Raises:
        UserError: when the folder was made with other settings.
    """
    note = settings.out / NOTE
    content = {"height": settings.height, "depth_from": settings.depth_from}
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) != content:
        raise UserError(f"--out {settings.out} was made with another --height or --depth_from: choose another folder")
    write_json(note, content)


def _viewpoints(scan: RawScan) -> tuple[list[str], list[str], str]:
    """Viewpoints of a scan with poses, skyboxes without, both sorted, and the error if the scan is unusable."""
    try:
        posed = set(scan.cameras)
        skyboxes = {name.partition("_")[0] for name in scan.names("skybox") if "_skybox" in name}
    except UserError as error:
        return [], [], str(error)
    return sorted(posed), sorted(skyboxes - posed), ""


def _from_views(maker: PanoramaMaker, settings: Settings) -> dict[str, np.ndarray]:
    kinds = settings.kinds()
    if settings.depth_from == "mesh" or not {"depth", "normal"} & set(kinds):
        return {}
    return maker.stitched(with_normals="normal" in kinds)


def _from_mesh(maker: PanoramaMaker, settings: Settings) -> dict[str, np.ndarray]:
    if not settings.needs_mesh():
        return {}
    caster, ids = open_mesh(maker.scan.folder, settings.category_mapping)
    hits = maker.cast(caster)
    images = maker.depth_and_normals(hits) if settings.depth_from == "mesh" else {}
    if "segmentation" in settings.tasks:
        images["semantic"] = maker.labels(hits, ids)
    return images
