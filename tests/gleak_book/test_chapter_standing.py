"""The plan of "What stands": who attacks what, verdicts and tables from made-up results."""

import pytest
import torch
from gleak_book import standing, standing_report
from gleak_book.campaign import Campaign

from gleak_lib import plots
from gleak_lib.attacks import ATTACKS, Optimize
from gleak_lib.chapters import PROFILES, experiments, parameters, profiles
from gleak_lib.client_setup import parse
from gleak_lib.defenses import DP, AverageNoise
from gleak_lib.errors import ParameterError, UnknownNameError
from gleak_lib.experiments import AttackCell, Result, TrainingCell, from_json, tables
from gleak_lib.experiments.encoding import encode
from gleak_lib.experiments.specs.communication_cost import TrafficCell

NAME = "09_what_stands"
CHOSEN, LABEL = "cvb(1)", "CVB P=1, k=5, s=1/2, β=1e-1"
CHAPTER = {
    "profile": "quick",
    "dataset": "digits",
    "model": "cnn",
    "protections": [
        "none",
        "dp(noise_multiplier=1e-3)",
        "dp(noise_multiplier=1e-2)",
        "gaussian(std=1e-2)",
        "compression(p=0.9)",
        "batch(2)",
        CHOSEN,
        'cvb(1, kl="exact", sigma_floor=1)',
        f"{CHOSEN} + average_noise(draws=3)",
        f"{CHOSEN} + batch(2)",
    ],
    "trained": ["none", CHOSEN],
    "untrained": [],
    "training_rounds": 2,
    "victims": 4,
    "steps": 30,
    "plateau": 5,
    "seeds": 2,
    "seed": 0,
    "victim_seed": 1,
    "scaling": "minmax",
    "examples": 2,
}
P, L, J = standing.PUBLISHED, standing.LAYERWISE, standing.JOINT


@pytest.mark.parametrize("profile", PROFILES)
def test_the_cells_of_every_profile(profile):
    values = profiles.load(NAME, profile)
    cells = experiments(NAME, values)
    assert [c.key for c in cells] == [c.key for c in experiments(NAME, values)]
    assert len({c.key for c in cells}) == len(cells)
    assert all(from_json(encode(c)) == c for c in cells)
    labels = [
        entry.label for entry in standing.entries(parameters.validate(parameters.of_chapter(NAME), values))
    ]
    assert len(set(labels)) == len(labels)  # the rows of a table are told apart


@pytest.mark.parametrize(
    ("text", "trained", "names"),
    [
        ("none", False, [P, L, J]),
        ("none", True, [P, L]),
        ("batch(4)", False, [P, L, J]),
        (CHOSEN, False, [P, L, J]),
        (CHOSEN, True, [P, L, standing.REDRAWN]),
        ("dp(noise_multiplier=1)", False, [P, L, J, standing.SMOOTH]),
        ("quantize(bits=4)", True, [P, L, standing.SMOOTH]),
        ("compression(p=0.9)", False, [P, L, J, standing.SPARSE]),
        ("prune_small(p=0.2)", False, [P, L, J, standing.SPARSE]),
        ("soteria(probes=4)", False, [P, L, J, standing.MUTED]),
        (f"{CHOSEN} + average_noise(draws=3)", False, [P, L, J, standing.DRAWS]),
        (f"{CHOSEN} + laplace(scale=1)", False, [P, L, J, standing.SMOOTH]),
        ("clip(bound=1)", False, [P, L, J]),
    ],
)
def test_every_protection_meets_the_attacks_made_for_it(text, trained, names):
    found = standing.attackers(parse(text), steps=30, plateau=5, trained=trained)
    assert list(found) == names
    assert {a.schedule.max_steps for a in found.values()} == {30}
    masked = bool(parse(text).bottlenecks) and not trained
    assert found[P] == ATTACKS["ignore" if masked else "ig"].replace(max_steps=30, drop_after=5)
    assert found[L] == ATTACKS["layerwise"].replace(max_steps=30)
    if standing.DRAWS in found:
        assert found[standing.DRAWS].noise == Optimize(samples=3)
    if standing.MUTED in found:
        assert found[standing.MUTED].match.exclude == ("last",)
    if standing.SPARSE in found:
        assert found[standing.SPARSE].match.estimate == "sparsity"
    if standing.SMOOTH in found:
        assert found[standing.SMOOTH].settings["tv"] > ATTACKS["joint"].settings["tv"]


def test_averaged_noise_is_four_draws_unless_said():
    found = standing.attackers(parse(f"{CHOSEN} + average_noise()"), steps=1, plateau=1)
    assert found[standing.DRAWS].noise.samples == AverageNoise().draws == 4


def test_the_cells_are_attacks_trainings_and_bytes():
    cells = standing.cells(**CHAPTER)
    kinds = [sum(isinstance(c, kind) for c in cells) for kind in (AttackCell, TrainingCell, TrafficCell)]
    fresh, late = 10 * 3 + 3 + 1 + 1, 2 + 3
    trainings, sent = 8, 8  # batches change neither
    assert kinds == [2 * (fresh + late), 2 * trainings, sent]
    assert len(set(cells)) == len(cells)
    late = standing.entries(CHAPTER)[6].trained[standing.REDRAWN]
    assert [(c.rounds, c.seed, c.training.seed) for c in late] == [(2, 0, 0), (2, 1, 1)]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"protections": []}, ParameterError, r"protections begins with 'none', .*, got \[\]"),
        ({"protections": ["batch(2)"]}, ParameterError, "protections begins with 'none'"),
        ({"trained": ["batch(8)"]}, ParameterError, r"must be among protections, got \['batch\(8\)'\]"),
        ({"untrained": ["batch(8)"]}, ParameterError, r"must be among protections, got \['batch\(8\)'\]"),
        ({"untrained": [CHOSEN]}, ParameterError, "untrained must be neither among trained nor 'none'"),
        ({"untrained": ["none"], "trained": []}, ParameterError, r"neither .* nor 'none', got \['none'\]"),
        ({"protections": ["none", "cvc(1)"], "trained": []}, UnknownNameError, "Did you mean 'cvb'"),
    ],
)
def test_what_the_plan_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        standing.cells(**CHAPTER | changes)


SSIM = {
    "ig": [0.6, 0.4],
    "ignore": [0.1, 0.2],
    "joint": [0.9, 0.1],  # the largest mean behind a bottleneck
    "layerwise": [0.3, 0.5],
}
DISTANCE = {"ig": 0.3, "ignore": 0.4, "joint": 0.2, "layerwise": 0.1}


def made_up(cell):
    if isinstance(cell, TrafficCell):
        compressed = "compression" in str(cell.defense)
        return Result(cell, {"bytes": 1000.0 if compressed else 4000.0}, {})
    if isinstance(cell, TrainingCell):
        lost = 0.1 * (1 + cell.seed) if isinstance(cell.defense, DP) else 0.0
        figures = {"accuracy": 0.5 + 0.1 * cell.seed - lost, "rounds": 2}
        if lost:
            figures |= {"epsilon": [3.25, 12345.6 + cell.seed], "delta": 1e-5}
        return Result(cell, figures, {"seconds": 6.0 + 4 * cell.seed})
    name = cell.attack.name
    ssim = (SSIM[name] * 2)[: cell.victims * cell.batch_size]
    scores = {"ssim": ssim, "psnr": [1.0] * len(ssim), "mse": [1.0] * len(ssim)}
    shade = list(SSIM).index(name)
    images = torch.full((2, 1, 4, 4), shade, dtype=torch.uint8).numpy()
    figures = {
        "scores": {"minmax": scores, "none": {n: [0.0] * len(ssim) for n in scores}},
        "gradient_distance": [DISTANCE[name]] * cell.victims,
    }
    return Result(cell, figures, {}, {"truth": images, "reconstruction": images})


@pytest.fixture(scope="module")
def results():
    return {cell: made_up(cell) for cell in standing.cells(**CHAPTER)}


def attacked(text=CHOSEN):
    return {str(e.protection): e for e in standing.entries(CHAPTER)}[text].fresh


def test_the_best_attack_has_the_largest_mean_and_the_chosen_one_the_nearest_gradient(results):
    found = standing_report.verdict(attacked(), results, "minmax")
    assert found.name == standing.JOINT
    assert found.published.tolist() == [0.1, 0.2] * 4
    assert found.best.tolist() == [0.9, 0.1] * 4
    assert found.chosen.tolist() == [0.3, 0.5] * 4


def test_it_is_chosen_image_by_image(results):
    cells = attacked()
    changed = dict(results)
    published = results[cells[P][1]]
    figures = dict(published.figures) | {"gradient_distance": [0.01, None, float("nan"), 0.01]}
    changed[cells[P][1]] = Result(published.cell, figures, {})
    found = standing_report.verdict(cells, changed, "minmax")
    assert found.chosen.tolist() == [0.3, 0.5] * 2 + [
        0.1,
        0.5,
        0.3,
        0.2,
    ]  # what has no distance is not chosen


def test_the_images_of_a_batch_share_its_distance(results):
    cells = attacked("batch(2)")
    assert {c.victims for found in cells.values() for c in found} == {2}
    changed = dict(results)
    figures = dict(results[cells[P][0]].figures) | {"gradient_distance": [0.5, 0.01]}
    changed[cells[P][0]] = Result(cells[P][0], figures, {})
    found = standing_report.verdict(cells, changed, "minmax")
    assert found.chosen.tolist() == [0.3, 0.5, 0.6, 0.4] + [0.3, 0.5] * 2
    assert found.name == standing.PUBLISHED  # of equal means the first


def test_leaks_beside_what_they_cost(results):
    table = standing_report.table(CHAPTER, results).set_index("label")
    chosen = table.loc[LABEL]
    assert chosen[["published_ssim", "best_ssim", "chosen_ssim"]].tolist() == pytest.approx([0.15, 0.5, 0.4])
    assert chosen[["published_text", "best_text"]].tolist() == ["0 (0–32)", "50 (22–78)"]  # Wilson, 8 images
    assert chosen[["best_asr", "best_asr_low", "best_asr_high"]].tolist() == pytest.approx(
        [50.0, 21.52, 78.48], abs=0.01
    )
    private = table.loc["DP σ=1e-3"]
    assert private[["accuracy", "gain", "gain_std"]].tolist() == pytest.approx([40, -15, 5])
    assert private["epsilon"] == "1.23e+04" and chosen["epsilon"] == tables.MISSING
    assert table.loc["none", ["gain", "gain_std", "relative_seconds"]].tolist() == [0, 0, 1]
    assert table.loc["compression p=0.9", ["kilobytes", "relative_kilobytes"]].tolist() == [1.0, 0.25]
    assert table["seconds"].tolist() == [4.0] * 10  # median of 3 and 5 a round
    assert table["family"].tolist() == [
        "none", "DP", "DP", standing_report.OTHERS, "compression", "batches", "CVB", "CVB",
        *[standing_report.COMBINED] * 2,
    ]  # fmt: skip


def test_what_is_not_trained_has_a_gap(results):
    text = 'cvb(1, kl="exact", sigma_floor=1)'
    chapter = CHAPTER | {"untrained": [text]}
    left_out = set(standing.cells(**CHAPTER)) - set(standing.cells(**chapter))
    assert left_out == set(Campaign.of(CHAPTER).trainings(parse(text)))
    known = {cell: result for cell, result in results.items() if cell not in left_out}
    frame = standing_report.table(chapter, known).set_index("label")
    line = frame.loc[parse(text).label]
    assert line[["accuracy", "gain", "seconds", "relative_seconds"]].isna().all()
    assert line["epsilon"] == tables.MISSING and line["kilobytes"] > 0
    assert frame["accuracy"].notna().sum() == len(frame) - 1


def test_images_without_an_accuracy_have_a_gap(results):
    missing = {c: r for c, r in results.items() if not isinstance(c, TrainingCell)}
    for cell, result in results.items():
        if isinstance(cell, TrainingCell):
            missing[cell] = Result(cell, dict(result.figures) | {"accuracy": None}, result.provenance)
    table = standing_report.table(CHAPTER, missing)
    assert table[["accuracy", "gain"]].isna().all(axis=None)
    assert "–" in tables.show(table, columns=["label", "accuracy", "gain"]).to_html()


def test_images_may_be_scored_as_they_are(results):
    table = standing_report.table(CHAPTER | {"scaling": "none"}, results)
    assert set(table["best_ssim"]) == {0.0}


def test_attacks_side_by_side(results):
    table = standing_report.attacks_table(CHAPTER, results).set_index("label")
    assert list(table) == [P, L, J, standing.SMOOTH, standing.SPARSE, standing.DRAWS]
    assert table.loc["none", [P, L, J]].tolist() == pytest.approx([0.5, 0.4, 0.5])
    assert table.loc["none", [standing.SMOOTH, standing.DRAWS]].isna().all()
    assert table[standing.DRAWS].notna().sum() == 1


def test_trained_weights(results):
    table = standing_report.trained_table(CHAPTER, results)
    assert table["label"].tolist() == ["none", LABEL]
    assert table["attack"].tolist() == [P, P]
    assert table["published_ssim"].tolist() == pytest.approx([0.5, 0.5])
    none = standing_report.trained_table(CHAPTER | {"trained": []}, results)
    assert none.empty
    columns = {"label": "protection", "best_text": "ASR %", "best_ssim": "SSIM"}
    assert "protection" in tables.show(none, columns=columns).to_html()


def test_frames_for_the_figures(results):
    table = standing_report.table(CHAPTER, results)
    frame = standing_report.for_plot(table)
    assert frame["method"].tolist() == ["under IG or Ignore", "under the best attack"] * 10
    row = frame[(frame["label"] == LABEL) & (frame["method"] == "under the best attack")].iloc[0]
    assert row[["value", "low", "high"]].tolist() == pytest.approx([50, 21.52, 78.48], abs=0.01)
    assert len(plots.intervals(frame, xlabel="ASR %").axes[0].get_yticklabels()) == 10


def test_the_trade_off_under_both_attacks(results):
    frame = standing_report.tradeoff(CHAPTER, standing_report.table(CHAPTER, results))
    assert frame["row"].tolist() == ["under IG or Ignore"] * 10 + ["under the best attack"] * 10
    assert set(frame["column"]) == {"digits"}
    first = frame[:10]
    assert first["setting"].tolist() == [
        "", "σ=1e-3", "σ=1e-2", "gaussian std=1e-2", "p=0.9", "of 2", "", "exact KL, σ ≥ 1",
        "average-noise draws=3", "batch of 2",
    ]  # fmt: skip
    assert first["joined"].tolist() == [False, True, True, False, True, True, *[False] * 4]
    assert first["x"].tolist()[:3] == pytest.approx([0, -15, -15])
    assert frame["y"].tolist()[6::10] == pytest.approx([0.15, 0.5])
    figure = plots.tradeoff(frame, xlabel="gain", ylabel="SSIM", linear=1.0)
    assert [axes.get_title() for axes in figure.axes] == [
        "digits, under IG or Ignore", "digits, under the best attack"
    ]  # fmt: skip


def test_a_single_combination_keeps_its_name(results):
    chapter = CHAPTER | {"protections": ["none", CHOSEN, f"{CHOSEN} + batch(2)"], "trained": []}
    frame = standing_report.tradeoff(chapter, standing_report.table(chapter, results))
    assert frame["setting"].tolist()[:3] == ["", "P=1, k=5, s=1/2, β=1e-1", f"{LABEL} + batch of 2"]


def test_pictures_of_the_best_attack(results):
    originals, found = standing_report.pictures(CHAPTER, results, number=1)
    assert originals.shape == (2, 1, 4, 4)
    assert [label for label in found if "batch" in label] == []  # their victims stand in another order
    assert len(found) == 8
    assert round(float(found[LABEL].max()) * 255) == list(SSIM).index("joint")


def test_captions():
    assert standing_report.caption(CHAPTER, "fresh") == (
        "Profile quick, digits: 8 images on 2 models, fresh weights, 30 steps. "
        "In brackets 95 % intervals over the images."
    )
    assert "weights after 2 rounds, 30 steps" in standing_report.caption(CHAPTER, "trained")
    assert standing_report.caption(CHAPTER, "utility") == (
        "Profile quick, digits: 2 trainings each, 2 rounds at most."
    )
    with pytest.raises(UnknownNameError, match="Unknown kind of caption 'utlity'. Did you mean 'utility'"):
        standing_report.caption(CHAPTER, "utlity")
