"""Writing the tree that --dataset MP3D reads, viewpoint by viewpoint, by several processes and machines."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.matterport3d import viewpoint_files
from datasets.preparation.labelled_mesh import RayCaster, parse_category_mapping, parse_ply
from datasets.preparation.matterport_panorama import Measured, PanoramaMaker, face_ids
from datasets.preparation.matterport_raw import RawScan, find_scans
from utils.errors import UserError
from utils.extras import import_extra
from utils.files import atomic_path, write_json
from utils.parallel import map_with_progress
from utils.tasks import MAP_OF_TASK, TASK_NAMES

NOTE = "prepared_matterport3d.json"  # in the prepared folder
RECORDS = "preparation"  # folder of each scan: what was measured at each viewpoint


@dataclass(frozen=True)
class Settings:
    """How panoramas are made.

    Attributes:
        raw, out: folders of the published and of the prepared data.
        height: H of the panoramas, W = 2H.
        tasks: whose maps are made, beside RGB.
        depth_from: "views", or "mesh": depth and normals of the mesh as well.
        category_mapping: the owners' file with the mpcat40 index of each category.
    """

    raw: Path
    out: Path
    height: int = 512
    tasks: tuple[str, ...] = TASK_NAMES
    depth_from: str = "views"
    category_mapping: Path | None = None

    def kinds(self) -> list[str]:
        """Names of the images that are made."""
        return ["rgb", *(MAP_OF_TASK[task] for task in self.tasks)]

    def files(self, scan: str, viewpoint: str) -> dict[str, Path]:
        """The images of a viewpoint that are made."""
        files = asdict(viewpoint_files(scan, viewpoint))
        return {kind: self.out / files[kind] for kind in self.kinds()}

    def needs_mesh(self) -> bool:
        """Whether rays are cast."""
        return "segmentation" in self.tasks or (self.depth_from == "mesh" and self.tasks != ())


@dataclass
class Outcome:
    """What became of a viewpoint.

    Attributes:
        scan, viewpoint: its names.
        measured: see `Measured`.
        problems: why images could not be made.
    """

    scan: str
    viewpoint: str
    measured: Measured = field(default_factory=Measured)
    problems: list[str] = field(default_factory=list)


@dataclass
class Summary:
    """Of a run.

    Attributes:
        skipped: viewpoints whose images exist.
        outcomes: of the others.
        without_poses: skyboxes, "<scan>/<viewpoint>", that cannot be used, as they were published without cameras.
        bad_scans: why whole scans cannot be used.
    """

    skipped: int
    outcomes: list[Outcome]
    without_poses: list[str]
    bad_scans: list[str]


def prepare(settings: Settings, scans: Sequence[str], shard: tuple[int, int], num_workers: int) -> Summary:
    """Make all panoramas of a shard that are not there yet.

    Args:
        scans: names; empty: all that are there.
        shard: which part, from 1, of how many.

    Raises:
        UserError: when there is no scan, the mapping of categories cannot be used, or a file cannot be written.
    """
    for cached in (open_scan, open_mesh, read_mapping):
        cached.cache_clear()  # files may have changed since an earlier call
    folders = find_scans(settings.raw)
    if settings.out.resolve() in {folder.parent.resolve() for folder in folders.values()}:
        raise UserError(f"--out {settings.out} holds the published data: choose another folder")
    unknown = [name for name in scans if name not in folders]
    if unknown:
        raise UserError(f"--scans {unknown[0]} is not in --raw {settings.raw}")
    if settings.needs_mesh():
        import_extra("embreex", "casting rays into the mesh (--only segmentation, --depth_from mesh)")
    if settings.needs_mesh():
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
    own = viewpoints[first:last]  # neighbors, as they share a mesh
    todo = [one for one in own if not all(path.is_file() for path in settings.files(*one).values())]
    summary.skipped = len(own) - len(todo)
    work = partial(prepare_viewpoint, folders=folders, settings=settings)
    summary.outcomes += map_with_progress(work, todo, num_workers, "preparing MP3D")
    return summary


def prepare_viewpoint(place: tuple[str, str], folders: dict[str, Path], settings: Settings) -> Outcome:
    """Make the images of a viewpoint, (scan, viewpoint), as far as possible, and note down what was measured."""
    name, viewpoint = place
    outcome = Outcome(name, viewpoint)
    images = make_images(outcome, folders[name], settings)
    for kind, path in settings.files(name, viewpoint).items():
        if kind in images:
            with atomic_path(path) as temporary:
                Image.fromarray(images[kind]).save(temporary)
    write_json(settings.out / name / RECORDS / f"{viewpoint}.json", asdict(outcome))
    return outcome


def make_images(outcome: Outcome, folder: Path, settings: Settings) -> dict[str, np.ndarray]:
    """The images of a viewpoint that can be made, by kind; what was measured and lacking is added to the outcome."""
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
    """A scan; viewpoints come scan by scan."""
    return RawScan(folder)


@lru_cache(maxsize=1)
def open_mesh(folder: Path, category_mapping: Path) -> tuple[RayCaster, np.ndarray]:
    """The labelled mesh of a scan, for casting rays, and the stored id of each face (F,) uint8.

    Raises:
        UserError: when it is missing or damaged.
    """
    scan = open_scan(folder)
    name = f"{scan.name}.ply"
    mesh = parse_ply(scan.read("mesh", name), str(scan.path("mesh", name)))
    return RayCaster(mesh), face_ids(mesh.category, read_mapping(category_mapping))


@lru_cache(maxsize=1)
def read_mapping(path: Path) -> dict[int, int]:
    """See `parse_category_mapping`.

    Raises:
        UserError: when the file is missing or another one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): it is in metadata/ of the owners' code repository "
            "niessner/Matterport; pass it as --category_mapping"
        ) from error
    return parse_category_mapping(text, str(path))


def _claim(settings: Settings) -> None:
    """Note down how the folder is made; refuse one that was made in another way."""
    note = settings.out / NOTE
    content = {"height": settings.height, "depth_from": settings.depth_from}
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) != content:
        raise UserError(f"--out {settings.out} was made with another --height or --depth_from: choose another folder")
    write_json(note, content)


def _viewpoints(scan: RawScan) -> tuple[list[str], list[str], str]:
    """Viewpoints of a scan with poses and skyboxes without, both sorted, and what is wrong with the scan."""
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
