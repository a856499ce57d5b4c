"""Every registry names the nearest entry, and all of them, where a name is missing."""

import pytest

from gleak_lib.attacks import ATTACKS, DISTANCES
from gleak_lib.bottlenecks import BOTTLENECKS
from gleak_lib.datasets import DATASETS
from gleak_lib.defenses import DEFENSES
from gleak_lib.errors import UnknownNameError
from gleak_lib.models import MODELS

REGISTRIES = {
    "attack": ATTACKS,
    "bottleneck": BOTTLENECKS,
    "dataset": DATASETS,
    "defense": DEFENSES,
    "distance": DISTANCES,
    "model": MODELS,
}


@pytest.mark.parametrize("kind", sorted(REGISTRIES))
def test_a_missing_name_lists_what_there_is(kind):
    registry = REGISTRIES[kind]
    name = sorted(registry)[0]
    with pytest.raises(UnknownNameError, match=f"Unknown {kind} '{name}x'. Did you mean") as caught:
        registry[f"{name}x"]
    assert all(entry in str(caught.value) for entry in registry)
    assert f"{name}x" not in registry
    assert registry.get(f"{name}x") is None
