# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Weight initialization

# %% tags=["parameters", "hide-cell"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
sets: list[str] = []  # further image sets, small grid only
models: list[str] = ["mcmahan_cnn"]  # of MODELS, or module:function
batch_sizes: list[int] = [1, 2]  # images in an update
pruning: list[float] = [0.0, 0.2]  # share of small entries set to zero
few: list[str] = []  # models with fewer runs: not pruned,
few_batches: list[int] = [1]  # with these batch sizes,
few_victims: int = 1  # and with so many images of a run
inits: list[str] = ["xavier_normal", "kaiming_normal"]  # schemes
activations: list[str] = ["relu", "sigmoid"]  # own: leave it to the model
norm_models: list[str] = []  # models with BatchNorm, attacked in both modes
norm_batches: list[int] = [2]  # with these batch sizes
between: list[str] = ["gelu"]  # activations beside ReLU and sigmoid
gains: list[float] = [1.0, 2.0]  # factors on the weights of a ReLU network
label_batches: int = 4  # batches whose labels are read
victims: int = 2  # images of a run, one batch at least
steps: int = 15  # of each attack
long_steps: int = 30  # of a few runs that go on
seeds: int = 2  # weights, each with images of their own
seed: int = 0  # of the first weights, dummies and images
scaling: str = "none"  # or minmax: images scored after stretching
examples: int = 4  # images in the figures, at most 8

# %% tags=["hide-input"]
from gleak_lib.chapters import parameters

settings = parameters.check("14_weight_initialization", globals())

# %% tags=["experiment"]
from gleak_lib.experiments import TrainingCell

every = {*models, *few, *norm_models}
batch_norm = {"resnet18": {"norm": "batch"}}  # as in the source
fresh = {
    (m, i, a, s): TrainingCell(
        dataset,
        m,
        {"init": i}
        | ({} if a == "own" else {"activation": a})
        | batch_norm.get(m, {}),
        seed=s,
    )
    for m in every
    for i in inits
    for a in [*activations, *between]
    for s in range(seed, seed + seeds)
}

# %% tags=["experiment"]
from gleak_lib.attacks import Adam, Attack, Match, Pixels, Schedule
from gleak_lib.defenses import NO_DEFENSE, PruneSmall
from gleak_lib.experiments import AttackCell

to_the_end = {"drop_after": 0, "stop_after": 0, "stop_below": 0.0}
plain = Attack(
    "adam",
    match=Match("cosine"),
    priors=(),
    variables=Pixels(clip=False),
    optimizer=Adam(lr=0.1, signed=False),
    schedule=Schedule(max_steps=steps, **to_the_end),
)
size = {b: max(1, victims // b) for b in (1, *batch_sizes, *norm_batches)}
grid = {
    (m, i, a, b, p, s): AttackCell(
        w,
        0,
        plain,
        few_victims if m in few else size[b],
        b,
        s,
        seed=s,
        mode="eval",
        defense=PruneSmall(p) if p else NO_DEFENSE,
    )
    for (m, i, a, s), w in fresh.items()
    for b in (few_batches if m in few else batch_sizes)
    for p in ([0.0] if m in few else pruning)
    if m in [*models, *few] and a in activations
}

# %% tags=["experiment"]
modes = {
    (m, i, a, b, mode, s): AttackCell(w, 0, plain, 1, b, s, seed=s, mode=mode)
    for (m, i, a, s), w in fresh.items()
    for b in norm_batches
    for mode in ("eval", "train")
    if m in norm_models and a in activations and i in inits[:2]
}

# %% tags=["experiment"]
from dataclasses import replace

from gleak_lib.attacks import Inferred

variants = {
    "squared error": plain.replace(distance="l2"),
    "signed, clipped, smooth": plain.replace(
        signed=True, clip=True, tv=1e-3, milestones=(0.4, 0.7, 0.9)
    ),
    "more steps": plain.replace(max_steps=long_steps),
    **{f"set {images}": plain for images in sets},
    **{
        f"labels read, B={b}": plain.replace(labels=Inferred())
        for b in batch_sizes
        if b > 1
    },
}
varied = {}
for (m, i, a, s), w in fresh.items():
    for name, attack in variants.items():
        if m == models[0] and i in inits[:2] and a in activations:
            b = int(name.partition("B=")[2] or 1)
            images = name.partition("set ")[2] or dataset
            varied[name, i, a, s] = AttackCell(
                replace(w, dataset=images),
                0,
                attack,
                size[b],
                b,
                s,
                seed=s,
                mode="eval",
                share_labels=not name.startswith("labels"),
            )

# %% tags=["experiment"]
from gleak_lib.experiments import ConditioningCell

scaled = {
    (g, s): replace(
        fresh[models[0], inits[:2][-1], "relu", s],
        model="gleak_book.scaled:scaled",
        options={"model": models[0], "gain": g}
        | dict(fresh[models[0], inits[:2][-1], "relu", s].options),
    )
    for g in gains
    for s in range(seed, seed + seeds)
}
looked_at = {
    (i, a, 1.0, s): w
    for (m, i, a, s), w in fresh.items()
    if m == models[0] and (a in activations or i in inits[:2])
}
looked_at |= {("scaled", "relu", g, s): w for (g, s), w in scaled.items()}
found_in = {
    place: AttackCell(
        w, 0, plain, size[1], 1, place[-1], seed=place[-1], mode="eval"
    )
    for place, w in looked_at.items()
}
conditions = {
    place: ConditioningCell(w, 0, size[1], place[-1], seed=place[-1])
    for place, w in looked_at.items()
}

# %% tags=["experiment"]
from gleak_lib.experiments import LabelInferenceCell

labels_read = {
    (i, a, b, s): LabelInferenceCell(
        w, 0, label_batches, b, False, s, s, "counts"
    )
    for (m, i, a, s), w in fresh.items()
    for b in batch_sizes
    if m == models[0] and i in inits[:2] and a in activations
}
parts = [grid, modes, varied, found_in, conditions, labels_read]
experiments = list(dict.fromkeys(c for part in parts for c in part.values()))
