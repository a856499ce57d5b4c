"""Estimates against sums made by hand."""

import pytest
from toy_cells import Toy

from gleak_lib.attacks import ATTACKS, LBFGS
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.experiments import AttackExperiment, TrainingExperiment, run
from gleak_lib.experiments.runner import cost
from gleak_lib.experiments.runner.cost import Costs, Machine, Measured
from gleak_lib.experiments.specs.communication_cost import CommunicationCostExperiment
from gleak_lib.experiments.specs.label_inference import LabelInferenceExperiment
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityExperiment
from gleak_lib.experiments.specs.reidentification import ReidentificationExperiment
from gleak_lib.federated import Protocol

IMAGES = {"digits": 1000}
HERE = Machine("this", 2)
IG = ATTACKS["ig"].replace(max_steps=10)
PRECODED = TrainingExperiment("digits", bottlenecks=(PRECODE(1, 8),))


def attack(victims=2, steps=10, training=None, batch_size=1, **changes):
    changed = IG.replace(max_steps=steps, **changes)
    return AttackExperiment(
        training or TrainingExperiment("digits"), attack=changed, victims=victims, batch_size=batch_size
    )


def measured(cell, seconds, machine=HERE):
    return Measured(cell.work(IMAGES), machine, seconds)


def costs(*cells, machine=HERE):
    return Costs(cells, machine, IMAGES)


@pytest.mark.parametrize(
    ("cell", "size"),
    [
        (attack(victims=3, steps=10), 30),
        (attack(victims=3, steps=10, batch_size=4), 120),
        (attack(victims=3, steps=10, restarts=2), 60),
        (attack(victims=3, steps=10, optimizer=LBFGS()), 600),
        (AttackExperiment(TrainingExperiment("digits", "mlp"), attack=ATTACKS["analytic"], victims=7), 7),
        (TrainingExperiment("digits", protocol=Protocol(rounds=3, local_epochs=2)), 6000),
        (TrainingExperiment("digits", protocol=Protocol(rounds=3, clients=100, clients_per_round=10)), 300),
        (TrainingExperiment("digits", protocol=Protocol(rounds=0)), 1000),
        (TrainingExperiment("unheard_of"), None),
        (LabelInferenceExperiment(TrainingExperiment("digits"), victims=8, batch_size=2), 16),
        (NoiseSensitivityExperiment(PRECODED, victims=8, draws=3), 24),
        (attack(victims=3, steps=10, training=TrainingExperiment("digits@64")), 120),
        (attack(victims=3, steps=10, training=TrainingExperiment("digits@32")), 30),
        (TrainingExperiment("digits@48", protocol=Protocol(rounds=2)), 4500),
        (LabelInferenceExperiment(TrainingExperiment("digits@16"), victims=8), 2),
        (
            NoiseSensitivityExperiment(
                TrainingExperiment("digits@64", bottlenecks=(PRECODE(1, 8),)), victims=8, draws=3
            ),
            96,
        ),
        (CommunicationCostExperiment(TrainingExperiment("digits"), victims=2, batch_size=8), 16),
        (ReidentificationExperiment(attack(victims=3, steps=10)), 30),
        (Toy(3.0), 1),
    ],
)
def test_size_of_a_cell(cell, size):
    assert cell.work(IMAGES).size == (None if size is None else pytest.approx(size))


def test_cost_grows_with_victims_images_and_steps():
    known = costs(measured(attack(victims=2, steps=10), 5.0))  # 0.25 s a step of one image
    assert known.seconds(attack(victims=4, steps=30)) == pytest.approx(30.0)
    assert known.seconds(attack(victims=1, batch_size=8)) == pytest.approx(20.0)


def test_cost_of_a_training_grows_with_rounds_and_images():
    one = TrainingExperiment("digits", protocol=Protocol(rounds=2))
    known = Costs([measured(one, 8.0)], HERE, {"digits": 1000, "mnist": 60_000})
    assert known.seconds(TrainingExperiment("mnist", protocol=Protocol(rounds=5))) == pytest.approx(1200.0)
    assert known.seconds(TrainingExperiment("unheard_of", protocol=Protocol(rounds=5))) is None
    assert (
        known.seconds(TrainingExperiment("digits", protocol=Protocol(rounds=0))) is None
    )  # it trains nothing


def test_the_narrowest_group_decides():
    plain, ignore = attack(), attack(layers="before-decoder", training=PRECODED)
    known = costs(measured(plain, 20.0), measured(ignore, 2.0))
    assert known.seconds(plain) == pytest.approx(20.0)
    assert known.seconds(ignore) == pytest.approx(2.0)
    assert known.seconds(attack(training=PRECODED)) == pytest.approx(2.0)  # same model, other layers
    other = TrainingExperiment("digits", bottlenecks=(PRECODE(2, 8),))
    assert known.seconds(attack(training=other)) == pytest.approx(11.0)  # same family: the median
    assert known.seconds(attack(training=TrainingExperiment("digits", "lenet"))) is None


def test_images_of_another_size_have_costs_of_their_own():
    large = TrainingExperiment("digits@64")
    known = costs(measured(attack(), 20.0), measured(attack(training=large), 50.0))
    assert known.seconds(attack()) == pytest.approx(20.0)
    assert known.seconds(attack(training=large)) == pytest.approx(50.0)
    assert known.seconds(attack(training=TrainingExperiment("digits@32"))) == pytest.approx(20.0)
    alone = costs(measured(attack(), 20.0))  # nothing of that size: by the pixels
    assert alone.seconds(attack(training=large)) == pytest.approx(80.0)
    back = costs(measured(attack(training=large), 80.0))
    assert back.seconds(attack()) == pytest.approx(20.0)


def test_those_nearest_in_size_decide_by_their_median():
    small = [measured(attack(victims=1, steps=1), 9.0)] * 4
    large = [measured(attack(victims=100, steps=10), seconds) for seconds in (1000, 2000, 1000, 9000, 1000)]
    known = costs(*small, *large)
    assert known.seconds(attack(victims=200)) == pytest.approx(2000.0)
    assert known.seconds(attack(victims=1, steps=2)) == pytest.approx(18.0)  # the large ones are too far


def test_a_group_of_far_smaller_sizes_is_asked_last():
    other = TrainingExperiment("digits", bottlenecks=(PRECODE(2, 8),))
    tiny = measured(attack(victims=1, steps=10, training=PRECODED), 60)  # compiled in most of that time
    large = measured(attack(victims=100, steps=10, training=other), 100)
    wanted = attack(victims=100, steps=10, training=PRECODED)
    groups, wider = wanted.work(IMAGES).groups, large.work.groups
    assert set(groups) & set(wider) and groups[0] not in wider
    assert costs(tiny, large).seconds(wanted) == pytest.approx(100)
    assert costs(tiny).seconds(wanted) == pytest.approx(6000)  # better than nothing


def test_only_this_device_and_the_same_threads_first():
    cell = attack()
    other, one = Machine("other", 2), Machine("this", 1)
    assert costs(measured(cell, 5.0, other)).seconds(cell) is None
    assert costs(measured(cell, 5.0, one)).seconds(cell) == pytest.approx(5.0)
    assert costs(measured(cell, 5.0, one), measured(cell, 3.0)).seconds(cell) == pytest.approx(3.0)


def test_compiled_cells_tell_of_compiled_ones():
    cell, compiled = attack(), Machine("this", 2, True)
    known = [measured(cell, 8.0), measured(attack(layers="before-decoder"), 3.0, compiled)]
    assert costs(*known).seconds(cell) == pytest.approx(8.0)
    assert costs(*known, machine=compiled).seconds(cell) == pytest.approx(3.0)
    assert costs(known[0], machine=compiled).seconds(cell) == pytest.approx(8.0)


def test_a_kind_costs_what_an_attack_costs_until_one_was_measured():
    cell = ReidentificationExperiment(attack(victims=4))
    assert costs(measured(cell.attack, 6.0)).seconds(cell) == pytest.approx(6.0)
    assert costs(measured(cell.attack, 6.0), measured(cell, 7.0)).seconds(cell) == pytest.approx(7.0)


def test_costs_come_from_stored_results(store):
    (result,) = run([attack(victims=2, steps=2)], store, device="cpu", progress=False)
    (store.folder / "attack" / "damaged.json").write_text("{")
    store.put_failure(Toy(1.0), ValueError("no"))
    known = cost.read([store.folder, store.folder / "nowhere"], cost.here("cpu"))
    expected = result.provenance["seconds"] * 10
    assert known.seconds(attack(victims=4, steps=10)) == pytest.approx(expected, rel=1e-4)
    assert known.images == {"digits": result.provenance["data"]["images"][0]}
    elsewhere = cost.read([store.folder], Machine("another device", 1))
    assert elsewhere.seconds(attack()) is None


def test_images_are_counted_whatever_their_size(store):
    one = TrainingExperiment("digits@48", protocol=Protocol(rounds=0))
    (result,) = run([one], store, device="cpu", progress=False)
    assert result.provenance["data"]["name"] == "digits@48"
    known = cost.read([store.folder], cost.here("cpu"))
    assert known.images == {"digits": result.provenance["data"]["images"][0]}
    assert known.seconds(TrainingExperiment("digits@64", protocol=Protocol(rounds=0))) is not None
