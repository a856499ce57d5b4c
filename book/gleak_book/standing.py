"""Cells of the chapter "What stands": every protection under the attack that suits it best, and its cost."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gleak_lib.attacks import ATTACKS, Attack, Resample
from gleak_lib.client_setup import ClientSetup, parse
from gleak_lib.defenses import DP, AverageNoise, Compression, Gaussian, Laplace, Quantize, Soteria
from gleak_lib.errors import ParameterError
from gleak_lib.experiments.specs.attack import AttackCell
from gleak_lib.experiments.specs.base import Cell
from gleak_lib.experiments.specs.communication_cost import TrafficCell
from gleak_lib.experiments.specs.training import TrainingCell

from gleak_book.campaign import Campaign

PUBLISHED, JOINT = "IG or Ignore", "joint"
LAYERWISE, REDRAWN = "layer by layer", "layer by layer, noise redrawn"
SMOOTH, SPARSE, MUTED, DRAWS = "joint, smoother", "entries sent", "layer left out", "all draws searched for"
SMOOTHER = 0.03  # weight of the prior against noise
NOISY = (DP, Gaussian, Laplace, Quantize)


class Entry(NamedTuple):
    """A protection with its attacks on fresh and on trained weights, and its trainings, one cell a model.

    Where `utility` is False the trainings are not run, and its accuracy is not known.
    """

    protection: ClientSetup
    fresh: dict[str, list[AttackCell]]
    trained: dict[str, list[AttackCell]]
    trainings: list[TrainingCell]
    utility: bool = True

    @property
    def label(self) -> str:
        """The protection for people."""
        return self.protection.label


def attackers(
    protection: ClientSetup, *, steps: int, plateau: int, trained: bool = False
) -> dict[str, Attack]:
    """Return the attacks that a server would try, which knows the protection: by name.

    - the published ones: IG, behind a bottleneck and on fresh weights Ignore (001 §V-B);
    - `joint` (fresh weights only) and `layerwise`, which on a plain network search for nothing but the image;
      on trained weights also the second with noise that is drawn anew at each step, as in IG;
    - against noise, `joint` with a stronger prior; against zeros, `layerwise` on the entries that were sent;
      against a pruned layer, `layerwise` without it; against averaged noise, `joint` over all draws.

    Args:
        protection: what is attacked.
        steps, plateau: of the attacks, the second of the published ones.
        trained: whether the weights are trained ones.
    """
    published = ATTACKS["ignore" if protection.bottlenecks and not trained else "ig"].replace(
        drop_after=plateau
    )
    joint, layerwise = ATTACKS["joint"], ATTACKS["layerwise"]
    parts = protection.defense.parts
    found = {PUBLISHED: published, LAYERWISE: layerwise}
    if not trained:
        found[JOINT] = joint
    elif protection.bottlenecks:
        found[REDRAWN] = layerwise.replace(noise=Resample())
    if any(isinstance(part, NOISY) for part in parts):
        found[SMOOTH] = joint.replace(tv=SMOOTHER)
    if any(isinstance(part, Compression) for part in parts):
        found[SPARSE] = layerwise.replace(estimate="sparsity")
    if any(isinstance(part, Soteria) for part in parts):
        found[MUTED] = layerwise.replace(exclude=("last",))
    for part in parts:
        if isinstance(part, AverageNoise):
            found[DRAWS] = joint.replace(noise_samples=part.draws)
    return {name: attack.replace(max_steps=steps) for name, attack in found.items()}


def entries(chapter: Mapping[str, Any]) -> list[Entry]:
    """Return the chapter's protections, the first of which is `none`.

    Raises:
        ParameterError: another begins the list, one of `trained` or `untrained` is not in it or in both.
    """
    protections, trained, untrained = (
        [parse(text) for text in chapter[name]] for name in ("protections", "trained", "untrained")
    )
    if not protections or protections[0] != ClientSetup():
        raise ParameterError(
            "protections begins with 'none', which the others are compared with, got "
            f"{chapter['protections']}."
        )
    if wrong := [str(one) for one in [*trained, *untrained] if one not in protections]:
        raise ParameterError(f"trained and untrained must be among protections, got {wrong}.")
    if wrong := [str(one) for one in untrained if one in trained or one == ClientSetup()]:
        raise ParameterError(f"untrained must be neither among trained nor 'none', got {wrong}.")
    campaign, rounds = Campaign.of(chapter), chapter["training_rounds"]
    budget = {"steps": chapter["steps"], "plateau": chapter["plateau"]}
    found = []
    for one in protections:
        fresh = {name: campaign.attack(one, a) for name, a in attackers(one, **budget).items()}
        late = attackers(one, **budget, trained=True) if one in trained else {}
        attacked = {name: campaign.attack(one, a, rounds=rounds) for name, a in late.items()}
        found.append(Entry(one, fresh, attacked, campaign.trainings(one), one not in untrained))
    return found


def traffic(entry: Entry, chapter: Mapping[str, Any]) -> TrafficCell:
    """Return the cell that counts the bytes of one shared gradient."""
    return TrafficCell(
        entry.trainings[0],
        victim_seed=chapter["victim_seed"],
        seed=chapter["seed"],
        defense=entry.protection.defense,
    )


def cells(**chapter: Any) -> list[Cell]:
    """Return every cell of the chapter."""
    found: list[Cell] = []
    for entry in entries(chapter):
        groups = [*entry.fresh.values(), *entry.trained.values()]
        found += [cell for group in groups for cell in group]
        found += [*(entry.trainings if entry.utility else ()), traffic(entry, chapter)]
    return list(dict.fromkeys(found))
