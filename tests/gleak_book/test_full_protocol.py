"""The full protocol of the paper's tables: what it asks for, and how its images are prepared."""

import pytest
from gleak_book import beside, full_protocol, paper_experiments, source_form

from gleak_lib.experiments import AttackExperiment, TrainingExperiment

FOUND = full_protocol.experiments()


def of(kind, found=FOUND):
    return [experiment for experiment in found if isinstance(experiment, kind)]


def test_all_is_of_the_full_protocol_in_the_form_of_the_papers_code():
    for experiment in of(AttackExperiment):
        assert paper_experiments.attack_extent(experiment) == "full"
        small = experiment.training.dataset in full_protocol.SMALL
        assert source_form.attack_remarks(experiment) == (source_form.ANYBODYS,) * small
    for experiment in of(TrainingExperiment):
        assert experiment.protocol.rounds == 300
        assert source_form.training_remarks(experiment) == ()
    seeds = [experiment.seed for experiment in of(TrainingExperiment)]
    assert seeds.count(0) == seeds.count(1) == seeds.count(2) == len(seeds) / 3


def test_each_row_finds_its_own_again():
    rows = beside.printed_rows()
    attacks = {beside.whole_attack(experiment) for experiment in of(AttackExperiment)}
    assert attacks == {row.attacked for row in rows if row.attacked}
    trained = {beside.whole_training(experiment) for experiment in of(TrainingExperiment)}
    assert trained == {row.trained for row in rows if row.trained}


def test_the_papers_victims_are_taken_where_they_can_be_had():
    (experiment,) = of(AttackExperiment, full_protocol.experiments("X: mnist, cnn, none"))[:1]
    assert experiment.training.dataset == "mnist_victims" and experiment.client is None
    (experiment,) = of(AttackExperiment, full_protocol.experiments("XII: retinamnist, cnn, none"))
    assert experiment.training.dataset == "retinamnist" and experiment.client is None  # a client has too few
    (experiment,) = of(AttackExperiment, full_protocol.experiments("XII: pneumoniamnist, cnn, none"))
    assert experiment.training.dataset == "pneumoniamnist" and experiment.client == 0


def test_one_channel_is_for_attacks_on_gray_sets():
    found = full_protocol.experiments(form="gray")
    assert found and all(e.training.dataset.endswith("@gray") for e in of(AttackExperiment, found))
    assert not of(TrainingExperiment, found)


def test_bits_are_for_attacks_behind_precode():
    found = full_protocol.experiments("X: cifar10", form="bits")
    bottlenecks = [e.training.bottlenecks[0] for e in of(AttackExperiment, found)]
    assert [one.k for one in bottlenecks] == [8, 16, 32, 64, 128, 256, 512]
    assert {one.kl for one in bottlenecks} == {"bits"}


def test_fewer_victims_keep_steps_and_stop_rule_and_are_no_full_protocol():
    (whole,) = of(AttackExperiment, full_protocol.experiments("XI: cifar10, vit, none"))
    (few,) = of(AttackExperiment, full_protocol.experiments("XI: cifar10, vit, none", victims=16))
    assert few.attack == whole.attack and (few.victims, whole.victims) == (16, 128)
    assert paper_experiments.attack_extent(few) == "reduced"
    assert beside.whole_attack(few) == beside.whole_attack(whole)


def test_parts_by_name_and_kind():
    assert set(full_protocol.experiments("XII: retina", ["trainings"]).values()) == {
        "XII: retinamnist, cnn, none, ig",
        "XII: retinamnist, cnn, cvb, P=1, k=3, s=1/2, β=1e-3, ig+ignore",
    }
    assert full_protocol.experiments("no such row") == {}


def test_the_command_lists_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GLEAK_RESULTS", str(tmp_path))
    full_protocol.main(["--list", "--only", "XII: retina", "--kind", "attacks"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.startswith("missing attack") for line in lines)
    with pytest.raises(SystemExit):
        full_protocol.main(["--kind", "pictures"])


def test_the_command_computes_what_it_lists_and_passes_on_how(tmp_path, monkeypatch):
    monkeypatch.setenv("GLEAK_RESULTS", str(tmp_path))
    calls = []
    monkeypatch.setattr(full_protocol, "run", lambda *args, **options: calls.append((*args, options)))
    full_protocol.main(["--only", "XII: retina", "--time-limit", "2", "--compile"])
    full_protocol.main(["--only", "XII: retina", "--kind", "trainings"])
    full_protocol.main(["--only", "XII: retina", "--kind", "attacks", "--victims", "16"])
    (asked, store, options), (trained, _, plain), (few, _, _) = calls
    assert few == list(full_protocol.experiments("XII: retina", ["attacks"], victims=16))
    assert asked == list(full_protocol.experiments("XII: retina")) and store.folder == tmp_path
    assert trained == of(TrainingExperiment, asked)
    assert options == {"time_limit": 120.0, "compile": True}
    assert plain == {"time_limit": None, "compile": False}
