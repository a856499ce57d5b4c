"""What kind of value each stored figure is: a number where numbers are plotted, a list where there are many.

A shape is written like the figures themselves: `NUMBER`, `TEXT`, `TRUTH`, a list of one shape, a dict of
shapes, and a tuple of one shape where there may be null. Figures that no shape names are not looked at.
"""

import math
from typing import Any

NUMBER, TEXT, TRUTH = "a number", "a text", "true or false"
MAYBE = (NUMBER,)  # a NaN is stored as null
NUMBERS = [MAYBE]
PLAIN = {int, float, type(None)}
SCORE = {"mean": MAYBE, "std": MAYBE}
SCORES = {
    "scores": {scaling: dict.fromkeys(("mse", "psnr", "ssim"), NUMBERS) for scaling in ("minmax", "none")},
    "summary": {
        scaling: {"asr": MAYBE, **dict.fromkeys(("mse", "psnr", "ssim"), SCORE)}
        for scaling in ("minmax", "none")
    },
}
ATTACK = {
    "parameters": NUMBER,
    "entries_matched": NUMBER,
    "entries_total": NUMBER,
    "labels": NUMBERS,
    "loss": NUMBERS,
    "steps": NUMBERS,
    "trace": dict.fromkeys(("step", "min", "q25", "median", "q75", "max"), NUMBERS),
    "gradient_distance": NUMBERS,
    "loss_at_truth": NUMBERS,
    "noise_correlation": NUMBERS,
    "label_accuracy": MAYBE,
    **SCORES,
}
TRACKS = {
    "groups": [TEXT],
    "steps": NUMBERS,
    "similarity": {name: [NUMBERS] for name in ("q25", "median", "q75")},
    "examples": [[NUMBERS]],
    "entries": [{"client": [NUMBERS], "dummy": [[NUMBERS]]}],
    "signal": {"truth": (NUMBERS,), "dummy": (NUMBERS,)},
    "tail": {"steps": NUMBER, **{name: [NUMBERS] for name in ("change", "length", "mean", "std")}},
}
FIGURES: dict[str, dict[str, Any]] = {
    "training": {
        "parameters": NUMBER,
        "rounds": NUMBER,
        "best_round": NUMBER,
        "accuracy": MAYBE,
        "stopped_early": TRUTH,
        **dict.fromkeys(("train_loss", "train_accuracy", "val_loss", "val_accuracy"), NUMBERS),
        **dict.fromkeys(("test_accuracy", "lr"), NUMBERS),
        "client_sizes": [NUMBERS],
        "epsilon": NUMBERS,
        **dict.fromkeys(("delta", "auc", "balanced_accuracy"), MAYBE),
    },
    "attack": ATTACK,
    "tracks": {**ATTACK, "tracks": TRACKS},
    "labels": {"accuracy": NUMBERS, "classes": NUMBERS},
    "spread": {"groups": [TEXT], "similarity": [NUMBERS], "sigma": NUMBERS, "mu": NUMBERS},
    "movie": {"steps": NUMBERS, "loss": [NUMBERS]},
    "linkage": {"ranks": NUMBERS, "candidates": NUMBER},
    "traffic": {"parameters": NUMBER, "bytes": NUMBER, "dense": NUMBER},
    "census": {
        "counts": dict.fromkeys(("train", "val", "test"), NUMBERS),
        "num_classes": NUMBER,
        "victims_only": TRUTH,
    },
}
"""Figures of each kind of cell."""

DATA = {"name": TEXT, "images": [NUMBER], "labels": TEXT, "mean": [NUMBER], "std": [NUMBER]}
PROVENANCE = {
    "data": (DATA,),
    "seconds": NUMBER,
    "threads": NUMBER,
    "compile": TRUTH,
    **dict.fromkeys(("gleak", "python", "torch", "numpy", "device", "date"), TEXT),
}


def misfit(kind: str, figures: Any, provenance: Any) -> str | None:
    """Return what is wrong with stored figures or their origin, None where nothing is.

    Args:
        kind: of the cell; of one that `FIGURES` does not name, anything is taken.
        figures: as they were stored, or are to be.
        provenance: the same.
    """
    return _misfit(figures, FIGURES.get(kind, {}), "figures") or _misfit(provenance, PROVENANCE, "provenance")


def _misfit(value: Any, shape: Any, name: str) -> str | None:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return _said(value, "an object", name)
        known = ((part, shape[key], f"{name}.{key}") for key, part in value.items() if key in shape)
        return next((problem for known_part in known if (problem := _misfit(*known_part))), None)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _said(value, "a list", name)
        if shape is NUMBERS and PLAIN.issuperset(map(type, value)):  # most of what is stored
            return None
        return next((p for part in value if (p := _misfit(part, shape[0], name))), None)
    if isinstance(shape, tuple):
        return None if value is None else _misfit(value, shape[0], name)
    fits = {NUMBER: _number(value), TEXT: isinstance(value, str), TRUTH: isinstance(value, bool)}
    return None if fits[shape] else _said(value, shape, name)


def _number(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("inf", "-inf")  # JSON has no word for them
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _said(value: Any, expected: str, name: str) -> str:
    return f"{name} must be {expected}, not {type(value).__name__}"
