# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What stands
#
# A defence is as good as the best attack on it. Tables that report one attack for all of them flatter some: whoever has built a defence against
# Inverting Gradients has not built one against what comes next. {doc}`Breaking the bottleneck <08_breaking_the_bottleneck>` shows how far that can go.
#
# So this chapter draws the trade-off of {doc}`Attacks and defences <05_attacks_and_defences>` once more, with attackers who know what they are up
# against. Every protection meets several attacks, some of them made for it, and what counts is the one that finds most. Beside it stands
# what the protection costs: accuracy, bytes, time. At the end it says what a practitioner can rely on, and what not.

# %% tags=["parameters"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
model: str = "cnn"  # a model of gleak_lib.models.MODELS
protections: list[str] = [
    "none",
    "dp noise_multiplier=1e-2",
    "compression p=0.9",
    "batch 2",
    "cvb 1 5 1/2 1e-1",
    "cvb 1 5 1/2 1e-1 + average-noise draws=2",
]  # the first is none
trained: list[str] = ["cvb 1 5 1/2 1e-1"]  # attacked after training, too
untrained: list[str] = []  # whose accuracy is not measured
training_rounds: int = 2  # federated rounds
victims: int = 4  # images attacked on each model
steps: int = 100  # of each attack
plateau: int = 20  # of IG and Ignore: steps before lr falls
seeds: int = 2  # models, each with victims of its own
seed: int = 0  # of the first model, of dummies and noise
victim_seed: int = 1  # which images are attacked
scaling: str = "minmax"  # or none: images scored as they are
examples: int = 4  # images in the figures, at most 8

# %% tags=["remove-input"]
from gleak_lib import plots
from gleak_lib.experiments import open_store, parameters, run, tables
from gleak_lib.experiments.plans import standing as plan
from gleak_lib.experiments.plans import standing_report as report
from IPython.display import Markdown

settings = parameters.check("09_what_stands", globals())
cells = plan.cells(**settings)
store = open_store(profile)
found = dict(zip(cells, run(cells, store), strict=True))
Markdown(tables.note(found.values(), profile))

# %% [markdown]
# ## Protections and attackers
#
# Three kinds of protection are compared. *Changes of the gradient*: DP, other noise, compression, pruning, quantisation, clipping. *Bottlenecks*:
# PRECODE, the CVB, and candidates that the last chapter suggests: the exact KL term with a floor under $\sigma$, so that training cannot
# take the noise away; more noise entries than there are gradient entries (one convolution of $1 \times 1$ with 32 times as many kernels as channels: 100,352
# numbers against 90,538 parameters); the gradient averaged over four draws before it is shared; and combinations. *Batches*: several images
# in an update, which costs nothing, since clients train on batches anyway.
#
# The attacker knows the network, its weights, the protection and its settings, and the labels.
#
# | attack | on | what it does |
# |---|---|---|
# | IG or Ignore | all | what {cite:t}`scheliga2023cvb` report: Ignore behind a bottleneck (on trained weights IG), else IG |
# | joint | all | matches the whole gradient, and searches for the noise where there is any |
# | layer by layer | all | the same with each tensor's cosine counting alike, and a stronger prior |
# | joint, smoother | noise in the gradient | `joint` with $\lambda = 0.03$ |
# | entries sent | compression, pruning | layer by layer, on entries that are not zero |
# | layer left out | Soteria | layer by layer, without the layer that is pruned |
# | all draws searched for | averaged noise | `joint` with one unknown map a draw |
#
# An attacker who can try these on images of their own knows which is best for a protection; that is the column "best attack". The attacker who cannot
# has to believe, image by image, the reconstruction whose gradient lies nearest to the observed one (`attacks.gradient_distance`); that is "chosen by its loss".

# %%
table = report.table(settings, found)
tables.show(
    table,
    columns={
        "label": "protection",
        "published_text": "ASR %, IG or Ignore",
        "attack": "best attack",
        "best_text": "ASR %, best attack",
        "chosen_text": "ASR %, chosen by its loss",
        "best_ssim": "SSIM, best attack",
    },
    digits={"best_ssim": 2},
    caption=report.caption(settings, "fresh"),
)

# %%
plots.intervals(report.for_plot(table), xlabel="ASR %, with 95 % intervals")

# %% [markdown]
# PROSE-FRESH

# %%
attacks_table = report.attacks_table(settings, found)
tables.show(
    attacks_table,
    columns={"label": "protection"}
    | {name: name for name in attacks_table if name != "label"},
    digits={name: 2 for name in attacks_table if name != "label"},
    caption="Mean SSIM. " + report.caption(settings, "fresh"),
)

# %% [markdown]
# PROSE-ATTACKS

# %%
originals, pictures = report.pictures(settings, found)
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %% [markdown]
# ## After training
#
# The same attackers on the weights after training under each protection, at a few of them.

# %%
tables.show(
    report.trained_table(settings, found),
    columns={
        "label": "protection",
        "published_text": "ASR %, IG",
        "attack": "best attack",
        "best_text": "ASR %, best attack",
        "chosen_text": "ASR %, chosen by its loss",
        "best_ssim": "SSIM, best attack",
    },
    digits={"best_ssim": 2},
    caption=report.caption(settings, "trained"),
)

# %% [markdown]
# PROSE-TRAINED
#
# ## What it costs

# %%
tables.show(
    table,
    columns={
        "label": "protection",
        "accuracy": "accuracy %",
        "gain": "against none",
        "epsilon": "ε",
        "kilobytes": "kB a gradient",
        "relative_kilobytes": "times none",
        "seconds": "s a round",
        "relative_seconds": "times none ",
    },
    digits={
        "gain": 2,
        "kilobytes": 1,
        "seconds": 1,
        "relative_kilobytes": 2,
        "relative_seconds": 2,
    },
    caption=report.caption(settings, "utility"),
)

# %% [markdown]
# PROSE-COST
#
# ## The trade-off with adaptive attackers

# %%
plots.tradeoff(
    report.tradeoff(settings, table),
    xlabel="accuracy gained, points",
    ylabel="mean SSIM",
    threshold=0.5,
    linear=1.0,
)

# %% [markdown]
# PROSE-TRADEOFF
#
# ## What to use, and what not to rely on
#
# PROSE-END
#
# ## Try it
#
# A protection is a line of text: bottlenecks, defences of the registry with their options, batches, joined by ` + `.
#
# ```console
# gleak run 09_what_stands --profile quick -p protections "['none', 'quantize bits=4', 'cvb 1 3 1 1e-1 exact floor=2 + batch 4']" -p trained "[]" --output tryout
# gleak run 09_what_stands --profile cpu -p dataset mnist
# ```
