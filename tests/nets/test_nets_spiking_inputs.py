"""What a spiking network sees: frames of events, and images as spikes over time. Images of 1 × 2 × 3."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from difflogic_tonic.nets.spiking.inputs import Inputs, deltas, latency_spikes, poisson_spikes
from difflogic_tonic.nets.spiking.steps import pack_steps


def image(*pixels: int) -> Tensor:
    """Images of one row, as a batch of one-frame recordings [1, 1, 1, 1, W]."""
    return torch.tensor(pixels, dtype=torch.float32).view(1, 1, 1, 1, -1)


def test_events_are_seen_frame_by_frame_as_logarithms() -> None:
    counts = torch.arange(12.0).view(3, 2, 1, 1, 2)
    frames, steps = Inputs()(counts, torch.tensor([2, 3]))
    assert steps.counts == [2, 2, 1]
    assert torch.equal(frames[:2], torch.log1p(counts[0, [1, 0]]))  # the longest first
    assert torch.equal(frames[4:], torch.log1p(counts[2, [1]]))


def test_an_image_is_shown_at_every_step() -> None:
    frames, steps = Inputs(3)(image(0, 51, 255))
    assert steps.counts == [1, 1, 1]
    assert steps.spread(frames).flatten(1).tolist() == [[0.0, pytest.approx(0.2), 1.0]] * 3


def test_two_frames_are_no_image() -> None:
    with pytest.raises(ValueError, match="2 frames of an image: expected one"):
        Inputs(3)(torch.zeros(2, 1, 1, 1, 3))


@pytest.mark.parametrize("encoding", ["rate", "latency"])
def test_codes_that_make_time_are_for_images(encoding: str) -> None:
    with pytest.raises(ValueError, match=f"encoding '{encoding}' is for images"):
        Inputs(None, encoding)


def test_brighter_pixels_spike_earlier_and_black_ones_never() -> None:
    spikes = latency_spikes(torch.tensor([[0.0, 0.2, 0.5, 1.0]]), 5)
    assert spikes.sum(0).tolist() == [[0, 1, 1, 1]]
    assert spikes.argmax(0)[0, 1:].tolist() == [3, 2, 0]  # (5 - 1) · (1 - x) = 3.2, 2, 0


def test_latencies_are_those_of_spikingjelly() -> None:
    encoding = pytest.importorskip("spikingjelly.activation_based.encoding")
    brightness = torch.rand(4, 1, 2, 3, generator=torch.Generator().manual_seed(1)).clamp(min=1e-3)
    encoder = encoding.LatencyEncoder(6, "linear")
    expected = torch.stack([encoder(brightness) for _ in range(6)])
    assert torch.equal(latency_spikes(brightness, 6), expected)


def test_poisson_spikes_come_as_often_as_pixels_are_bright() -> None:
    brightness = torch.tensor([[0.0, 0.25, 0.9, 1.0]]).repeat(50, 1)
    rates = poisson_spikes(brightness, 400, torch.arange(50)).mean((0, 1))
    assert (rates[0], rates[3]) == (0, 1)
    deviation = 5 * math.sqrt(0.25 / (50 * 400))
    assert rates[1:3].tolist() == pytest.approx([0.25, 0.9], abs=deviation)


def test_poisson_spikes_are_independent_from_step_to_step_and_pixel_to_pixel() -> None:
    spikes = poisson_spikes(torch.full((200, 6), 0.5), 50, torch.arange(200)) - 0.5
    for product in (spikes[1:] * spikes[:-1], spikes[:, :, 1:] * spikes[:, :, :-1], spikes[:, 1:] * spikes[:, :-1]):
        assert abs(product.mean().item()) < 5 * 0.25 / math.sqrt(product.numel())


def test_a_sample_is_drawn_by_its_key_whatever_its_batch() -> None:
    brightness = torch.full((3, 1, 2, 3), 0.5)
    together = poisson_spikes(brightness, 7, torch.tensor([5, -6, 7]))
    alone = poisson_spikes(brightness[:1], 7, torch.tensor([-6]))
    assert torch.equal(together[:, 1:2], alone)
    assert not torch.equal(together[:, 0], together[:, 1])


def test_the_keys_of_a_batch_reach_the_draws() -> None:
    inputs, x = Inputs(5, "rate"), image(100, 150, 200).repeat(1, 2, 1, 1, 1)
    first, again, other = (inputs(x, None, torch.tensor(keys))[0] for keys in ([3, 4], [3, 4], [4, 3]))
    assert torch.equal(first, again)
    assert torch.equal(first[0::2], other[1::2])


def test_an_image_spikes_once_for_every_level_of_its_brightness() -> None:
    frames, _ = Inputs(4, "delta")(image(0, 63, 64, 255))  # levels of 1/4: 63.75
    assert frames.flatten(1).T.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]


def test_levels_that_add_up_to_a_value_but_for_rounding_reach_it() -> None:
    frames, _ = Inputs(10, "delta")(image(255))  # 1 - 9 · 0.1 is less than 0.1 in float32
    assert frames.sum() == 10


def test_changes_of_event_frames_spike_up_and_down() -> None:
    """One event more is a spike, one less its opposite; a sample that ends leaves the other alone."""
    counts = torch.tensor([[1, 0], [1, 1], [0, 1]]).view(3, 2, 1, 1, 1).float()
    frames, _ = Inputs(None, "delta")(counts, torch.tensor([3, 2]))
    assert frames.flatten().tolist() == [1, 0, 0, 1, -1]


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=8),
    st.sampled_from([0.125, 0.25, 0.5]),
)
def test_what_delta_spikes_add_up_to_follows_slow_values_within_a_level(changes: list[float], level: float) -> None:
    values = (torch.tensor(changes).clamp(-level, level) * 0.99).cumsum(0).view(-1, 1)
    spikes, _ = deltas(values, pack_steps(len(changes), 1, None, values.device), level)
    assert ((spikes * level).cumsum(0) - values).abs().max() < level * (1 + 1e-4)


@pytest.mark.parametrize(("encoding", "shape"), [("rows", (3, 2, 1, 1, 4)), ("columns", (4, 2, 1, 3, 1))])
def test_an_image_can_be_read_line_by_line(encoding: str, shape: tuple[int, ...]) -> None:
    image = torch.randint(0, 256, (1, 2, 1, 3, 4), generator=torch.Generator().manual_seed(0)).float()
    frames, steps = Inputs(None, encoding)(image)
    assert frames.unflatten(0, (-1, 2)).shape == shape
    assert steps.counts == [2] * shape[0]
    second = image[0, :, :, 1:2] if encoding == "rows" else image[0, :, :, :, 1:2]
    assert torch.equal(frames[2:4], second / 255)


def test_counts_are_seen_as_they_are() -> None:
    recording = torch.randint(0, 9, (3, 2, 2, 3, 4), generator=torch.Generator().manual_seed(0)).float()
    frames, steps = Inputs(None, "counts")(recording, torch.tensor([2, 3]))
    assert torch.equal(frames, steps.pack(recording))


@pytest.mark.parametrize("encoding", ["counts", "rows", "columns"])
def test_what_brings_its_own_steps_has_no_number_of_them(encoding: str) -> None:
    with pytest.raises(ValueError, match=f"encoding '{encoding}' has no number of steps"):
        Inputs(4, encoding)
