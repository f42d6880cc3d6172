"""How a program predicts image files: the interface that panoramas and perspective images share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from prediction.input_image import InputImage
from prediction.result import Prediction
from prediction.trained_model import TrainedModel
from utils.errors import UserError
from visual.displays import Display


class FilePredictor(ABC):
    """Predicts image files with a model and the options of a command line.

    Attributes:
        model: the network.
        flags: options that results depend on, for messages.
        forward: where the z axis of the camera frame points, in words.
        displays: visualization of the predictions of each task.
    """

    model: TrainedModel
    displays: Mapping[str, Display]
    flags: str
    forward: str

    @abstractmethod
    def read(self, path: Path) -> InputImage:
        """Read an image for `predict`.

        Raises:
            UserError: when it cannot be read, or is not what the program expects.
        """

    def read_frame(self, path: Path, frame: int) -> InputImage:
        """Read a frame of a video, counted from 1, for `predict`.

        Raises:
            UserError: when it cannot be read.
        """
        raise UserError(f"{path}: videos are not supported by this program: save its frames as images")

    @abstractmethod
    def predict(self, images: list[InputImage]) -> list[Prediction]:
        """Predict several images in one forward pass."""

    @abstractmethod
    def describe_options(self) -> dict:
        """Options that results depend on, beside model, precision and image, as entries of the .json files."""

    def describe_image(self, image: InputImage) -> dict:
        """Additional entries of the .json file about the image."""
        return {}

    @abstractmethod
    def describe_prediction(self, prediction: Prediction) -> dict:
        """Entries of the .json file that only this prediction has."""

    def accepts(self, image: dict) -> bool:
        """Whether existing results of an image can be reused, given the entries of their .json file about it."""
        return True

    @abstractmethod
    def summary(self, descriptions: list[dict]) -> list[str]:
        """Lines of text about the predicted images, given the contents of their .json files."""
