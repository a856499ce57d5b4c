"""Which layers' gradients an attack matches."""

from gleak_lib.attacks.attack import Attack
from gleak_lib.defenses import Defense
from gleak_lib.errors import ParameterError, unknown
from gleak_lib.models.base import before_decoder, parameter_groups
from gleak_lib.types import Observation

LAST = "last"
"""In `Attack.exclude`: the layer that the defense is known to target, else the last parameter group, the
classifier that such defenses prune."""


def matched(observation: Observation, attack: Attack) -> tuple[str, ...]:
    """Return the names of the parameters whose gradients an attack matches, in the model's order.

    Raises:
        UnknownNameError, ParameterError: as `select`.
    """
    groups, defense = parameter_groups(observation.model), observation.defense
    shared = observation.gradients  # a client that freezes parameters does not send theirs
    groups = {group: tuple(n for n in names if n in shared) for group, names in groups.items()}
    if LAST not in attack.exclude or not isinstance(defense, Defense):
        return select(attack.layers, attack.exclude, groups)
    if not (targets := set(defense.targets(observation.model))):
        return select(attack.layers, attack.exclude, groups)
    others = tuple(group for group in attack.exclude if group != LAST)
    left = {group: tuple(n for n in names if n not in targets) for group, names in groups.items()}
    return select(attack.layers, others, left)


def select(
    layers: str | tuple[str, ...], exclude: tuple[str, ...], groups: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Return the parameter names that a layer mask keeps, in the model's order.

    Args:
        layers, exclude: as in `Attack`.
        groups: parameter names by group, from `parameter_groups`.

    Raises:
        UnknownNameError: a group that the model lacks.
        ParameterError: nothing is left.
    """
    if layers == "all":
        chosen = tuple(groups)
    elif layers == "before-decoder":
        chosen = before_decoder(tuple(groups))
    else:
        chosen = tuple(layers)
    exclude = tuple(list(groups)[-1] if group == LAST else group for group in exclude)
    for group in (*chosen, *exclude):
        if group not in groups:
            raise unknown("parameter group", group, groups)
    names = tuple(n for g, members in groups.items() if g in chosen and g not in exclude for n in members)
    if not names:
        raise ParameterError(f"The layer mask keeps no gradients: choose among {', '.join(groups)}.")
    return names
