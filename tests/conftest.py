"""Every model of the registry at a size that tests can afford; all parts of the architecture are there."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from gleak_lib import models
from gleak_lib.experiments import Store

# a busy machine is no fault of a test
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

SMALL: dict[str, dict] = {
    "cnn": {"input_shape": (2, 29, 29)},
    "lenet": {"input_shape": (2, 8, 8)},
    "lenet4": {"input_shape": (2, 8, 8)},
    "convnet8": {"input_shape": (2, 9, 9), "width": 2},
    "mcmahan_cnn": {"input_shape": (2, 8, 8), "hidden": 6},
    "mlp": {"input_shape": (2, 4, 4), "width": 8},
    "dmlp": {"input_shape": (2, 4, 4), "width": 8},
    "resnet18": {"input_shape": (2, 16, 16), "width": 2},
    "vit": {"input_shape": (2, 8, 8), "hidden": 16, "heads": 4, "mlp": 8, "depth": 2},
}


@pytest.fixture(scope="session")
def small() -> Callable[..., models.StagedModel]:
    """`small(name, **options)` builds a small version of a model: three classes, seed 0."""
    return lambda name, **options: models.build(
        name, **({"num_classes": 3, "seed": 0} | SMALL[name] | options)
    )


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path / "results", tmp_path / "weights")


@pytest.fixture
def log(tmp_path):
    """A file that toy experiments write to as they run."""
    return str(tmp_path / "log.txt")
