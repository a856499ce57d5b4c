import pytest
import torch
from torch import nn

from gleak_lib.federated import Protocol


@pytest.fixture
def images():
    """120 images of 1 x 6 x 6 whose class (of 3) shows in their brightest rows; uint8."""
    labels = torch.arange(120) % 3
    pixels = torch.randint(0, 120, (120, 1, 6, 6), generator=torch.Generator().manual_seed(5))
    for i, label in enumerate(labels.tolist()):
        pixels[i, :, 2 * label : 2 * label + 2] += 120
    return pixels.to(torch.uint8), labels


@pytest.fixture
def linear():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))


@pytest.fixture
def small():
    return Protocol(rounds=2, clients=3, batch_size=16)
