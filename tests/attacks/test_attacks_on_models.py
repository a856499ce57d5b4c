"""Every attack of the registry on every model of the registry, at small sizes."""

import pytest
import torch

from gleak_lib.attacks import ATTACKS, invert, observe
from gleak_lib.bottlenecks import CVB
from gleak_lib.errors import ParameterError
from gleak_lib.models import MODELS

CLOSED = {"analytic": {"mlp", "dmlp"}, "patches": {"vit"}}  # models that each closed form can read
REFUSAL = {"analytic": "given the pixels", "patches": "embeds patches"}


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("bottlenecks", [(), CVB(1, 3)], ids=["plain", "cvb"])
@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_every_attack_on_every_model(name, model, bottlenecks, small):
    network = small(model, bottlenecks=bottlenecks).eval()  # BatchNorm knows no statistics of one image
    images = torch.rand(2, *network.input_shape, generator=rng(0))
    labels = torch.tensor([0, 2])
    attack = ATTACKS[name]
    if attack.kind != "closed-form":
        attack = attack.replace(max_steps=2, **({"inner_steps": 2} if attack.kind == "lbfgs" else {}))
    told = {"share_noise": name == "oracle"}
    observation = observe(network, images, labels, generator=rng(), mean=0.5, std=0.25, **told)
    if model not in CLOSED.get(name, {model}):
        with pytest.raises(ParameterError, match=REFUSAL[name]):
            invert(observation, attack)
        return
    found, again = (invert(observation, attack, generator=rng()) for _ in range(2))
    assert found.images.shape == images.shape
    assert 0 <= found.images.min() <= found.images.max() <= 1
    assert found.loss.isfinite().all()
    assert torch.equal(found.images, again.images), "same seed, same result"
    if name in CLOSED:
        torch.testing.assert_close(found.images, images, atol=1e-3, rtol=0)
