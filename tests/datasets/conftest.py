import numpy as np
import pytest


@pytest.fixture
def arrays():
    """A small gray set in MedMNIST's layout: 30 + 12 images of 28 x 28, 3 classes."""
    rng = np.random.default_rng(0)
    return {
        "train_images": rng.integers(0, 256, (30, 28, 28), dtype=np.uint8),
        "train_labels": np.arange(30, dtype=np.uint8).reshape(-1, 1) % 3,
        "test_images": rng.integers(0, 256, (12, 28, 28), dtype=np.uint8),
        "test_labels": np.arange(12, dtype=np.uint8).reshape(-1, 1) % 3,
    }


@pytest.fixture
def victim_arrays():
    """A small victims archive: 6 color images of 32 x 32."""
    rng = np.random.default_rng(1)
    return {
        "images": rng.random((6, 3, 32, 32), dtype=np.float32),
        "labels": np.arange(6, dtype=np.int64),
        "mean": np.array([0.4, 0.5, 0.6], dtype=np.float32),
        "std": np.array([0.1, 0.2, 0.3], dtype=np.float32),
    }


class Bomb:
    """A pickle that leaves a file behind when it is opened."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


@pytest.fixture
def bomb(tmp_path):
    return Bomb(tmp_path / "exploded")
