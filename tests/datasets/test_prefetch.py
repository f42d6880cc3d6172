"""Decoding batches ahead on a GPU, with fake streams that record events."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import torch

from datasets.loading import Batches, decoded_ahead

GPU = torch.device("cuda", 0)


class FakeStream:
    """Records waits for other streams in `events`."""

    def __init__(self, name: str, events: list):
        self.name, self._events = name, events

    def wait_stream(self, other: "FakeStream") -> None:
        self._events.append(f"{self.name} waits for {other.name}")


class Recorded(NamedTuple):
    """Events in order, and a `decode` that records its calls."""

    events: list[str]
    decode: Callable[[dict, torch.device], dict]


@pytest.fixture
def recorded(monkeypatch) -> Recorded:
    """Events: batches decoded, with their stream; waits of streams; memory kept for streams."""
    events: list[str] = []
    main, side = FakeStream("main", events), FakeStream("side", events)
    current = [main]

    @contextmanager
    def stream(chosen: FakeStream):
        current.append(chosen)
        yield
        current.pop()

    def unpack(batch: dict, device: torch.device) -> dict:
        assert device == GPU
        events.append(f"decode {batch['id']} in {current[-1].name}")
        return {"id": batch["id"], "rgb": torch.ones(1)}

    monkeypatch.setattr("torch.cuda.Stream", lambda device: side)
    monkeypatch.setattr("torch.cuda.stream", stream)
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: current[-1])
    monkeypatch.setattr("torch.Tensor.record_stream", lambda _, stream: events.append(f"kept for {stream.name}"))
    return Recorded(events, unpack)


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_batches_in_order(number, recorded):
    batches = decoded_ahead(({"id": i} for i in range(number)), GPU, recorded.decode)
    assert [batch["id"] for batch in batches] == list(range(number))


def test_next_batch_is_decoded_ahead(recorded):
    """It is decoded in the side stream, for which the main stream waits only when the batch is yielded."""
    batches, events = decoded_ahead(({"id": i} for i in range(3)), GPU, recorded.decode), recorded.events
    ready = ["main waits for side", "kept for main"]
    for number in range(3):
        assert next(batches)["id"] == number
        events.append(f"work on {number}")
    assert events == [
        *("decode 0 in side", *ready, "decode 1 in side", "work on 0"),
        *(*ready, "decode 2 in side", "work on 1"),
        *(*ready, "work on 2"),
    ]


def test_no_batch_is_decoded_ahead_on_cpu(recorded):
    read = []

    class Loader:
        def __iter__(self):
            for number in range(3):
                read.append(number)
                yield {"id": number, "bad": []}

    cpu = torch.device("cpu")
    batches = iter(Batches(Loader(), cpu, lambda batch, device: (batch["id"], device)))
    assert next(batches) == (0, cpu)
    assert read == [0]
    read.clear()
    assert next(iter(Batches(Loader(), GPU, recorded.decode)))["id"] == 0
    assert read == [0, 1]
