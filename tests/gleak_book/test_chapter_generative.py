"""The chapter "Generative gradient leakage": its experiments, the control beside each question."""

import pytest

from gleak_lib.attacks import CMAES, Latent, NoiseGradient, Pixels, TuRBO
from gleak_lib.chapters import PROFILES, experiments, profiles
from gleak_lib.experiments import AttackExperiment, GeneratorExperiment, from_json
from gleak_lib.experiments.encoding import encode

NAME = "15_generative_leakage"


def with_generator(profile: str) -> list[AttackExperiment]:
    """Return the attacks of a profile that search a generator's latents."""
    cells = [c for c in experiments(NAME, profiles.load(NAME, profile)) if isinstance(c, AttackExperiment)]
    return [c for c in cells if isinstance(getattr(c.attack, "variables", None), Latent)]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_experiments_of_every_profile(profile):
    cells = experiments(NAME, profiles.load(NAME, profile))
    assert len({cell.key for cell in cells}) == len(cells)
    assert all(from_json(encode(cell)) == cell for cell in cells)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_victim_of_a_generator_is_a_training_image(profile):
    assert {cell.split for cell in with_generator(profile)} == {"test"}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_set_and_network_has_its_control(profile):
    """The attack on noise, of the same victims, with the same generator and number of steps."""

    def place(cell):
        return cell.training, cell.victims, cell.victim_seed, cell.seed, cell.attack

    cells = with_generator(profile)
    on_noise = {place(c) for c in cells if any(isinstance(one, NoiseGradient) for one in c.cleaning)}
    trained = {c.training for c in cells if not c.training.bottlenecks}
    assert trained == {training for training, *_ in on_noise}
    assert on_noise <= {place(c) for c in cells if not c.cleaning and not c.defense}


@pytest.mark.parametrize("profile", PROFILES)
def test_attacks_on_pixels_are_told_the_mask_that_ggl_is(profile):
    values = profiles.load(NAME, profile)
    told = {}
    for cell in experiments(NAME, values):
        if isinstance(cell, AttackExperiment) and cell.attack.match.estimate == "sparsity":
            place = cell.training, cell.defense, cell.victim_seed
            told.setdefault(place, set()).add(type(cell.attack.variables))
    of_main = {place: kinds for place, kinds in told.items() if place[0].model == values["model"]}
    assert of_main and all(kinds == {Latent, Pixels} for kinds in of_main.values())


def test_the_sources_numbers_of_steps():
    found = {}
    for cell in with_generator("paper"):
        found.setdefault(type(cell.attack.optimizer), set()).add(cell.attack.schedule.max_steps)
    assert found.pop(CMAES) == {800}
    turbo = TuRBO()
    assert found[TuRBO] == {76} and turbo.initial + 75 * turbo.batch >= 1000
    found.pop(TuRBO)
    assert list(found.values()) == [{2500}]


def test_other_sets_have_generators_of_their_own():
    values = profiles.load(NAME, "cpu")
    cells = experiments(NAME, values)
    made = [(c.dataset, c.steps) for c in cells if isinstance(c, GeneratorExperiment)]
    assert {(name, values["other_steps"]) for name in values["others"]} <= set(made)
    assert {(name, values["careful_steps"]) for name in values["careful"]} <= set(made)
    for cell in with_generator("cpu"):
        if cell.training.dataset in values["others"]:
            assert cell.attack.variables.generator.dataset == cell.training.dataset
