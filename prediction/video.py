"""Videos: reading their frames, and joining the frames' panels into a video."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from prediction.naming import Job
from utils.errors import UserError
from utils.files import atomic_path

VIDEO_SUFFIXES = frozenset((".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm"))
_PANEL = "_panel.png"


def frame_jobs(jobs: list[Job], every: int) -> tuple[list[Job], list[str]]:
    """Replace each video by every N-th of its frames, starting with the first.

    The results of frame n, counted from 1, are STEM/frame_00000n_*.

    Returns:
        The jobs, and a line of text for each video that cannot be read.
    """
    expanded, problems = [], []
    for job in jobs:
        if job.image.suffix.lower() not in VIDEO_SUFFIXES:
            expanded.append(job)
            continue
        try:
            num_frames = VideoReader(job.image).num_frames
        except UserError as error:
            problems.append(str(error))
            continue
        frames = range(1, num_frames + 1, every)
        expanded += [Job(job.image, job.stem / f"frame_{frame:06d}", frame) for frame in frames]
    return expanded, problems


class VideoReader:
    """Reads frames of a video, fastest in ascending order.

    Attributes:
        path: of the video.
        num_frames: according to its header.
        rate: frames per second.

    Raises:
        UserError: when it cannot be decoded.
    """

    def __init__(self, path: Path):
        self.path = path
        self._open()
        self.num_frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.rate = self._capture.get(cv2.CAP_PROP_FPS)
        if self.num_frames < 1:
            raise UserError(f"{path} is damaged, or not a video with a known number of frames: convert it to MP4")

    def frame(self, number: int) -> np.ndarray:
        """A frame, counted from 1, (H, W, 3) uint8 RGB.

        Raises:
            UserError: when it cannot be decoded.
        """
        if number <= self._position:
            self._open()
        while self._position < number:
            if not self._capture.grab():
                raise UserError(f"{self.path}: frame {number} cannot be decoded, the video ends at {self._position}")
            self._position += 1
        decoded, image = self._capture.retrieve()
        if not decoded:
            raise UserError(f"{self.path}: frame {number} cannot be decoded")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def _open(self) -> None:
        self._capture = cv2.VideoCapture(str(self.path))
        self._position = 0  # number of the last grabbed frame


def write_panel_videos(jobs: list[Job], every: int) -> list[Path]:
    """Join the panels of each video's frames, if all exist, into STEM_panel.mp4 at the video's speed.

    Returns:
        The written files.

    Raises:
        UserError: when one cannot be written.
    """
    written = []
    for video, frames in groupby((job for job in jobs if job.frame), key=lambda job: job.image):
        panels = [job.result(_PANEL) for job in frames]
        if all(panel.is_file() for panel in panels):
            folder = panels[0].parent
            path = folder.with_name(folder.name + "_panel.mp4")
            _write_video(path, panels, VideoReader(video).rate / every)
            written.append(path)
    return written


def _write_video(path: Path, images: list[Path], rate: float) -> None:
    """Write image files as the frames of a video, padded with white at the bottom, as their legends vary."""
    height, width = np.max([image.shape[:2] for image in _images(images)], axis=0)
    height, width = height + height % 2, width + width % 2  # codecs require even numbers
    with atomic_path(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), rate or 25, (int(width), int(height)))
        if not writer.isOpened():
            raise UserError(f"{path} cannot be written: this OpenCV cannot encode MPEG-4 videos")
        for image in _images(images):
            frame = np.full((height, width, 3), 255, np.uint8)
            frame[: image.shape[0], : image.shape[1]] = image
            writer.write(frame)
        writer.release()


def _images(paths: list[Path]) -> Iterator[np.ndarray]:
    """The pixels of image files, (any, any, 3) BGR."""
    for path in paths:
        yield cv2.imread(str(path))
