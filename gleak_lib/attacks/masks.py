"""Which layers' gradients an attack matches."""

from gleak_lib.errors import ParameterError, unknown
from gleak_lib.models.base import before_decoder

LAST = "last"
"""In `Attack.exclude`: the last parameter group, the classifier that layer-targeted defences prune."""


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
