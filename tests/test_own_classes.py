"""A defense and a bottleneck of a user's own, as the documentation writes them, go wherever ours go."""

import json

import pytest
import torch
from programs import blocks, execute

from gleak_lib import attacks, bottlenecks, client_setup, federated, models
from gleak_lib.defenses import Compression, chain
from gleak_lib.experiments import AttackExperiment, Store, TrainingExperiment, encoding, from_json, run

SMALL = {"input_shape": (1, 32, 32), "num_classes": 3}


def defined(title, name):
    """A class that a program of the documentation defines."""
    code, *_ = blocks("programs.md", title)
    return execute(code[: code.index("\n\n\n", code.index(f"class {name}"))])[name]


SignOnly = defined("A defense of your own", "SignOnly")
Squashed = defined("A bottleneck of your own", "Squashed")


def test_an_own_defense_is_applied_by_clients_and_in_training():
    model = models.build("cnn", **SMALL, seed=0)
    images, labels = torch.rand(8, 1, 32, 32), torch.arange(8) % 3
    seen = attacks.observe(model, images[:2], labels[:2], defense=SignOnly(0.5))
    assert all(set(g.unique().tolist()) <= {-0.5, 0.0, 0.5} for g in seen.gradients.values())
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    protocol = federated.Protocol(rounds=1, clients=1, batch_size=100, optimizer="sgd", lr=1.0)
    history = federated.train(
        model, (images, labels), protocol, defense=SignOnly(0.25), generator=torch.Generator().manual_seed(0)
    )
    for name, p in before.items():  # one step
        assert set((history.last_state[name] - p).abs().mul(4).round().unique().tolist()) <= {0.0, 1.0}


def test_an_own_bottleneck_stands_in_models():
    model = models.build("cnn", **SMALL, bottlenecks=Squashed(2, k=4, beta=0.05), seed=0)
    x = torch.rand(5, 1, 32, 32)
    found = model.run(x)
    by_hand = model.get_submodule("bottleneck2")(model.stage2(model.stage1(x)), found.noise[0])
    assert [n.shape for n in found.noise] == [(5, 4)]
    torch.testing.assert_close(found.kl, 0.05 * by_hand.kl)
    plain = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten())
    inserted = bottlenecks.insert(plain, "0", Squashed(), input_shape=(1, 8, 8))
    assert inserted.noise_shapes == ((8,),)
    seen = attacks.observe(model, torch.rand(2, 1, 32, 32), torch.tensor([0, 1]))
    found = attacks.invert(seen, attacks.ATTACKS["ignore"].replace(max_steps=2))
    assert found.images.shape == (2, 1, 32, 32)
    with pytest.raises(NotImplementedError, match="Bottleneck must define build"):
        bottlenecks.Bottleneck().build((3,))


def test_both_stand_in_experiments_and_in_texts(tmp_path):
    setup = client_setup.parse("squashed(1, k=2) + sign_only(scale=1/4) + compression()")
    assert setup.bottlenecks == (Squashed(1, k=2),)
    assert setup.defense == chain(SignOnly(0.25), Compression())
    assert str(setup) == "squashed(1, k=2) + sign_only(scale=0.25) + compression()"
    cell = AttackExperiment(
        TrainingExperiment("digits", bottlenecks=setup.bottlenecks),
        attack=attacks.ATTACKS["ignore"].replace(max_steps=2),
        victims=2,
        defense=setup.defense,
    )
    store = Store(tmp_path / "results", tmp_path / "cache")
    (result,) = run([cell], store, device="cpu", progress=False)
    assert len(result.figures["loss"]) == 2 and store.get(cell) is not None
    stored = json.loads(store.path(cell).read_text())["cell"]
    assert stored["defense"][0] == {"type": "SignOnly", "on": "step", "scale": 0.25}
    assert from_json(stored) == cell and from_json(encoding.encode(cell)).key == cell.key
    assert "cnn+squashed(1, k=2), fresh" in cell.describe()
