# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["parameters", "hide-cell"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # image set of victims and generator
shifted: list[str] = []  # sets that other generators learn
model: str = "cnn"  # a model of gleak_lib.models.MODELS
bottleneck: str = "cvb(1)"  # one variational bottleneck
width: int = 8  # of the generators
generator_steps: int = 100  # batches that each generator is trained on
samples: int = 1000  # of each victim's class, for the control
protections: list[str] = [
    "gaussian(std=0.1)",
    "compression(p=0.9)",
]  # compared with none
victims: int = 4  # images attacked on each model
steps: int = 50  # of Adam
lbfgs_steps: int = 3  # of DLG and iDLG
generations: int = 10  # of CMA-ES
turbo_steps: int = 1  # of TuRBO
seeds: int = 1  # models of the main comparison, each with own victims
seed: int = 0  # of the first model, of dummies and noise
victim_seed: int = 0  # which images are attacked
scaling: str = "none"  # or minmax: each image stretched before scoring
examples: int = 4  # images in the figures, at most 8

# %% tags=["hide-input"]
from gleak_lib import plots
from gleak_lib.chapters import open_store, parameters
from gleak_lib.experiments import intervals, run, tables
from IPython.display import Markdown
from myst_nb import glue

settings = parameters.check("15_generative_leakage", globals())

# %% tags=["experiment"]
from gleak_lib.attacks import ggl
from gleak_lib.experiments import (
    GeneratorCell,
    GeneratorControlCell,
    TrainingCell,
)

made = {"width": width, "steps": generator_steps, "seed": seed}
generators = {name: GeneratorCell(name, **made) for name in [dataset, *shifted]}
samples_of = {
    (name, i): GeneratorControlCell(
        generators[name], dataset, victims, victim_seed + i, samples=samples
    )
    for name in generators
    for i in range(seeds if name == dataset else 1)
}
fresh = [TrainingCell(dataset, model, seed=seed + i) for i in range(seeds)]
main = ggl(generators[dataset]).replace(max_steps=steps)
chosen = {"victims": victims, "split": "test"}

# %% tags=["experiment"]
from gleak_lib.attacks import NoiseGradient
from gleak_lib.client_setup import parse
from gleak_lib.experiments import AttackCell, ReidentificationCell

noisy = parse(protections[0])
conditions = {
    "no defense": {},
    noisy.label: {"defense": noisy.defense},
    "control: noise for a gradient": {"cleaning": (NoiseGradient(seed),)},
}
gains = {
    (name, i): AttackCell(
        fresh[i],
        attack=main,
        victim_seed=victim_seed + i,
        seed=seed + i,
        **chosen,
        **condition,
    )
    for name, condition in conditions.items()
    for i in range(seeds)
}
ranked = {key: ReidentificationCell(cell) for key, cell in gains.items()}

# %% tags=["experiment"]
first = {"victim_seed": victim_seed, "seed": seed, **chosen}
priors = {
    "none": ("kl-whole", 0.0, 0.0),
    "KL, whole latent": ("kl-whole", 0.1, 1e-4),
    "KL, element by element": ("kl", 1e-4, 1e-4),
    "norm": ("norm", 1e-5, 1e-5),
}
losses = {
    (loss, prior): AttackCell(
        fresh[0],
        attack=main.replace(
            distance=distance, latent_prior=form, latent_weight=weights[place]
        ),
        **first,
    )
    for place, (loss, distance) in enumerate(
        {"squared L2": "mean-l2", "cosine": "cosine"}.items()
    )
    for prior, (form, *weights) in priors.items()
}

# %% tags=["experiment"]
from gleak_lib.attacks import CMAES, TuRBO

optimizers = {
    "Adam": main,
    "CMA-ES": main.replace(
        optimizer=CMAES(), latent_squash=True, max_steps=generations
    ),
    "TuRBO": main.replace(optimizer=TuRBO(), max_steps=turbo_steps),
}
searches = {
    name: AttackCell(fresh[0], attack=attack, **first)
    for name, attack in optimizers.items()
}

# %% tags=["experiment"]
from gleak_lib.attacks import ATTACKS

lbfgs, adam = {"max_steps": lbfgs_steps}, {"max_steps": steps}
attackers = {
    "DLG": ATTACKS["dlg"].replace(**lbfgs),
    "iDLG": ATTACKS["idlg"].replace(**lbfgs),
    "IG": ATTACKS["ig"].replace(**adam, drop_after=max(1, steps // 10)),
    "GGL": main,
}
estimates = {
    "clip": "clipping-whole",
    "compression": "sparsity",
    "soteria": "sparsity",
}
setups = {parse(text).label: parse(text) for text in ["none", *protections]}
defended = {
    (label, name): AttackCell(
        fresh[0],
        attack=attack.replace(
            estimate=estimates.get(label.partition(" ")[0], "none")
        )
        if name == "GGL"
        else attack,
        defense=setup.defense,
        **first,
    )
    for label, setup in setups.items()
    for name, attack in attackers.items()
}

# %% tags=["experiment"]
from gleak_lib.attacks import Optimize

hidden = parse(bottleneck)
behind = TrainingCell(dataset, model, bottlenecks=hidden.bottlenecks, seed=seed)
joint = ATTACKS["joint"].replace(**adam)
bottled = {
    "IG": attackers["IG"],
    "joint": joint,
    "GGL": main,
    "GGL, noise searched for": main.replace(noise=Optimize(lr=0.05)),
}
stochastic = {
    name: AttackCell(behind, attack=attack, **first)
    for name, attack in bottled.items()
}
moved = {
    name: AttackCell(
        fresh[0],
        attack=ggl(generators[name]).replace(max_steps=steps),
        **first,
    )
    for name in generators
}
parts = [generators, samples_of, gains, losses, defended, moved, stochastic]
experiments = [*parts, ranked, searches]
