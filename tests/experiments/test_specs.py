"""Keys, round trips, and what makes two experiments the same."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import pytest

from gleak_lib.attacks import ATTACKS, Attack, TotalVariation
from gleak_lib.attacks.part import Part
from gleak_lib.bottlenecks import CVB, PRECODE, Bottleneck
from gleak_lib.defenses import DEFENSES, DP, Compression, Defense, Gaussian, chain
from gleak_lib.errors import GleakError, ParameterError, StoreError
from gleak_lib.experiments import AttackExperiment, Store, TrainingExperiment, encoding, from_json, run
from gleak_lib.experiments.specs.on_weights import needed_trainings
from gleak_lib.federated import Protocol

TRAINING = TrainingExperiment(
    "digits",
    bottlenecks=(PRECODE(2, k=16), CVB(1, kl="exact")),
    protocol=Protocol(rounds=30, clients=4, lr=0.01),
    seed=3,
)
ATTACK = AttackExperiment(TRAINING, rounds=5, attack=ATTACKS["ignore"].replace(layers=("stage1",)), victims=4)


@pytest.mark.parametrize("cell", [TRAINING, ATTACK, AttackExperiment(TRAINING)])
def test_json_round_trip(cell):
    again = from_json(json.loads(json.dumps(encoding.encode(cell))))
    assert again == cell and hash(again) == hash(cell) and again.key == cell.key


def test_key_is_the_hash_of_what_is_no_default():
    # Written out by hand: a change of this form would orphan every published result.
    protocol = '{"clients":2,"rounds":3,"type":"Protocol"}'
    text = f'{{"dataset":"digits","protocol":{protocol},"seed":1,"type":"TrainingCell"}}'
    cell = TrainingExperiment("digits", protocol=Protocol(rounds=3, clients=2), seed=1)
    assert cell.key == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_key_is_the_same_in_another_process():
    code = "from gleak_lib.experiments import *; print(AttackExperiment(TrainingExperiment('digits')).key)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == AttackExperiment(TrainingExperiment("digits")).key


def test_new_setting_with_default_keeps_old_keys(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Setting:
        a: int = 1

    old = Setting

    monkeypatch.setitem(encoding.TYPES, "Setting", Setting)
    before = encoding.key((old(), old(2)))

    @dataclasses.dataclass(frozen=True)
    class Setting:
        a: int = 1
        new: float = 0.5

    monkeypatch.setitem(encoding.TYPES, "Setting", Setting)
    assert encoding.key((Setting(), Setting(2))) == before
    assert encoding.key((Setting(), Setting(2, new=0.6))) != before
    assert encoding.decode({"type": "Setting", "a": 2}) == Setting(2)


@pytest.mark.parametrize(
    "change",
    [
        {"victims": 5},
        {"batch_size": 2},
        {"victim_seed": 1},
        {"seed": 1},
        {"rounds": 6},
        {"share_labels": False},
        {"share_noise": True},
        {"mode": "eval"},
        {"defense": Gaussian()},
        {"attack": ATTACKS["ig"]},
        {"attack": ATTACKS["ignore"].replace(tv=0.1)},
        {"training": dataclasses.replace(TRAINING, seed=4)},
        {"training": dataclasses.replace(TRAINING, bottlenecks=(PRECODE(2, k=16),))},
        {"training": dataclasses.replace(TRAINING, dataset="mnist")},
    ],
)
def test_every_value_decides_the_key(change):
    changed = dataclasses.replace(ATTACK, **change)
    assert changed != ATTACK and changed.key != ATTACK.key


def test_equal_numbers_have_equal_keys():
    cells = [TrainingExperiment("digits", bottlenecks=CVB(beta=beta, scale=1)) for beta in (1, 1.0)]
    assert cells[0] == cells[1] and cells[0].key == cells[1].key


def test_order_of_options_and_bottlenecks_does_not_matter():
    one = TrainingExperiment("digits", options=(("a", 1), ("b", 2)), bottlenecks=(PRECODE(1), CVB(2)))
    other = TrainingExperiment("digits", options={"b": 2, "a": 1}, bottlenecks=[CVB(2), PRECODE(1)])
    assert one == other and one.key == other.key


def test_fresh_weights_do_not_depend_on_the_protocol():
    cells = {
        AttackExperiment(dataclasses.replace(TRAINING, protocol=protocol, keep=keep))
        for protocol, keep in ((Protocol(), ()), (Protocol(rounds=7, lr=0.1, clients=3), (5,)))
    }
    assert len(cells) == 1


def test_weights_after_r_rounds_depend_on_what_happens_until_then_only():
    def cell(**changes):
        return AttackExperiment(
            dataclasses.replace(TRAINING, protocol=TRAINING.protocol.replace(**changes)), rounds=5
        )

    assert cell(rounds=300) == cell(rounds=5) == cell(patience=3)
    assert len({cell(), cell(lr=0.1), cell(clients=5), cell(local_epochs=2), cell(halve_lr_after=2)}) == 5


def test_weights_depend_on_evaluations_only_where_they_halve_the_learning_rate():
    often = dataclasses.replace(TRAINING, protocol=Protocol(rounds=9, evaluate_every=1))
    seldom = dataclasses.replace(TRAINING, protocol=Protocol(rounds=12, evaluate_every=4))
    assert often.at(3) == seldom.at(3)
    halved = {"rounds": 12, "halve_lr_after": 4}
    pair = [dataclasses.replace(TRAINING, protocol=Protocol(evaluate_every=e, **halved)) for e in (1, 4)]
    assert pair[0].at(3) != pair[1].at(3)


def test_keep_is_no_part_of_a_training():
    kept = dataclasses.replace(TRAINING, keep=(1, 2))
    assert kept == TRAINING and kept.key == TRAINING.key and "keep" not in encoding.encode(kept)


def test_needed_trainings_groups_rounds_of_one_trajectory():
    other = dataclasses.replace(TRAINING, seed=9)
    cells = [
        AttackExperiment(TRAINING, rounds=2),
        AttackExperiment(TRAINING, rounds=7, seed=1),
        AttackExperiment(TRAINING),
        AttackExperiment(other, rounds=2),
    ]
    assert needed_trainings(cells) == {TRAINING.at(7): (2, 7), other.at(2): (2,)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"victims": 0}, "victims must be an integer of at least 1, got 0"),
        ({"rounds": -1}, "rounds must be an integer of at least 0"),
        ({"batch_size": 1.5}, "batch_size must be an integer"),
        ({"seed": True}, "seed must be an integer, got True"),
    ],
)
def test_bad_values(changes, message):
    with pytest.raises(ParameterError, match=message):
        AttackExperiment(TRAINING, **changes)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(value):
    with pytest.raises(ParameterError, match="finite numbers only"):
        encoding.encode(TrainingExperiment("digits", options={"x": value}))


def test_only_storable_values():
    with pytest.raises(ParameterError, match=r"cannot hold .*object"):
        encoding.encode(TrainingExperiment("digits", options={"x": object()}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"type": "Popen", "args": ["ls"]}, "no storable class 'Popen'"),
        ({"a": 1}, "no storable class None"),
        ({"type": "Attack", "color": 1}, "cannot make Attack"),
        ({"type": "Attack", "tv": -1}, "tv must not be negative"),
        ({"type": "Protocol"}, "no experiment but Protocol"),
        (3, "no experiment but int"),
        (
            {"type": "TrainingCell", "dataset": "digits", "defense": [["dq", []]]},
            "defense 'dq'. Did you mean",
        ),
        ({"type": "TrainingCell", "dataset": "digits", "defense": [["dp"]]}, "cannot make TrainingCell"),
        ({"type": "TrainingCell", "dataset": "digits", "defense": [3]}, "cannot make TrainingCell"),
    ],
)
def test_from_json_makes_cells_only(data, message):
    with pytest.raises(StoreError, match=message):
        from_json(data)


def test_descriptions_tell_cells_apart():
    assert TRAINING.architecture == 'cnn+cvb(1, kl="exact")+precode(2, k=16)'
    assert "weights after 5 rounds, 4 victims" in ATTACK.describe()
    masked = AttackExperiment(TRAINING, attack=Attack().replace(exclude=("head",)))
    assert "(layers: all but head)" in masked.describe()
    assert "fresh weights" in AttackExperiment(TRAINING, attack=Attack()).describe()


def test_mode_and_defense_leave_old_keys_alone():
    assert dataclasses.replace(ATTACK, mode="train", defense=None).key == ATTACK.key
    stored = encoding.encode(ATTACK)
    del stored["mode"], stored["defense"]
    assert from_json(stored) == ATTACK


def test_a_defense_in_training_stays_with_the_weights_and_leaves_old_keys_alone():
    assert dataclasses.replace(TRAINING, defense=()).key == TRAINING.key
    stored = encoding.encode(TRAINING)
    del stored["defense"]
    assert from_json(stored) == TRAINING
    noisy, same = (dataclasses.replace(TRAINING, defense=given) for given in (Gaussian(0.1), [Gaussian()]))
    assert noisy == same and noisy.key == same.key != TRAINING.key
    assert from_json(json.loads(json.dumps(encoding.encode(noisy)))) == noisy
    assert "30 rounds with gaussian(), seed 3" in noisy.describe()
    assert noisy.at(5).defense == noisy.defense and noisy.at(0) == TRAINING.at(0)
    attack = dataclasses.replace(ATTACK, training=noisy)
    assert attack.training == noisy.at(5) and attack.key != ATTACK.key and attack.defense == chain()
    assert "weights after 5 rounds with gaussian(), 4 victims" in attack.describe()
    assert needed_trainings([attack, ATTACK]) == {noisy.at(5): (5,), TRAINING.at(5): (5,)}


def test_defenses_are_stored_as_pairs_with_their_main_options():
    both = dataclasses.replace(ATTACK, defense=(Compression(0.9), Gaussian(1.0, on="update")))
    pairs = [["compression", [["p", 0.9]]], ["gaussian", [["on", "update"], ["std", 1.0]]]]
    assert encoding.encode(both)["defense"] == pairs
    assert from_json(json.loads(json.dumps(encoding.encode(both)))) == both
    assert 'defense compression() + gaussian(std=1, on="update")' in both.describe()
    assert both.defense == chain(Compression(), Gaussian(1.0, on="update")) and not ATTACK.defense
    assert both.key != dataclasses.replace(both, defense=both.defense.parts[::-1]).key
    stored = encoding.encode(both) | {"defense": [["prune-small", []], ["average-noise", []]][:1]}
    assert str(from_json(stored).defense) == "prune_small()"


ALWAYS_STORED = {
    "dp": ("noise_multiplier",),
    "gaussian": ("std",),
    "laplace": ("scale",),
    "compression": ("p",),
    "quantize": ("bits",),
    "clip": ("bound",),
    "prune_small": ("p",),
    "soteria": ("p",),
    "pld": ("p",),
    "average_noise": ("draws",),
    "slices": (),
}


def test_every_defense_says_what_is_always_stored():
    assert set(ALWAYS_STORED) == set(DEFENSES)
    for name, options in ALWAYS_STORED.items():
        cell = dataclasses.replace(ATTACK, defense=DEFENSES[name]())
        assert [option for option, _ in encoding.encode(cell)["defense"][0][1]] == list(options)
        assert from_json(encoding.encode(cell)) == cell


def test_results_of_dp_are_found_under_two_keys():
    cell = dataclasses.replace(ATTACK, defense=DP(noise_multiplier=0.01))
    spelled = encoding.encode(cell, full=False) | {
        "defense": [["dp", [["max_grad_norm", 20], ["noise_multiplier", 0.01]]]]
    }
    text = json.dumps(spelled, sort_keys=True, separators=(",", ":"))
    former = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert encoding.keys(cell) == (cell.key, former) and encoding.keys(ATTACK) == (ATTACK.key,)
    assert len(encoding.keys(dataclasses.replace(ATTACK, defense=DP(1.0)))) == 1


@dataclasses.dataclass(frozen=True)
class Halved(Defense):
    times: int = 1

    def transform(self, grads, generator):
        return {name: g / 2**self.times for name, g in grads.items()}


@dataclasses.dataclass(frozen=True)
class Narrow(Bottleneck):
    k: int = 2

    def build(self, shape):
        return PRECODE(k=self.k).build(shape)


class Noisy(Defense):
    """Not as it should be: the deviation is no field, so that two of them are equal."""

    def __init__(self, std=0.1):
        self.std = std


class NarrowBy(Narrow):
    def __init__(self, width):
        super().__init__(1)
        self.width = width


class Smooth(TotalVariation):
    def __init__(self, power):
        super().__init__(0.1)
        self.power = power


class Bare(Part):
    """Derives from no dataclass at all."""

    def __call__(self, images):
        return images.flatten(1).sum(1)


class Subclass(Halved):
    """Without fields and constructor it is as good as the dataclass that it derives from."""


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("Noisy", dataclasses.replace(ATTACK, defense=Noisy(1.0))),
        ("Noisy", dataclasses.replace(TRAINING, defense=(Compression(), Noisy(1.0)))),
        ("NarrowBy", dataclasses.replace(TRAINING, bottlenecks=NarrowBy(3))),
        ("Smooth", AttackExperiment(TRAINING, attack=ATTACKS["ig"].replace(priors=(Smooth(3),)))),
        ("Bare", AttackExperiment(TRAINING, attack=ATTACKS["ig"].replace(priors=(Bare(),)))),
    ],
    ids=["defense", "chain", "bottleneck", "prior", "no dataclass"],
)
def test_settings_that_are_no_fields_are_refused(name, cell, tmp_path):
    message = f"cannot hold a {name}, .* write it as a frozen dataclass, @dataclass.frozen=True.*each setting"
    for use in (encoding.encode, encoding.key, Store(tmp_path).get):
        with pytest.raises(ParameterError, match=message):
            use(cell)


def test_a_subclass_without_fields_and_constructor_stands_in_cells():
    cell = dataclasses.replace(ATTACK, defense=Subclass(2))
    assert from_json(json.loads(json.dumps(encoding.encode(cell)))) == cell
    assert cell.key != dataclasses.replace(ATTACK, defense=Halved(2)).key


def test_a_sweep_over_settings_that_are_no_fields_runs_nothing(tmp_path):
    cells = [dataclasses.replace(ATTACK, defense=Noisy(std)) for std in (1e-6, 10.0)]
    with pytest.raises(ParameterError, match="write it as a frozen dataclass"):
        run(cells, Store(tmp_path / "results", tmp_path / "cache"), device="cpu", progress=False)
    assert not (tmp_path / "results").exists()


def test_classes_from_outside_stand_in_cells():
    training = dataclasses.replace(TRAINING, bottlenecks=Narrow(1, k=3), defense=(Halved(2), Compression()))
    halved = {"type": "Halved", "on": "step", "times": 2}
    assert encoding.encode(training)["defense"] == [halved, ["compression", [["p", 0.9]]]]
    assert encoding.encode(training)["bottlenecks"][0]["type"] == "Narrow"
    assert from_json(json.loads(json.dumps(encoding.encode(training)))) == training
    assert training.key not in (TRAINING.key, dataclasses.replace(training, defense=Compression()).key)
    assert "cnn+narrow(1, k=3)" in training.describe() and "halved(times=2) + comp" in training.describe()
    stored = json.loads(json.dumps(encoding.encode(training)).replace("Halved", "Quartered"))
    with pytest.raises(StoreError, match="no storable class 'Quartered': import the module that defines it"):
        from_json(stored)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "evel"}, "mode 'evel'. Did you mean 'eval'"),
        ({"defense": "gaussian"}, r"defenses must be Defense \| None, got 'gaussian'"),
        ({"defense": Gaussian}, "got Gaussian itself: call it"),
        ({"defense": (("gaussian", {}),)}, "got tuple of str, dict"),
    ],
)
def test_what_modes_and_defenses_are_refused(changes, message):
    with pytest.raises(GleakError, match=message):
        dataclasses.replace(ATTACK, **changes)
