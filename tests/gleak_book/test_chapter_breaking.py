"""The plan of "Breaking the bottleneck": its cells at every profile, its tables from made-up results."""

import numpy as np
import pytest
import torch
from gleak_book import breaking, breaking_report

from gleak_lib import plots
from gleak_lib.attacks import ATTACKS, Attack, Given, Optimize, Resample
from gleak_lib.bottlenecks import CVB, PRECODE
from gleak_lib.chapters import PROFILES, experiments, profiles
from gleak_lib.defenses import Clip
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackCell, Result, from_json, tables
from gleak_lib.experiments.encoding import encode
from gleak_lib.experiments.specs.noise_sensitivity import NoiseSensitivityCell

NAME = "08_breaking_the_bottleneck"
CHOSEN = "CVB P=1, k=5, s=1/2, β=1e-1"
CHAPTER = {
    "profile": "quick",
    "dataset": "digits",
    "model": "cnn",
    "networks": ["none", "cvb(1)"],
    "grid": ["cvb(1)", "precode(1)"],
    "trained": ["cvb(1)", "none"],
    "compared": ["precode(1)"],
    "rounds": [1, 2],
    "training_rounds": 2,
    "trained_steps": 30,
    "sets": ["retinamnist", "bloodmnist_victims", "digits"],
    "architectures": ["vit"],
    "architecture_networks": ["cvb(1, kernel_size=3)"],
    "architecture_victims": [3],
    "architecture_steps": [50],
    "patch_networks": ["none", "cvb(1, kernel_size=3)"],
    "patch_rounds": [0, 2],
    "patch_training_set": "retinamnist",
    "batch_sizes": [2],
    "image_sizes": [40],
    "victims": 4,
    "grid_victims": 2,
    "steps": 20,
    "grid_steps": 10,
    "plateau": 5,
    "seeds": 2,
    "seed": 0,
    "victim_seed": 1,
    "scaling": "minmax",
    "examples": 2,
}


@pytest.mark.parametrize("profile", PROFILES)
def test_the_cells_of_every_profile(profile):
    values = profiles.load(NAME, profile)
    cells = experiments(NAME, values)
    again = experiments(NAME, values)
    assert [c.key for c in cells] == [c.key for c in again]
    assert len({c.key for c in cells}) == len(cells)
    assert all(from_json(encode(c)) == c for c in cells)


def test_each_network_meets_the_attacks_that_suit_it():
    plain, behind = breaking.first(CHAPTER)
    assert list(plain.attacks) == ["IG", "joint"]
    assert list(behind.attacks) == [
        "IG", "Ignore", "expectation", "joint", "joint, layer by layer", "noise known"
    ]  # fmt: skip
    cells = {name: cells[0] for name, cells in behind.attacks.items()}
    assert {c.training.bottlenecks for c in cells.values()} == {(CVB(1, 5, 0.5, beta=0.1),)}
    assert {name for name, c in cells.items() if c.share_noise} == {"noise known"}
    few = {name: (c.victims, c.attack.schedule.max_steps) for name, c in cells.items()}
    assert few.pop("expectation") == (2, 10)  # its four draws cost four times as much
    assert set(few.values()) == {(4, 20)}
    assert cells["Ignore"].attack == ATTACKS["ignore"].replace(max_steps=20, drop_after=5)
    assert cells["joint"].attack == ATTACKS["joint"].replace(max_steps=20)
    assert [c.seed for c in behind.attacks["joint"]] == [0, 1]


def test_trained_weights_and_what_is_compared_with_them_at_the_last():
    found = breaking.trained(CHAPTER)
    assert {r: [line.label for line in lines] for r, lines in found.items()} == {
        1: [CHOSEN, "none"],
        2: ["PRECODE P=1, K=8", CHOSEN, "none"],
    }
    behind, plain = found[1]
    assert list(plain.attacks) == ["IG", "IG, layer by layer"]
    assert list(behind.attacks) == [
        "IG", "IG, layer by layer", "joint, layer by layer", "noise known, layer by layer"
    ]  # fmt: skip
    cells = {name: cells[0] for name, cells in behind.attacks.items()}
    assert {(c.rounds, c.victims, c.attack.schedule.max_steps) for c in cells.values()} == {(1, 2, 30)}
    assert [c.attack.noise for c in cells.values()] == [Resample(), Resample(), Optimize(), Given()]
    assert {c.attack.match.distance for name, c in cells.items() if name != "IG"} == {"layerwise"}
    lines = breaking.silent(CHAPTER)
    assert [line.label for line in lines] == ["PRECODE P=1, K=8", CHOSEN]
    for line in lines:
        (cells,) = line.attacks.values()
        assert {(c.rounds, c.noise_scale, c.share_noise) for c in cells} == {(2, 0.0, True)}
    assert {key: len(cells) for key, cells in breaking.sigmas(CHAPTER).items()} == {
        **{("PRECODE P=1, K=8", r): 2 for r in (0, 2)},
        **{(CHOSEN, r): 2 for r in (0, 1, 2)},
    }


def test_variants_change_one_thing_each():
    found = {name: cells[0] for name, cells in breaking.variants(CHAPTER).items()}
    joint = ATTACKS["joint"].replace(max_steps=10)
    assert found["as above"].attack == joint
    has = joint.settings
    changed = {
        name: {f for f in has if cell.attack.settings[f] != has[f]} - {"name"} for name, cell in found.items()
    }
    assert changed == {
        "as above": set(),
        "prior ½‖ε‖²": {"noise_prior"},
        "z = μ + σε is the unknown": {"noise_form"},
        "layers weighted by their variance over ε": {"weighting"},
        "layer by layer": {"distance", "tv"},
        "Ignore's layers only": {"layers"},
        "two updates of the same image": set(),
        "four updates of the same image": set(),
    }
    assert [c.updates for c in found.values()] == [1] * 6 + [2, 4]


def test_image_sets_have_the_papers_bottleneck():
    retina, blood, digits = breaking.sets(CHAPTER).values()
    assert retina.label == "CVB P=1, k=3, s=1/2, β=1e-3"
    assert blood.label == "CVB P=1, k=5, s=1/2, β=1e-1"
    assert digits.label == CHOSEN  # the papers know nothing of them
    assert {c.dataset_name for c in blood.attacks["joint"]} == {"bloodmnist_victims"}
    assert breaking.chosen_for("retinamnist", CHAPTER | {"model": "vit"}).label == CHOSEN


def test_larger_models():
    (model, plain), (_, behind) = breaking.architectures(CHAPTER)
    assert (model, list(plain.attacks), list(behind.attacks)) == ("vit", ["IG"], ["Ignore", "joint"])
    cell = behind.attacks["Ignore"][0]
    assert (cell.training.model, cell.victims) == ("vit", 3)
    assert (cell.attack.schedule.max_steps, cell.attack.schedule.drop_after) == (50, 5)


def test_closed_forms_on_gradients_that_were_disturbed():
    found = breaking.patches(CHAPTER)
    behind = "CVB P=1, k=3, s=1/2, β=1e-1"
    assert set(found) == {
        *((label, 0, name) for label in ("none", behind) for name in breaking.SHARED),
        *((label, 2, "as they are") for label in ("none", behind)),
    }
    cell = found[behind, 2, "as they are"][0]
    assert (cell.dataset_name, cell.training.protocol.rounds, cell.victims) == ("retinamnist", 2, 4)
    assert found["none", 0, "clipped to length 1"][0].defense == Clip(1.0)


def test_what_makes_it_harder():
    found = {name: cells[0] for name, cells in breaking.limits(CHAPTER).items()}
    easy, read, batch, layers, larger = found.values()
    assert list(found)[2:] == ["batches of 2", "batches of 2, layer by layer", "images of 40 × 40"]
    assert easy == breaking.variants(CHAPTER)["as above"][0]
    assert not read.share_labels and easy.share_labels
    assert (batch.batch_size, batch.victims, layers.attack.match.distance) == (2, 1, "layerwise")
    assert larger.dataset_name == "digits@40"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rounds": []}, ParameterError, r"rounds must be 0 to training_rounds \(2\), got \[\]"),
        ({"rounds": [1, 3]}, ParameterError, r"rounds must be 0 to training_rounds \(2\), got \[3\]"),
        ({"networks": [], "grid": []}, ParameterError, "Name at least one setting in: networks, grid"),
        ({"architecture_steps": []}, ParameterError, "need as many entries each, got 1, 1, 1, 0"),
        ({"grid": ["cvb 1 5"]}, ParameterError, "'cvb 1 5' is no setting. Write"),
        ({"networks": ["no_such"]}, UnknownNameError, "Unknown protection 'no_such'"),
    ],
)
def test_what_the_plan_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        breaking.cells(**CHAPTER | changes)
    with pytest.raises(UnknownNameError, match="Unknown attack of this chapter 'jont'. Did you mean 'joint'"):
        breaking.attack("jont", 1, 1)


def ssim_of(cell):
    """0.9 where the noise is searched for or known, else 0.2; the second model's first victim is worse."""
    noise = getattr(cell.attack, "noise", None)
    high = isinstance(noise, Optimize | Given) or not cell.training.bottlenecks
    images = cell.victims * cell.batch_size
    return [0.4 if high and cell.seed and not i else 0.9 if high else 0.2 for i in range(images)]


def made_up(cell):
    if isinstance(cell, NoiseSensitivityCell):
        figures = {"sigma": [0.5 + cell.seed], "mu": [4.0], "similarity": [[0.2, 0.4], [0.6, 0.8]]}
        return Result(cell, figures, {})
    if not isinstance(cell, AttackCell):
        return Result(cell, {"accuracy": 0.5, "rounds": 2, "parameters": 1}, {})
    ssim = ssim_of(cell)
    scores = {"ssim": ssim, "psnr": [10.0 + 10 * cell.seed] * len(ssim), "mse": [0.01] * len(ssim)}
    figures = {
        "scores": {"minmax": scores, "none": scores | {"psnr": [7.0] * len(ssim)}},
        "loss": [0.1] * cell.victims,
        "steps": [10] * cell.victims,
        "entries_matched": 5,
        "entries_total": 10,
        "parameters": 1,
    }
    if isinstance(cell.attack, Attack):
        figures["loss_at_truth"] = [0.01 if cell.seed else 0.09] * cell.victims
    if isinstance(cell.attack, Attack) and isinstance(cell.attack.noise, Optimize):
        figures["noise_correlation"] = [0.25 + 0.5 * cell.seed] * cell.victims
    if not cell.share_labels:
        figures["label_accuracy"] = 0.5 + 0.5 * cell.seed
    shade = 10 * len(cell.training.bottlenecks) + cell.seed
    images = torch.full((cell.victims, 1, 4, 4), shade, dtype=torch.uint8).numpy()
    return Result(cell, figures, {}, {"truth": images, "reconstruction": images})


@pytest.fixture(scope="module")
def results():
    return {cell: made_up(cell) for cell in breaking.cells(**CHAPTER)}


def test_models_are_pooled_with_intervals(results):
    table = breaking_report.first_table(CHAPTER, results)
    assert table["method"].tolist()[:3] == ["IG", "joint", "IG"]
    joint = table[(table["label"] == CHOSEN) & (table["method"] == "joint")].iloc[0]
    assert joint["ssim"] == pytest.approx((7 * 0.9 + 0.4) / 8)
    assert joint["asr"] == pytest.approx(87.5)
    assert joint["asr_text"] == "88 (53–98)"  # Wilson: (7.92 ± 2.52) / 11.84
    assert joint["ssim_text"] == "0.84 (0.69–0.99)"  # 0.8375 ± 2.365 · 0.1768 / √8
    assert joint["stuck"] == 50.0  # the second model's losses are ten times those at the truth
    assert joint["noise_correlation"] == pytest.approx(0.5)
    assert (joint["psnr"], joint["loss_at_truth"]) == (7.0, pytest.approx(0.05))
    ignore = table[table["method"] == "Ignore"].iloc[0]
    assert ignore["asr_text"] == "0 (0–32)" and np.isnan(ignore["noise_correlation"])  # z² / (8 + z²)
    shown = tables.show(
        table,
        columns={"label": "network"}
        | breaking_report.SCORES
        | breaking_report.OPTIMIZED
        | breaking_report.RECOVERED,
    )
    assert "88 (53–\u206098)" in shown.to_html(), "no line ends within an interval"


def test_without_a_loss_at_the_truth_nobody_says_what_is_stuck(results):
    table = breaking_report.patches_table(CHAPTER, results)
    assert table["stuck"].isna().all() and len(table) == 2 * (len(breaking.SHARED) + 1)
    assert table["shared"].tolist()[:2] == ["as they are", "Gaussian noise 1e-4"]
    assert table["shared"].tolist()[-1] == "weights after 2 rounds on retinamnist"
    assert "7.0<" in tables.show(table, columns={"psnr": "PSNR"}, digits={"psnr": 1}).to_html()  # no ±


def test_losses_that_are_missing_are_not_stuck(results):
    cells = breaking.first(CHAPTER)[1].attacks["joint"]
    changed = dict(results)
    figures = dict(results[cells[1]].figures) | {"loss_at_truth": [None, 0.01, 0.01, 0.01]}
    changed[cells[1]] = Result(cells[1], figures, {})
    row = breaking_report.table([({"label": "x"}, cells)], CHAPTER, changed).iloc[0]
    assert row["stuck"] == pytest.approx(37.5)


def test_trained_weights_by_network_and_round(results):
    table = breaking_report.trained_table(CHAPTER, results)
    assert table["rounds"].tolist() == [1] * 6 + [2] * 12
    assert table["method"].tolist()[-1] == breaking.SILENT
    shown = breaking_report.trained_plot(table)
    assert list(dict.fromkeys(shown["label"])) == [
        f"{CHOSEN}\nafter 1 round", f"{CHOSEN}\nafter 2 rounds",
        "none\nafter 1 round", "none\nafter 2 rounds",
        "PRECODE P=1, K=8\nafter 2 rounds",
    ]  # fmt: skip
    last = shown[shown["label"] == f"{CHOSEN}\nafter 2 rounds"]
    assert last["method"].tolist()[-1] == breaking.SILENT
    assert last["value"].tolist() == [0.0, 0.0, 75.0, 75.0, 75.0]
    fresh = breaking_report.trained_table(CHAPTER | {"rounds": [0]}, Everything())
    assert breaking_report.trained_plot(fresh)["label"].tolist()[-1].endswith("\nfresh weights")
    assert len(plots.intervals(shown, xlabel="ASR %").axes[0].get_yticklabels()) == 5


class Everything(dict):
    """Results of any cell."""

    def __missing__(self, cell):
        return made_up(cell)


def test_training_takes_the_noise_away(results):
    table = breaking_report.noise_table(CHAPTER, results)
    assert table[["label", "rounds"]].to_numpy().tolist() == [
        *(["PRECODE P=1, K=8", r] for r in (0, 2)),
        *([CHOSEN, r] for r in (0, 1, 2)),
    ]
    assert table.loc[0, ["sigma", "mu", "ratio", "similarity"]].tolist() == pytest.approx([1, 4, 4, 0.5])
    none = breaking_report.noise_table(CHAPTER | {"trained": ["none"], "compared": []}, results)
    assert none.empty and list(none) == list(table)


def test_other_tables(results):
    variants = breaking_report.variants_table(CHAPTER, results)
    assert variants["label"].tolist() == [*breaking.VARIANTS, *breaking.REPEATED]
    grid = breaking_report.grid_table(CHAPTER, results)
    assert grid["method"].tolist() == ["Ignore", "joint", "noise known"] * 2
    assert grid["label"].tolist() == [CHOSEN] * 3 + ["PRECODE P=1, K=8"] * 3
    sets = breaking_report.sets_table(CHAPTER, results)
    assert sets["label"].tolist()[::2] == ["Retina", "Blood (128 images)", "digits"]
    models = breaking_report.architectures_table(CHAPTER, results)
    assert models["label"].tolist() == ["vit, none"] + ["vit, CVB P=1, k=3, s=1/2, β=1e-1"] * 2
    limits = breaking_report.limits_table(CHAPTER, results)
    assert limits["labels"].tolist()[1] == pytest.approx(75) and limits["labels"].notna().sum() == 1


def test_frames_for_the_figure(results):
    frame = breaking_report.for_plot(breaking_report.grid_table(CHAPTER, results), "ssim")
    assert list(frame) == ["label", "method", "value", "low", "high"]
    assert frame["value"].tolist() == pytest.approx([0.2, 0.775, 0.775] * 2)
    assert ((frame["low"] <= frame["value"]) & (frame["value"] <= frame["high"])).all()


def test_pictures_of_one_model(results):
    originals, found = breaking_report.pictures(breaking.first(CHAPTER), results, number=1)
    assert list(found)[:3] == ["none: IG", "none: joint", "CVB: IG"]
    assert originals.shape == (2, 1, 4, 4)
    shades = {label: round(float(images.max()) * 255) for label, images in found.items()}
    assert shades["none: joint"] == 1 and shades["CVB: joint"] == 11


def test_the_introduction_shows_the_last_network_under_the_published_attack_and_joint(results):
    originals, rows, numbers = breaking_report.headline(CHAPTER, results)
    line = breaking.first(CHAPTER)[-1]
    assert list(rows) == ["“protected”: Ignore", "recovered: joint"]
    for name, images in zip(("Ignore", "joint"), rows.values(), strict=True):
        torch.testing.assert_close(images, results[line.attacks[name][0]].images("reconstruction"))
    torch.testing.assert_close(originals, results[line.attacks["joint"][0]].images("truth"))
    table = breaking_report.first_table(CHAPTER, results).set_index(["label", "method"])["asr_text"]
    assert numbers["published"] == table[CHOSEN, "Ignore"].replace("–", "–\u2060")
    assert numbers["joint"] == table[CHOSEN, "joint"].replace("–", "–\u2060")
    assert (numbers["network"], numbers["images"], numbers["models"]) == (CHOSEN, "8", "2 models")


def test_without_a_bottleneck_the_published_attack_is_ig(results):
    _, rows, _ = breaking_report.headline(CHAPTER | {"networks": ["none"]}, results)
    assert list(rows) == ["“protected”: IG", "recovered: joint"]


def test_the_caption_says_how_many():
    assert breaking_report.caption(CHAPTER, 4, 2000) == (
        "Profile quick, digits: 8 victims on 2 models (4 each), 2,000 steps. "
        "In brackets 95 % intervals over the victims."
    )


def test_a_large_model_is_attacked_with_settings_of_its_own():
    many = {
        "architecture_networks": ["cvb(1)"] * 2,
        "architecture_victims": [2, 2],
        "architecture_steps": [3, 3],
    }
    found = breaking.architectures(CHAPTER | many | {"architectures": ["resnet18", "vit"]})
    joint = {
        model: line.attacks[breaking.JOINT][0].attack for model, line in found if line.protection.bottlenecks
    }
    assert joint["vit"] == ATTACKS["joint"].replace(max_steps=3)
    assert joint["resnet18"] == joint["vit"].replace(tv=0.1, lr=1.0, noise_lr=0.2)


def test_the_plan_knows_other_bottlenecks():
    (line,) = breaking.grid(CHAPTER | {"grid": ['precode(2, k=16, kl="exact")']})
    assert line.protection.bottlenecks == (PRECODE(2, k=16),)
