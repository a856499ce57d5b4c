"""Results as one tidy table: rows by image, columns by field, and nothing that is not in the results."""

import dataclasses

import numpy as np
import pytest
from toy_cells import Toy

from gleak_lib.attacks import ATTACKS
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.errors import StoreError, UnknownNameError
from gleak_lib.experiments import (
    AttackExperiment,
    LabelInferenceExperiment,
    NoiseSensitivityExperiment,
    Result,
    Results,
    TrainingExperiment,
    frame,
    run,
)
from gleak_lib.federated import Protocol

PLAIN = TrainingExperiment("digits", seed=3)
NOISY = TrainingExperiment("digits", bottlenecks=(PRECODE(3, k=4), CVB(1)), seed=4)


def attacked(training=PLAIN, victims=2, batch=1, **cell):
    count = victims * batch
    scores = {"ssim": [0.1 + 0.4 * (i % 2) for i in range(count)], "psnr": [None] + [7.0] * (count - 1)}
    scores["mse"] = [0.1] * count
    figures = {
        "scores": {"minmax": scores, "none": scores | {"ssim": [0.0] * count}},
        "loss": [float(v) for v in range(victims)],
        "steps": [9] * victims,
        "labels": list(range(count)),
        "entries_matched": 10,
        "trace": {"step": [1]},
    }
    return Result(
        AttackExperiment(training, victims=victims, batch_size=batch, **cell), figures, {"seconds": 2.5}
    )


def trained(accuracy=0.5, **cell):
    figures = {"accuracy": accuracy, "rounds": 4, "best_round": 3, "val_loss": [1.0, 0.5]}
    return Result(TrainingExperiment("digits", protocol=Protocol(rounds=5), **cell), figures, {})


def test_attacks_have_a_row_per_image():
    result = attacked(NOISY, victims=2, batch=3, seed=7, attack=ATTACKS["ignore"])
    table = frame([result])
    assert len(table) == 6
    ssim = result.figures["scores"]["minmax"]["ssim"]
    slow = [
        {"victim": v, "image": i, "true_label": 3 * v + i, "loss": v, "ssim": ssim[3 * v + i]}
        for v in range(2)
        for i in range(3)
    ]  # fmt: skip
    assert table[["victim", "image", "true_label", "loss", "ssim"]].to_dict("records") == slow
    assert table["success"].tolist() == [False, True] * 3  # 0.1 and 0.5
    assert np.isnan(table["psnr"][0]) and table["psnr"][1] == 7
    about = table.drop_duplicates("key").iloc[0]
    assert (about["kind"], about["dataset"], about["model"]) == ("attack", "digits", "cnn")
    assert (about["seed"], about["training_seed"], about["rounds"]) == (7, 4, 0)
    assert (about["attack"], about["defense"], about["training_defense"]) == ("ignore", "none", "none")
    assert about["bottlenecks"].split(" + ")[1].startswith("precode(") and "k=4" in about["bottlenecks"]
    assert (
        about["key"] == result.experiment.key and about["seconds"] == 2.5 and about["entries_matched"] == 10
    )
    assert "trace" not in table and "scores" not in table


def test_settings_of_attacks_are_columns_where_they_differ():
    ig = ATTACKS["ig"]
    one = frame([attacked(attack=ig)])
    assert "tv" not in one and "max_steps" not in one and "lr" not in one
    two = frame([attacked(attack=ig), attacked(attack=ig.replace(tv=0.5))])
    assert two["tv"].tolist() == [0.01] * 2 + [0.5] * 2 and "lr" not in two
    rounds = [attacked(rounds=r) for r in (0, 5)]
    assert frame(rounds)["rounds"].tolist() == [0, 0, 5, 5] and "protocol_rounds" not in frame(rounds)


def test_every_field_is_there():
    names = {f.name for cls in (AttackExperiment, TrainingExperiment) for f in dataclasses.fields(cls)}
    assert names - set(frame([attacked()])) == {"training", "protocol", "keep"}


def test_scalings_are_those_that_are_stored():
    assert frame([attacked()], scaling="none")["ssim"].tolist() == [0.0, 0.0]
    with pytest.raises(UnknownNameError, match="Unknown scaling 'max'"):
        frame([attacked()], scaling="max")


def test_keys_become_columns():
    groups = {("CVB", 1): attacked(), ("none", 2): [attacked(seed=1), attacked(seed=2)]}
    table = frame(groups, label=("network", "batch"))
    assert list(table)[:2] == ["network", "batch"]
    assert table["network"].tolist() == ["CVB"] * 2 + ["none"] * 4
    assert table["seed"].tolist() == [0, 0, 1, 1, 2, 2]
    assert frame({"a": attacked()})["label"].tolist() == ["a", "a"]
    with pytest.raises(ValueError, match="zip"):
        frame(groups, label=("network",))


def test_trainings_have_one_row_and_other_kinds_theirs():
    table = frame([trained(0.5), trained(0.25, seed=1)])
    assert table[["rounds", "rounds_run", "best_round", "accuracy", "seed"]].to_numpy().tolist() == [
        [5, 4, 3, 0.5, 0], [5, 4, 3, 0.25, 1]
    ]  # fmt: skip
    private = trained(seed=2)
    private = Result(private.experiment, {**private.figures, "epsilon": [2.5, 7.0, 3.0]}, {})
    epsilon = frame([trained(), private])["epsilon"]
    assert np.isnan(epsilon[0]) and epsilon[1] == 7  # of the client who is promised least
    labels = Result(
        LabelInferenceExperiment(PLAIN, victims=3), {"accuracy": [1.0, 0.5, 0.0], "classes": [1, 2, 1]}, {}
    )
    assert frame([labels])["accuracy"].tolist() == [1.0, 0.5, 0.0]
    figures = {
        "groups": ["stage1", "head"],
        "similarity": [[0.1, 0.2], [0.3, 0.4]],
        "sigma": [2.0],
        "mu": [3.0],
    }
    spread = frame([Result(NoiseSensitivityExperiment(NOISY, victims=2), figures, {})])
    assert spread["similarity"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert (
        spread["group"].tolist() == ["stage1"] * 2 + ["head"] * 2 and spread["victim"].tolist() == [0, 1] * 2
    )
    assert spread["sigma"].tolist() == [2.0] * 4 and spread["before_decoder"].all()  # there is no decoder
    mixed = frame([trained(), attacked()])
    assert mixed["kind"].tolist() == ["training", "attack", "attack"] and np.isnan(mixed["ssim"][0])


def test_results_know_their_experiments(store):
    cells = [Toy(3), Toy(1), Toy(3)]
    found = run(cells, store, progress=False)
    assert isinstance(found, Results) and len(found) == 3
    assert [result.experiment for result in found] == cells and found[1].experiment == Toy(1)
    assert found[Toy(1)].figures["square"] == 1 and found[Toy(3)] is found[2]
    assert found.frame()["square"].tolist() == [9, 1, 9]
    assert found.frame([Toy(1)])["square"].tolist() == found.frame(Toy(1))["square"].tolist() == [1]
    table = found.frame({"one": Toy(1), "both": [Toy(1), Toy(3)]}, label="what")
    assert table[["what", "square"]].to_numpy().tolist() == [["one", 1], ["both", 1], ["both", 9]]
    with pytest.raises(StoreError, match=r"There is no result of toy 2 among these 3"):
        found[Toy(2)]


def test_stores_give_frames_of_what_they_have(store):
    run([Toy(1), Toy(2)], store, progress=False)
    assert store.frame([Toy(2), Toy(5)])["square"].tolist() == [4]
    assert sorted(store.frame("toy")["square"]) == [1, 4]
    assert store.frame().empty
