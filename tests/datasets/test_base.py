"""The base class of all datasets."""

import torch

from datasets.base import ImageDataset


class Named(ImageDataset):
    """Samples that consist of a name."""

    def __init__(self, *names: str):
        super().__init__(4, 8)
        self._names = names

    def __len__(self):
        return len(self._names)

    def read(self, index: int) -> str:
        return self._names[index]

    def sample_names(self) -> tuple[str, ...]:
        return self._names

    def packed(self, index: int) -> dict:
        return {"name": self.read(index)}

    @staticmethod
    def unpack(packed: dict, device: torch.device | str = "cpu") -> dict:
        return {"decoded": packed["name"]}


def test_fingerprint_depends_on_names_and_order():
    """Training must not resume on other samples, even if their number is the same."""
    prints = {Named(*names).fingerprint() for names in (("a", "b"), ("b", "a"), ("a", "c"), ("a", "b", "c"), ("ab",))}
    assert len(prints) == 5
    assert Named("a", "b").fingerprint() == Named("a", "b").fingerprint()


def test_samples_are_decoded():
    assert Named("a", "b")[1] == {"decoded": "b"}
