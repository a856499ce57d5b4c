# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Weight initialization
#
# ```{admonition} In short
# :class: tip
# **Question.** Does it matter for privacy how the weights of a fresh network were drawn, and which activation it has?
#
# **Answer.** Yes: single images come back at {glue:text}`short-best` dB from {glue:text}`short-best-name`, at {glue:text}`short-worst` dB from {glue:text}`short-worst-name`; noise scores {glue:text}`noise-one` dB. Sigmoid leaks more than ReLU (by {glue:text}`short-relu` dB); noise of σ = {glue:text}`noisiest` turns that around.
# Of the source's {glue:text}`verdict-all` claims {glue:text}`verdict-holds` hold after {glue:text}`steps` steps, {glue:text}`verdict-opposite` is reversed (Kaiming − Xavier under ReLU: {glue:text}`relu-order` dB).
# ```
#
# ```{glue:figure} seen
# :name: fig-init-seen
#
# Originals, and what the attack finds from each combination of scheme and activation; single images, the first ones, none picked out; {glue:text}`about-seen`.
# ```
#
# A federated training begins with fresh weights, which without a protection mostly leak more than trained ones ({doc}`09_what_stands`). {cite:t}`li2024attacking` asks whether the way in which they are drawn makes a difference: McMahan's CNN {cite:p}`mcmahan2017fedavg`
# and ResNet-18 {cite:p}`he2016resnet`, four schemes, two activations, gradients with and without pruning, batches of one to sixteen, 960 runs in all. The presentation reports figures without intervals. This chapter repeats
# the study at a smaller scale, puts an interval beside each claim, and looks for the reason.
#
# ```{admonition} A weak attack by design
# :class: warning
# The attack is that of the source: plain Adam, cosine distance, no image prior. What it misses is not safe. {doc}`08_breaking_the_bottleneck` has the strongest attacks of this book, and
# {doc}`10_closed_form_inversion` attacks that need no steps at all.
# ```
#
# ## The experiment

# %% tags=["parameters", "hide-cell"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
sets: list[str] = []  # further image sets, small grid only
models: list[str] = ["mcmahan_cnn"]  # of MODELS, or module:function
batch_sizes: list[int] = [1, 2]  # images in an update
pruning: list[float] = [0.0, 0.2]  # share of small entries set to zero
reduced: list[str] = []  # models beside the first, in a smaller grid
reduced_batches: list[int] = [1]  # its batch sizes; nothing is pruned
reduced_victims: int = 1  # its images of a run, one batch at least
reduced_steps: int = 2  # and its steps
inits: list[str] = ["xavier_normal", "kaiming_normal"]  # schemes
activations: list[str] = ["relu", "sigmoid"]  # own: leave it to the model
norm_models: list[str] = []  # models with BatchNorm, attacked in both modes
norm_batches: list[int] = [2]  # with these batch sizes
norm_activations: list[str] = ["relu"]  # and these activations
norm_steps: int = 2  # of the attack on them
noise_levels: list[float] = [0.01]  # deviations of noise on the gradient
sparsities: list[float] = [0.9]  # shares of small entries set to zero
resolutions: list[int] = [16]  # heights and widths of images
hint_victims: int = 1  # images of each of these runs, and of long ones
read_once: list[int] = []  # batch sizes whose labels are read in one setting
between: list[str] = ["gelu"]  # activations beside ReLU and sigmoid
gains: list[float] = [1.0, 2.0]  # factors on the weights of a ReLU network
label_batches: int = 4  # batches whose labels are read
victims: int = 2  # images of a run, one batch at least
steps: int = 15  # of each attack
long_steps: int = 30  # of a few runs that go on
frames: int = 4  # of the animation
seeds: int = 2  # weights, each with images of their own
seed: int = 0  # of the first weights, dummies and images
rechecked: list[int] = []  # batch sizes met by as many further seeds
scaling: str = "none"  # or minmax: images scored after stretching
examples: int = 4  # images in the figures, at most 8

# %% tags=["hide-input"]
import numpy
import pandas
from gleak_lib import plots
from gleak_lib.chapters import open_store, parameters
from gleak_lib.experiments import run, tables
from gleak_lib.metrics import intervals
from IPython.display import Markdown, display
from myst_nb import glue

from gleak_book import figures, verdicts

settings = parameters.check("14_weight_initialization", globals())

# %% [markdown]
# Fresh weights of every model, scheme, activation and seed. ResNet-18 has BatchNorm, as in the source. A model may be one of yours: see the end of this page. What answers the chapter's question stands open; the declarations of its side studies are folded.

# %% tags=["experiment"]
from dataclasses import replace

from gleak_lib.experiments import TrainingExperiment

every = dict.fromkeys([*models, *reduced, *norm_models])
batch_norm = {"resnet18": {"norm": "batch"}}  # as in the source
fresh = {
    (m, i, a, s): TrainingExperiment(
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

# %% [markdown]
# The attack, and which combinations meet it. Every seed has weights, images and dummies (the noise that an attack starts from) of its own, and all settings of one seed see the same images. B is the number of images in a batch. The networks are in evaluation mode (but for the section on BatchNorm), since BatchNorm cannot
# normalize a single image by itself. Runs of one or two images that differ in weights, images and dummies alone are computed together ({doc}`12_benchmarks` says what that saves). The source calls its pruning "small" and says no more; here the smallest {glue:text}`cut` of all entries are set to zero.

# %% tags=["experiment"]
from gleak_lib.attacks import Adam, Attack, Match, Pixels, Schedule

to_the_end = {"drop_after": 0, "stop_after": 0, "stop_below": 0.0}
plain = Attack(
    "adam",
    match=Match("cosine"),
    priors=(),
    variables=Pixels(clip=False),
    optimizer=Adam(lr=0.1, signed=False),
    schedule=Schedule(max_steps=steps, **to_the_end),
)

# %% tags=["experiment"]
size = {b: max(1, victims // b) for b in (1, *batch_sizes)}
two = inits[:2]
runs = {
    (m, b, p): size[b] for m in models for b in batch_sizes for p in pruning
}

# %% tags=["experiment", "hide-input"]
from gleak_lib.defenses import NO_DEFENSE, PruneSmall
from gleak_lib.experiments import AttackExperiment

grid = {
    (m, i, a, b, p, s): AttackExperiment(
        w,
        0,
        plain,
        images,
        b,
        s,
        seed=s,
        mode="eval",
        defense=PruneSmall(p) if p else NO_DEFENSE,
    )
    for (m, i, a, s), w in fresh.items()
    for (model, b, p), images in runs.items()
    if m == model and a in activations
}

# %% [markdown]
# And the same on as many further seeds, which were drawn after the claims had been judged on the first ones.

# %% tags=["experiment", "hide-input"]
grid_again = {
    (m, i, a, b, p, s + seeds): replace(
        run,
        training=replace(run.training, seed=s + seeds),
        victim_seed=s + seeds,
        seed=s + seeds,
    )
    for (m, i, a, b, p, s), run in grid.items()
    if b in rechecked
}

# %% [markdown]
# Where a model costs too much for that, it is compared with the first one in a smaller grid: without pruning, and in fewer steps for both.

# %% tags=["experiment", "hide-input"]
short = plain.replace(max_steps=reduced_steps)
small_grid = {
    (m, i, a, b, s): AttackExperiment(
        w,
        0,
        short,
        max(1, reduced_victims // b),
        b,
        s,
        seed=s,
        mode="eval",
    )
    for (m, i, a, s), w in fresh.items()
    for b in reduced_batches
    if reduced and m in (models[0], *reduced) and a in activations
}

# %% [markdown]
# Beside the grid, on the first model without pruning: other distances, attacks, images and labels; what explains the differences (activations between ReLU and sigmoid, a ReLU network whose weights are multiplied by a factor, and how well the gradient
# determines the image); labels read off the gradient; and BatchNorm in both modes.

# %% tags=["experiment", "hide-input"]
from gleak_lib.attacks import Inferred

variants = {
    "squared error": plain.replace(distance="l2"),
    "signed, clipped, smooth": plain.replace(
        signed=True, clip=True, tv=1e-3, milestones=(0.4, 0.7, 0.9)
    ),
    **{f"set {images}": plain for images in sets},
    **{
        f"labels read, B={b}": plain.replace(labels=Inferred())
        for b in batch_sizes
        if b > 1
    },
}
longer = f"{long_steps} steps"
variants[longer] = plain.replace(max_steps=long_steps)
once = [f"labels read, B={b}" for b in read_once]

# %% tags=["experiment", "hide-input"]
varied = {}
for (m, i, a, s), w in fresh.items():
    for name, attack in variants.items():
        b = int(name.partition("B=")[2] or 1)
        images = name.partition("set ")[2] or dataset
        tried = name not in once or (i, a) == (two[-1], activations[0])
        if m == models[0] and i in two and a in activations and tried:
            varied[name, i, a, s] = AttackExperiment(
                replace(w, dataset=images),
                0,
                attack,
                min(hint_victims, size[1]) if name == longer else size[b],
                b,
                s,
                seed=s,
                mode="eval",
                share_labels=not name.startswith("labels"),
            )

# %% tags=["experiment", "hide-input"]
from gleak_book.kinds import ConditioningExperiment

scaled = {
    (g, s): replace(
        fresh[models[0], two[-1], "relu", s],
        model="gleak_book.scaled:scaled",
        options={"model": models[0], "gain": g}
        | dict(fresh[models[0], two[-1], "relu", s].options),
    )
    for g in gains
    for s in range(seed, seed + seeds)
}

# %% tags=["experiment", "hide-input"]
looked_at = {
    (i, a, 1.0, s): w
    for (m, i, a, s), w in fresh.items()
    if m == models[0] and i in two
}
looked_at |= {("scaled", "relu", g, s): w for (g, s), w in scaled.items()}
found_in = {
    place: AttackExperiment(
        w, 0, plain, size[1], 1, place[-1], seed=place[-1], mode="eval"
    )
    for place, w in looked_at.items()
}
probes = 4
conditions = {
    place: ConditioningExperiment(w, 0, size[1], place[-1], probes, place[-1])
    for place, w in looked_at.items()
}

# %% tags=["experiment", "hide-input"]
modes = {
    (m, i, a, b, mode, s): AttackExperiment(
        w, 0, plain.replace(max_steps=norm_steps), 1, b, s, seed=s, mode=mode
    )
    for (m, i, a, s), w in fresh.items()
    for b in norm_batches
    for mode in ("eval", "train")
    if m in norm_models and a in norm_activations and i == inits[0]
}

# %% [markdown]
# What else the source recommends as a protection: noise, Gaussian and Laplace of the same deviation, more sparsity than 20 %, and another resolution of the images. With the first scheme, on few single images.

# %% tags=["experiment", "hide-input"]
from gleak_lib.defenses import Gaussian, Laplace

hints = {
    f"Gaussian noise, σ = {x:g}": (dataset, Gaussian(x)) for x in noise_levels
}
hints |= {
    f"Laplace noise, σ = {x:g}": (dataset, Laplace(x / 2**0.5))
    for x in noise_levels
}
hints |= {f"{p:.0%} pruned": (dataset, PruneSmall(p)) for p in sparsities}
hints |= {
    f"{x} × {x} pixels": (f"{dataset}@{x}", NO_DEFENSE) for x in resolutions
}

# %% tags=["experiment", "hide-input"]
hinted = {
    (name, a, s): AttackExperiment(
        replace(fresh[models[0], two[0], a, s], dataset=images),
        attack=plain,
        victims=hint_victims,
        victim_seed=s,
        seed=s,
        mode="eval",
        defense=defense,
    )
    for name, (images, defense) in hints.items()
    for a in activations
    for s in range(seed, seed + seeds)
}

# %% [markdown]
# And one attack, watched: the first images on the network that leaks most, according to the source's claims.

# %% tags=["experiment", "hide-input"]
from gleak_book.kinds import AnimationExperiment

watched = AnimationExperiment(
    fresh[models[0], two[0], activations[-1], seed],
    attack=plain,
    victims=min(2, size[1]),
    frames=frames,
    victim_seed=seed,
    seed=seed,
)

# %% tags=["experiment", "hide-input"]
from gleak_lib.experiments import LabelInferenceExperiment

labels_read = {
    (i, a, b, s): LabelInferenceExperiment(
        w, 0, label_batches, b, False, s, s, "counts"
    )
    for (m, i, a, s), w in fresh.items()
    for b in batch_sizes
    if m == models[0] and i in two and a in activations
}
parts = [
    grid,
    grid_again,
    small_grid,
    modes,
    varied,
    found_in,
    conditions,
    labels_read,
    hinted,
]
several = (c for part in parts for c in part.values())
experiments = list(dict.fromkeys([*several, watched]))

# %%
results = run(experiments, open_store(profile))
Markdown(tables.note(results, profile))

# %% [markdown]
# ## The four formulas
#
# By hand: the standard deviation of the first convolution of McMahan's CNN, by the formulas on the source's slides and as drawn. A fan counts the inputs (or outputs) of one unit, times the entries of its kernel. Kaiming's gain is $\sqrt 2$, Xavier's 1; a uniform
# draw reaches $\sqrt 3$ standard deviations.

# %%
import torch
from gleak_lib import models as networks

fan_in, fan_out = 3 * 25, 32 * 25
formulas = {
    "kaiming": 2**0.5 / fan_in**0.5,
    "xavier": (2 / (fan_in + fan_out)) ** 0.5,
}
for scheme, deviation in formulas.items():
    for draw in ("normal", "uniform"):
        network = networks.build("mcmahan_cnn", init=f"{scheme}_{draw}", seed=0)
        weight = network.stage1[0].weight.detach()
        print(
            f"{scheme}_{draw:8} formula {deviation:.4f}, drawn {weight.std():.4f}, "
            f"largest {weight.abs().max():.4f}"
        )

# %% [markdown]
# From one seed the two schemes draw the same numbers, times another factor for each layer. A ReLU network does not care: biases are zero, so that a positive factor passes through every layer, and the same units are on.

# %%
xavier, kaiming = (
    networks.build("mcmahan_cnn", init=f"{scheme}_normal", seed=0)
    for scheme in ("xavier", "kaiming")
)
x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
one = other = x
for number in (1, 2, 3):
    one = xavier.get_submodule(f"stage{number}")(one)
    other = kaiming.get_submodule(f"stage{number}")(other)
    same = ((one > 0) == (other > 0)).float().mean()
    ratio = (other[one > 0] / one[one > 0]).mean()
    print(f"stage {number}: {same:.1%} of units alike, ratio {ratio:.2f}")
print(f"logits: ratio {(kaiming(x) / xavier(x)).mean():.2f}")

# %% [markdown]
# So Xavier–ReLU and Kaiming–ReLU lose *exactly* the same information in their `max()`. Whatever sets them apart is scale.
#
# ## What the attack finds

# %% tags=["hide-input"]
by = ["model", "init", "activation", "batch_size", "pruning", "seed"]
scored = results.frame(grid, scaling=scaling, label=by)
smaller = scored.query("pruning == 0")
if reduced:
    unpruned = {
        (*place[:4], 0.0, place[-1]): c for place, c in small_grid.items()
    }
    smaller = results.frame(unpruned, scaling=scaling, label=by)
repeated = scored.iloc[:0]
if grid_again:
    repeated = results.frame(grid_again, scaling=scaling, label=by)
main, fewest = models[0], min(batch_sizes)
later = [m for m in dict.fromkeys(smaller["model"]) if m != main]
title = {"relu": "ReLU", "sigmoid": "sigmoid", "own": "its own"}
scored, smaller, repeated = (
    frame.assign(
        scheme=frame["init"].str.split("_").str[0],
        draw=frame["init"].str.split("_").str[-1],
        label=[
            f"{title.get(a, a)}, {i.replace('_', ' ')}"
            for a, i in zip(frame["activation"], frame["init"], strict=True)
        ],
        panel="B = " + frame["batch_size"].astype(str),
        group=[
            f"{p:.0%} pruned" if p else "not pruned" for p in frame["pruning"]
        ],
        value=frame["psnr"],
    ).sort_values(["activation", "init", "batch_size"], kind="stable")
    for frame in (scored, smaller, repeated)
)
scaled_text = "images as they are" if scaling == "none" else "min–max scaled"
about = f"{dataset}, fresh weights, {seeds} seeds, {steps} steps, {scaled_text}, profile {profile}"
counts, of_all = (
    "/".join(f"{n}" for n in numbers)
    for numbers in ([size[b] * b for b in batch_sizes], batch_sizes)
)
about_found = about.replace(
    f"{seeds} seeds", f"{seeds} seeds, {counts} images each at B = {of_all}"
)
about_later = about
if reduced:
    about_later = about.replace(
        f"{steps} steps", f"reduced to {reduced_steps} steps"
    )
figure = figures.distributions(
    scored[scored["model"] == main], xlabel="PSNR, dB"
)
alt = "One line per activation and scheme, one panel per batch size, a point per image, diamonds for means. Sigmoid lies further right than ReLU, Xavier further right than Kaiming but for ReLU in the largest batches, where both are level."
glue("found", plots.picture(figure, alt), display=False)
shown = Markdown(f"No other model at profile {profile}.")
if later:
    panels = smaller if reduced else smaller[smaller["model"] != main]
    panels = panels.assign(
        panel=panels["model"].str.replace("_", " ") + "\n" + panels["panel"]
    ).sort_values(["activation", "init", "model"], kind="stable")
    figure = figures.distributions(panels, xlabel="PSNR, dB")
    alt = "The same picture for two networks side by side: one line per activation and scheme, one panel per network and batch size, a point per image, diamonds for means."
    shown = plots.picture(figure, alt)
glue("found-later", shown, display=False)

# %% [markdown]
# ```{glue:figure} found
# :name: fig-init-found
#
# {glue:text}`main`: PSNR of every image (points), mean of the seeds' means (diamonds) and the range of these (bars), by activation, scheme, batch size B and pruning; {glue:text}`about-found`.
# ```
#
# ```{glue:figure} found-later
# :name: fig-init-later
#
# The same for {glue:text}`main` and {glue:text}`later`, without pruning; {glue:text}`about-later`.
# ```
#
# ```{glue:figure} movie
# :name: fig-init-movie
#
# The attack as it goes, on the first images of seed {glue:text}`first-seed`: {glue:text}`about-movie`.
# ```
#
# In numbers, without pruning. The images of a batch have no order, and each is compared with the true one to which it is assigned, so that all errors sum to the least. That flatters large batches, and so the last row of the first table scores noise in the same way: dummies as the attack starts from.

# %% tags=["hide-input"]
from gleak_lib import datasets, metrics

image_set = datasets.load(dataset)
center, width = (
    torch.tensor(v)[:, None, None] for v in (image_set.mean, image_set.std)
)
noise = {}
for b, count in {*size.items(), *((b, 1) for b in norm_batches)}:
    found = []
    for s in range(seed, seed + seeds):
        truth, _ = datasets.victims(image_set, count, s, batch_size=b)
        dummies = torch.randn(
            truth.shape, generator=torch.Generator().manual_seed(s)
        )
        score = metrics.score(dummies * width + center, truth, scaling=scaling)
        found.append(score["psnr"].mean())
    ends = intervals.mean(numpy.array(found))
    noise[b, count] = intervals.said(numpy.mean(found), *ends, 1)
noise_row = {"model": "–", "activation": "noise", "scheme": "–", "images": "–"}
noise_row |= {f"B = {b}: dB": noise[b, size[b]] for b in batch_sizes}
intact, cut = "pruning == 0", "pruning > 0"
tabled = {about: scored.query(f"{intact} and model == @main")}
tabled |= {about_later: smaller} if later else {}
for text, frame in tabled.items():
    rows = {}
    for (m, a, scheme, b), part in frame.groupby(
        ["model", "activation", "scheme", "batch_size"], sort=False
    ):
        psnr, of_seed = part["psnr"].to_numpy(), part["seed"].to_numpy()
        mean = part.groupby("seed")["psnr"].mean().mean()
        row = rows.setdefault(
            (m, a, scheme), {"model": m, "activation": a, "scheme": scheme}
        )
        row[f"B = {b}: dB"] = intervals.said(
            mean, *intervals.nested(psnr, of_seed), 1
        )
        row["images"] = (
            f"{row.get('images', '')}, {part['victim'].nunique() * b}".strip(
                ", "
            )
        )
    display(
        tables.show(
            pandas.DataFrame([*rows.values(), *[noise_row] * (text == about)]),
            columns=[
                "model",
                "activation",
                "scheme",
                *(f"B = {b}: dB" for b in sorted(set(frame["batch_size"]))),
                "images",
            ],
            caption=f"PSNR without pruning, both draws of each scheme, in parentheses 95 % intervals (Student's, over the seeds' means), and images per run; {text}.",
        )
    )

# %% [markdown]
# ## The claims, one by one
#
# Each claim becomes a difference between two sets of runs that saw the *same* images (but for the two claims on the batch size: B = {glue:text}`small` has {glue:text}`small-images`, B = {glue:text}`big` has {glue:text}`big-images` images of each seed): an effect in dB per batch. What varies from one repetition to the next is the seed: it draws weights, images and dummies. Images of one seed share its weights, so that they are no repetitions of it; they only make its mean more precise.
# The seeds' means are independent. So the interval is Student's of these few means, with as many degrees of freedom as there are seeds, less one. In a balanced design like this one it is also the interval of a mixed model, that is of a regression in which each seed, and each image within it, shifts the mean at random (unless that model sets the variance of seeds to zero).
#
# A bootstrap over seeds would be worse. Three seeds can be drawn anew in only ten different ways, and no mean of a draw leaves the range of the three. By hand, with effects whose truth is known (zero), four images per seed:

# %%
from itertools import product

from scipy import stats

rng = numpy.random.default_rng(0)
of_images = rng.normal(size=(20_000, 3, 1)) + rng.normal(size=(20_000, 3, 4))
of_seeds = of_images.mean(2)
again = numpy.array(list(product(range(3), repeat=3)))  # 27 draws of seeds
low, high = numpy.quantile(of_seeds[:, again].mean(2), [0.025, 0.975], axis=1)
half = stats.t.ppf(0.975, 2) * of_seeds.std(1, ddof=1) / 3**0.5
naive = 1.96 * of_images.std((1, 2), ddof=1) / 12**0.5
print(f"{len({tuple(sorted(a)) for a in again.tolist()})} distinct draws")
for name, covers in {
    "bootstrap over seeds": (low <= 0) & (high >= 0),
    "Student over seeds": abs(of_seeds.mean(1)) <= half,
    "images as repetitions": abs(of_images.mean((1, 2))) <= naive,
}.items():
    print(f"{name}: the 95 % interval covers zero in {covers.mean():.0%}")

# %% [markdown]
# What Student's interval *can* mean: where the mean of many more seeds lies, for these settings, this image set and this attack, if the seeds' means are roughly normal. Three of them cannot show whether they are. What it *cannot* mean: where another image, another image set or another attack will lie. And it is wide: with {glue:text}`seeds` seeds half its width is
# {glue:text}`student` standard errors (1.96 with many seeds), so that "undecided" is often all that they allow.
#
# Several claims are judged at once, and one interval in twenty misses. So the verdicts of one table are said at a level of 5 % for all of them together {cite:p}`holm1979`: "holds" where the adjusted $p$ of Student's test is below 5 % and the effect has the claimed sign, "the opposite" where it has the other one. For "no difference" two one-sided tests ask whether the
# effect is within one decibel of zero {cite:p}`schuirmann1987`; "does not hold" says that its interval, widened for as many claims, lies outside. Each table is a family of its own; the page as a whole promises nothing. In an effect all batch sizes count alike that both sets have; {numref}`fig-init-sizes` shows them one by one.

# %% tags=["hide-input"]
relu, sigmoid = "activation == 'relu'", "activation == 'sigmoid'"
by_xavier, by_kaiming = "scheme == 'xavier'", "scheme == 'kaiming'"
mine = f"model == '{main}'"
own = scored.query(f"{mine} and {intact} and init in @two")
orders = {
    "Xavier–ReLU is below Kaiming–ReLU (Kaiming − Xavier)": (
        by_kaiming,
        by_xavier,
        relu,
    ),
    "Kaiming–ReLU is below Kaiming–sigmoid (sigmoid − ReLU)": (
        sigmoid,
        relu,
        by_kaiming,
    ),
    "Kaiming–sigmoid is below Xavier–sigmoid (Xavier − Kaiming)": (
        by_xavier,
        by_kaiming,
        sigmoid,
    ),
    "ReLU leaks least (sigmoid − ReLU)": (sigmoid, relu, intact),
}
alike = "normal and uniform draws give the same (uniform − normal)"
draws = "draw == 'uniform'", "draw == 'normal'", intact
ways = {alike: ("same", *draws)}
ways |= {claim: ("more", *sets) for claim, sets in orders.items()}
ways |= {
    "pruning matters under Xavier (intact − pruned)": (
        "more",
        intact,
        cut,
        by_xavier,
    ),
    "pruning matters little under Kaiming (intact − pruned)": (
        "same",
        intact,
        cut,
        by_kaiming,
    ),
}
samples = {"": scored}
if grid_again:
    first = scored.query("batch_size in @rechecked")
    pooled = pandas.concat([first, repeated])
    samples |= {"first": first, "again": repeated, "both": pooled}
judged_on = {}
for sample, frame in samples.items():
    rows = frame.query(mine)
    normal = rows.query(f"{intact} and init in @two")
    place = ["batch_size", "seed"]
    low, high = normal["batch_size"].min(), normal["batch_size"].max()
    size_means = normal.groupby(place)["psnr"].mean()
    within = normal.groupby([*place, "init", "activation"])["psnr"].mean()
    spread = within.groupby(place).std()
    claims = {
        f"PSNR falls with the batch size (B = {low} − B = {high})": (
            size_means[low] - size_means[high],
            "more",
        ),
        f"settings differ less in large batches (their deviation, B = {low} − B = {high})": (
            spread[low] - spread[high],
            "more",
        ),
    }
    for claim, (expected, one, other, of) in ways.items():
        if cut not in (one, other):
            of = f"{intact} and {of}"
        claims[claim] = (verdicts.effect(rows, one, other, of), expected)
    judged_on[sample] = verdicts.judge(claims)
judged = judged_on[""]
judged_columns = {
    "claim": "claim of the source (effect)",
    "effect": "dB",
    "seeds": "lowest to highest seed, dB",
    "p": "p, adjusted",
    "verdict": "verdict",
}
tables.show(
    judged,
    columns=judged_columns,
    digits={"p": 3},
    caption=f"The source's claims on {main}; in parentheses 95 % intervals, each for itself: {about_found}.",
)

# %% tags=["hide-input"]
judged_later = {}
for m in later:
    alone = smaller[smaller["model"] == m]
    effects = {
        alike: (
            verdicts.effect(alone, *draws[:2], "activation != 'sigmoid'"),
            "same",
        )
    }
    effects |= {
        claim: (verdicts.effect(alone, *sets), "more")
        for claim, sets in orders.items()
    }
    effects |= {
        f"McMahan's CNN is below {m}, {title.get(a, a)} ({m} − CNN)": (
            verdicts.effect(
                smaller, f"model == '{m}'", mine, f"activation == '{a}'"
            ),
            "more",
        )
        for a in activations
    }
    unmoved = {c: effects.pop(c) for c in list(effects) if "sigmoid" in c}
    unjudged = verdicts.judge(unmoved).assign(
        p=float("nan"), verdict=intervals.MISSING
    )
    judged_later[m] = pandas.concat([verdicts.judge(effects), unjudged])
shown = [
    tables.show(
        table,
        columns=judged_columns,
        digits={"p": 3},
        caption=f"The same for {m}, draws compared without sigmoid; what rests on sigmoid runs is not judged, since they do not move (see below): {about_later}.",
    )
    for m, table in judged_later.items()
]
display(*shown or [Markdown(f"No other model at profile {profile}.")])

# %% tags=["hide-input"]
whole = scored.query(f"{intact} and {mine}")
each = []
for claim, pair in {alike: draws, **orders}.items():
    effects = verdicts.effect(whole, *pair)
    setting, _, label = claim.rstrip(")").partition(" (")
    label += {
        relu: ", ReLU",
        sigmoid: ", sigmoid",
        by_kaiming: ", Kaiming",
    }.get(pair[2], "")
    for b, values in effects.groupby(level="batch_size"):
        of_each = values.groupby(level="seed").mean().to_numpy()
        ends = intervals.mean(of_each)
        each.append((label, f"B = {b}", of_each.mean(), *ends))
shown = Markdown("Neither activations nor draws are compared.")
names = ["label", "method", "value", "low", "high"]
if each:
    figure = plots.intervals(
        pandas.DataFrame(each, columns=names),
        xlabel="difference of PSNR, dB",
        threshold=0,
    )
    alt = "One line per comparison, on it a point and an interval for each batch size: the differences shrink as batches grow."
    shown = plots.picture(figure, alt)
glue("sizes", shown, display=False)

# %% [markdown]
# ```{glue:figure} sizes
# :name: fig-init-sizes
#
# Comparisons of the first table by batch size, mean and 95 % interval over seeds, each for itself: {glue:text}`main`, {glue:text}`about`.
# ```
#
# {glue:text}`verdict-holds` of {glue:text}`verdict-all` claims hold on {glue:text}`main`, {glue:text}`verdict-opposite` comes out the other way round. Do they on other seeds? Their weights, images and dummies were drawn after these verdicts had been published:

# %% tags=["hide-input"]
shown, agreed = Markdown(f"No further seeds at profile {profile}."), "–"
if grid_again:
    beside = judged_on["first"][["claim"]].copy()
    ends = {
        "first": (seed, seed + seeds - 1),
        "again": (seed + seeds, seed + 2 * seeds - 1),
        "both": (seed, seed + 2 * seeds - 1),
    }
    for sample, (start, end) in ends.items():
        table = judged_on[sample]
        text = table["effect"] + ": " + table["verdict"]
        beside[f"seeds {start} to {end}, dB"] = text
    verdict = judged_on["first"]["verdict"]
    agreed = (
        f"{(judged_on['again']['verdict'] == verdict).sum()} of {len(verdict)}"
    )
    of_all = ", ".join(f"{b}" for b in rechecked)
    shown = tables.show(
        beside,
        columns={name: name for name in beside}
        | {"claim": "claim of the source (effect)"},
        caption=f"The same claims on {main} on the first seeds, on further ones and on all; verdicts of each column together; B = {of_all}, {about.replace(f'{seeds} seeds, ', '')}.",
    )
shown

# %% [markdown]
# In the published run (profile `cpu`) {glue:text}`agreed` verdicts are the same on the second half of the seeds, and no effect differs by more than half a decibel. All seeds together narrow the intervals.
#
# The order under ReLU is reversed: Xavier leaks more than Kaiming. Why it should, says the section after the next two. The differences between settings shrink as batches grow. Under ReLU that is no surprise: at B = {glue:text}`big` the attack finds hardly more than the noise that it starts from ({glue:text}`noise-big` dB) with either scheme. Sigmoid still leaks more there.
# Every batch size has the same number of steps, and a large batch more unknowns, so "PSNR falls" compares equal effort, not what could be found at all.
# Pruning {glue:text}`cut` of the entries does *nothing* to a ReLU network: {glue:text}`off` of its units are off, so that more of the gradient's entries are zero already, and only these are "pruned". What pruning costs is due to sigmoid: {glue:text}`pruned-xavier` dB under Xavier and {glue:text}`pruned-kaiming` dB under Kaiming. A pruning by magnitude has to be compared at equal numbers of
# entries that are really lost. That Xavier–sigmoid leaks most is decided after {glue:text}`steps` steps, not after {glue:text}`long-steps` ({numref}`fig-init-longer`).
#
# {glue:text}`later` could only be attacked in {glue:text}`reduced-steps` steps, and is compared with the CNN after as many on the same images ({numref}`fig-init-later`). With ReLU the difference is {glue:text}`later-relu` dB. After so few steps ResNet-18 with ReLU is hardly above noise ({glue:text}`noise-one` dB), so that the verdicts of its table say which network is found sooner, and nothing about where the attacks end. (The source states its claim on the networks for ReLU with Xavier; here both schemes count.) The difference with sigmoid units ({glue:text}`later-sigmoid` dB) says nothing about the network: there the last layer's
# gradient is nearly all of the gradient, the cosine distance is computed as {glue:text}`later-loss` (median), which is rounding in single precision, and the attack does not move at all. So rows that rest on such runs have no verdict, and do not count in the level of the others.
#
# ## Larger batches, and their labels
#
# Images of one update are found less well than a single one ({numref}`fig-init-found`). The attack was told the labels. It need not be: for one image the sign of the classifier's gradient gives the label {cite:p}`zhao2020idlg`; for more, with repeated classes too, the number of images of each class can be solved for {cite:p}`ma2023ilrg`. Share of labels that are found:

# %% tags=["hide-input"]
read = results.frame(labels_read, label=["init", "activation", "B", "seed"])
accuracy = 100 * read.pivot_table(
    index=["activation", "init"], columns="B", values="accuracy", sort=False
)
accuracy.columns = [f"B = {b}" for b in accuracy.columns]
tables.show(
    accuracy.reset_index(),
    columns={"activation": "activation", "init": "scheme"}
    | {name: f"{name}, %" for name in accuracy.columns},
    digits=dict.fromkeys(accuracy.columns, 0),
    caption=f"Labels read off the gradient of {main}: {label_batches} batches on each of {seeds} seeds, {dataset}, random images, fresh weights, profile {profile}.",
)

# %% [markdown]
# And the attack with labels that it has read itself, among other variants of it. All rows are of the same weights, and, but for other sets and batches, of the same images:

# %% tags=["hide-input"]
changed = results.frame(
    varied, scaling=scaling, label=["variant", "init", "activation", "seed"]
)
plainly = own.assign(
    variant=[
        "as in the source" if b == 1 else f"labels known, B={b}"
        for b in own["batch_size"]
    ]
)
in_batches = [b for b in batch_sizes if b > 1]
shown = [f"labels known, B={b}" for b in in_batches]
plainly = plainly[plainly["variant"].isin(["as in the source", *shown])]
both = pandas.concat([plainly, changed])
wide = both.pivot_table(
    index=["activation", "init"], columns="variant", values="psnr", sort=False
)
order = [
    "as in the source",
    *(n for n in variants if n != longer and not n.startswith("labels")),
]
order += [
    n
    for b in in_batches
    for n in (f"labels known, B={b}", f"labels read, B={b}")
]
wide = wide[[name for name in order if name in wide]].T.rename_axis("variant")
wide.columns = [
    f"{title.get(a, a)}, {i.replace('_', ' ')}" for a, i in wide.columns
]
tables.show(
    wide.reset_index(),
    columns={"variant": "attack"} | {name: name for name in wide.columns},
    digits=dict.fromkeys(wide.columns, 1),
    caption=f"Mean PSNR in dB of other attacks on {main} without pruning, single images where no B is named: {about}.",
)

# %% [markdown]
# As differences on the same batches:

# %% tags=["hide-input"]
tried_too = {
    f"cosine distance finds more than the squared error, {title.get(a, a)} (cosine − squared)": (
        "variant == 'as in the source'",
        "variant == 'squared error'",
        f"activation == '{a}'",
        "more",
    )
    for a in activations
}
tried_too |= {
    f"labels read are as good as known ones, B = {b} (known − read)": (
        f"variant == 'labels known, B={b}'",
        f"variant == 'labels read, B={b}'",
        f"init == '{two[-1]}' and activation == '{activations[0]}'"
        if b in read_once
        else "",
        "same",
    )
    for b in in_batches
}
both["batch_size"] = [int(v.partition("B=")[2] or 1) for v in both["variant"]]
both["scheme"] = both["init"].str.split("_").str[0]
both["label"] = [
    f"{title.get(a, a)}, {i.replace('_', ' ')}"
    for a, i in zip(both["activation"], both["init"], strict=True)
]
judged_too = verdicts.judge(
    {
        claim: (verdicts.effect(both, *sets), expected)
        for claim, (*sets, expected) in tried_too.items()
    }
)
tables.show(
    judged_too,
    columns=judged_columns | {"claim": "claim (effect)"},
    digits={"p": 3},
    caption=f"Other attacks on {main}; in parentheses 95 % intervals, each for itself: {about}.",
)

# %% [markdown]
# And the order of the settings on another image set, with weights of the same seeds:

# %% tags=["hide-input"]
judged_sets = verdicts.judge(
    {
        f"{claim}, {images}": (
            verdicts.effect(both[both["variant"] == f"set {images}"], *pair),
            "more",
        )
        for images in sets
        for claim, pair in orders.items()
        if pair[2] != intact
    }
)
shown = Markdown(f"No other image set at profile {profile}.")
if len(judged_sets):
    shown = tables.show(
        judged_sets,
        columns=judged_columns,
        digits={"p": 3},
        caption=f"The order of the settings on {', '.join(sets)}: {main}, single images, normal draws, not pruned; {about.replace(f'{dataset}, ', '')}.",
    )
shown

# %% [markdown]
# In the published run the order is the same on MNIST: under ReLU Xavier leaks more there, too. The squared error finds less than the cosine distance under ReLU ({glue:text}`l2-relu` dB); under sigmoid they are not told apart ({glue:text}`l2-sigmoid` dB). Signed steps with pixels clipped to their range and a smoothing prior ("signed, clipped, smooth") have about the same means but for Xavier–sigmoid, where they find much less; the three changes
# were not tried one by one. Where the table of other attacks decides it, labels that are read are as good as known ones. In the largest batches, where it does not, this was tried under Kaiming and ReLU only, where some labels are missed, and where the attack finds next to nothing even when it is told them.
#
# ## More steps
#
# Is the order of the settings one of the first {glue:text}`steps` steps? The same attack goes on for {glue:text}`long-steps`, on {glue:text}`long-victims` of the images of each seed:

# %% tags=["hide-input"]
budgets = {long_steps: longer, steps: "as in the source"}
went_on = {
    n: both[both["variant"] == name].assign(budget=f"after {n} steps")
    for n, name in budgets.items()
}
last = went_on[long_steps]["victim"].max()
by_steps = pandas.concat(dict(sorted(went_on.items()))).query("victim <= @last")
lines = []
for (label, budget), part in by_steps.groupby(["label", "budget"], sort=False):
    psnr, of_seed = part["psnr"].to_numpy(), part["seed"].to_numpy()
    ends = intervals.nested(psnr, of_seed)
    mean = part.groupby("seed")["psnr"].mean().mean()
    lines.append((label, budget, mean, *ends))
figure = plots.intervals(
    pandas.DataFrame(lines, columns=names), xlabel="PSNR, dB"
)
alt = "One line per activation and scheme, on it a point and an interval for few and for many steps."
glue("longer", plots.picture(figure, alt), display=False)
at_the_end = went_on[long_steps].query(f"{sigmoid} and init == @two[0]")
judged_steps = verdicts.judge(
    {
        f"{claim}, after {n} steps": (
            verdicts.effect(part.query("victim <= @last"), *sets),
            "more",
        )
        for claim, sets in orders.items()
        for n, part in sorted(went_on.items())
        if sets[2] != intact
    }
)
tables.show(
    judged_steps,
    columns=judged_columns,
    digits={"p": 3},
    caption=f"The order of the settings by the number of steps: {main}, {two[0].replace('_', ' ')} and {two[-1].replace('_', ' ')}, {last + 1} single images per seed; {about.replace(f'{steps} steps, ', '')}.",
)

# %% [markdown]
# ```{glue:figure} longer
# :name: fig-init-longer
#
# PSNR of the same images by the number of steps, mean and 95 % interval over seeds: {glue:text}`main`, {glue:text}`about-steps`.
# ```
#
# In the published run the means rise in every setting. Under ReLU Xavier still leads in every seed, and under Kaiming sigmoid leads ReLU by more than before in every seed. Under sigmoid, Xavier's lead over Kaiming is {glue:text}`lead-few` dB after {glue:text}`steps` steps and {glue:text}`lead-many` dB after
# {glue:text}`long-steps` ({glue:text}`lead-seeds` by seed): undecided. There the cosine distance of Xavier–sigmoid, which is never negative, is computed as {glue:text}`lead-loss` (median), and so is nothing but rounding. So that Xavier–sigmoid leaks most is shown for {glue:text}`steps` steps only; after more of them, single precision may limit it.
# Two images per seed decide less than the whole grid does, which is why this table says "undecided" where the first one does not.
#
# ## Why: information, or scale?
#
# The source's reason is that `max()` loses information. That cannot be all: Xavier–ReLU and Kaiming–ReLU lose the same (see the four formulas). Two experiments separate the reasons.
#
# **Scale, with the same information.** The weights of the Kaiming–ReLU network, all multiplied by one factor. Units that were off stay off.

# %% tags=["hide-input"]
places = ["init", "activation", "gain", "seed"]
tried = results.frame(found_in, scaling=scaling, label=places)
means = tried.groupby(places, sort=False)["psnr"].mean().reset_index()
cond = results.frame(conditions, label=places)
headings = {
    "gradient_norm": "gradient norm",
    "flat": "flat units",
    "rms": "RMS singular value",
    "effective_rank": "effective rank",
}
measures = [m for m in headings if cond[m].notna().any()]
measured = cond.groupby(places, sort=False)[[*headings]].mean().reset_index()
joined = means.merge(measured, on=places)
by_gain = joined[joined["init"] == "scaled"]
usual = min(gains, key=lambda g: abs(g - 1), default=1.0)
scaled_runs = tried[tried["init"] == "scaled"].assign(batch_size=1)
ends = f"gain == {min(gains, default=1)}", f"gain == {usual}"
largest = f"gain == {max(gains, default=1)}"
gain_effect = verdicts.judge(
    {"": (verdicts.effect(scaled_runs, *ends), "more")}
)
beyond = verdicts.judge(
    {"": (verdicts.effect(scaled_runs, largest, ends[1]), "more")}
)
if gains:
    line = []
    for g, part in tried[tried["init"] == "scaled"].groupby("gain"):
        low, high = intervals.nested(
            part["psnr"].to_numpy(), part["seed"].to_numpy()
        )
        mean = part.groupby("seed")["psnr"].mean().mean()
        line.append((f"× {g:g}", "ReLU", mean, low, high))
    names = ["label", "method", "value", "low", "high"]
    figure = plots.intervals(
        pandas.DataFrame(line, columns=names), xlabel="PSNR, dB"
    )
    found = ", ".join(
        f"{mean:.1f} dB at {label}" for label, _, mean, *_ in line
    )
    alt = f"One line per factor on the weights, a point and its interval each: {found}."
    glue("gains", plots.picture(figure, alt), display=False)
else:
    glue("gains", Markdown("no factors were tried"), display=False)

# %% [markdown]
# ```{glue:figure} gains
# :name: fig-init-gains
#
# PSNR of single images by the factor on the weights, mean and 95 % interval: {glue:text}`about`. The share of units that are off is {glue:text}`gain-flat` at every factor.
# ```
#
# From factor {glue:text}`gain-ends` it falls by {glue:text}`short-gain` dB, and no further at {glue:text}`gain-largest` (difference {glue:text}`gain-beyond` dB).
#
# **Information, with the same weights.** Other activations in place of ReLU. Softplus, leaky ReLU, sigmoid and tanh can be inverted and lose nothing; GELU cannot, but unlike ReLU it is smooth.

# %% tags=["hide-input"]
between_table = tables.means(
    joined[joined["init"] != "scaled"],
    ["psnr", *measures],
    ["activation", "init"],
)
display(
    *(
        tables.show(
            between_table[between_table["init"] == i].drop(
                columns=[f"{m}_std" for m in measures]
            ),
            columns={"activation": "activation", "psnr": "PSNR dB"}
            | {m: headings[m] for m in measures},
            digits={"psnr": 1, "effective_rank": 0, "rms": 3},
            caption=f"Activations in {main}, {i.replace('_', ' ')}: PSNR, and what is known of the gradient without any attack; single images, mean (± deviation over seeds): {about}.",
        )
        for i in two
    )
)

# %% [markdown]
# In the published run to lose nothing is not enough: under Kaiming softplus is found at {glue:text}`softplus-kaiming` dB, ReLU at {glue:text}`relu-kaiming` dB, and leaky ReLU (slope 0.01) is found as ReLU is under both schemes. Nor is it needed: GELU is found at {glue:text}`gelu-xavier` dB under Xavier, where ReLU is at
# {glue:text}`relu-xavier` dB; but it has few flat units. Sigmoid and tanh, which lose nothing, are found better than ReLU under both schemes. So the loss of information alone does not order the settings; scale matters, and perhaps smoothness, for which {cite:t}`zhu2019dlg` replaced ReLU by sigmoid: their search takes second derivatives.
#
# *Flat units* have a slope below 0.01: they hand nothing on. The last two columns are about the Jacobian of the gradient's direction with respect to the image. Near the truth, an error $d$ of the image changes the cosine distance by $|Jd|^2/2$; singular values $s_i$ that are small belong to errors that the attack does not
# see. Their root mean square says how much of an error shows, the effective rank $(\sum s_i^2)^2 / \sum s_i^4$ in how many directions it does. Both are estimated by {glue:text}`probes` random probes per image (`attacks.conditioning`). Where the image is small, all singular values can be computed. On 8 × 8 pixels, exact and by as many probes:

# %%
from gleak_lib.attacks import conditioning

seen = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
for a, scheme in product(("relu", "sigmoid"), ("xavier", "kaiming")):
    network = networks.build(
        "mcmahan_cnn",
        input_shape=(3, 8, 8),
        init=f"{scheme}_normal",
        activation=a,
        seed=0,
    )
    exact, guessed = (
        conditioning(
            network,
            seen,
            torch.tensor([3]),
            probes=n,
            generator=torch.Generator().manual_seed(0),
        )
        for n in (None, 4)
    )
    values = exact.singular_values[0]
    print(
        f"{a}, {scheme}: effective rank {exact.effective_rank.item():.0f} of {len(values)}, "
        f"by 4 probes {guessed.effective_rank.item():.0f}; "
        f"largest singular value {values[0] / values.median():.1f} times the median"
    )

# %% [markdown]
# For this random image and these weights, Kaiming's larger scale spreads the singular values wider, under either activation.
#
# Which of them orders the settings as PSNR does? Rank correlations, seed by seed, over all settings of the two experiments and over parts of them. Settings that are the same network, or nearly, count once: factor 1 is the Kaiming network itself (and is left out of "all"), and leaky ReLU is found as ReLU is.

# %% tags=["hide-input"]
once_each = joined.query("activation != 'leaky_relu'")
again = (once_each["init"] == "scaled") & (once_each["gain"] == 1)
parts_of = {"all": once_each[~again]} | dict(list(once_each.groupby("init")))
ranks = {
    (m, part): [
        of_seed["psnr"].corr(of_seed[m], method="spearman")
        if of_seed[m].nunique() > 1
        else float("nan")
        for _, of_seed in rows.groupby("seed")
    ]
    for m in measures
    for part, rows in parts_of.items()
}
ranked = pandas.DataFrame(
    {"measure": headings[m]}
    | {part: numpy.mean(ranks[m, part]) for part in parts_of}
    | {
        "each": ", ".join(
            f"{r:+.2f}".replace("-", "−") for r in ranks[m, "all"]
        )
    }
    for m in measures
)
counted = {
    part: rows.groupby(places[:3]).ngroups for part, rows in parts_of.items()
}
tables.show(
    ranked,
    columns={"measure": "measure"}
    | {
        part: f"{part.replace('_', ' ')} ({n} settings)"
        for part, n in counted.items()
    }
    | {"each": "all, seed by seed"},
    caption=f"Spearman's correlation of each measure with PSNR, mean over seeds; by scheme of the weights, and for the scaled ReLU network: {about}.",
)

# %% [markdown]
# In the published run the effective rank goes best with PSNR over all settings ({glue:text}`rank-effective_rank-all`), and the norm of the gradient nearly as well with the opposite sign ({glue:text}`rank-gradient_norm-all`), although the attack's distance does not depend on it: it grows with the scale of the weights.
# Units that are off say less ({glue:text}`rank-flat-all`). Under Kaiming, and for the scaled ReLU network, the effective rank orders nearly all ({glue:text}`rank-effective_rank-kaiming` and {glue:text}`rank-effective_rank-scaled`); among the activations under Xavier, all of small scale, it does not ({glue:text}`rank-effective_rank-xavier`): softplus has the smallest one there, and is found better than ReLU.
# So no single number explains every pair. The settings are chosen, not drawn, and no interval says what others would give.
# A large scale seems to concentrate what the gradient says in few directions of the image, so that the attack has to find the others by hardly any change of its loss.
#
# ## Noise, sparsity, resolution
#
# The source recommends to add noise to the gradient, to prune more than 20 % of it, and to watch the images' resolution. Each of these on its own, on the same images and weights as without it (Laplace noise has the same deviation as the Gaussian; PSNR at another resolution is that of images of that size):

# %% tags=["hide-input"]
hinted_frame = results.frame(
    hinted, scaling=scaling, label=["hint", "activation", "seed"]
)
bare = own.query("batch_size == 1 and init == @two[0]")
bare = bare[bare["victim"] < hint_victims]  # the images of the other rows
with_hints = pandas.concat(
    [bare.assign(hint="none"), hinted_frame.assign(batch_size=1)]
)
columns_of = {}
for a in activations:
    effects = {
        name: verdicts.effect(
            with_hints,
            "hint == 'none'",
            f"hint == '{name}'",
            f"activation == '{a}'",
        )
        for name in hints
    }
    columns_of[a] = verdicts.judge({n: (v, "more") for n, v in effects.items()})
helped = {
    "holds": "protects",
    "the opposite": "harms",
    "undecided": "undecided",
    "not measured": "–",
}
hint_table = pandas.DataFrame({"hint": list(hints)})
for a, rows in columns_of.items():
    hint_table[a] = rows["effect"]
    hint_table[f"{a}_says"] = rows["verdict"].map(helped)
order_under = verdicts.judge(
    {
        name: (
            verdicts.effect(with_hints, sigmoid, relu, f"hint == '{name}'"),
            "more",
        )
        for name in ["none", *hints]
    }
)
strong = f"noise, σ = {max(noise_levels, default=0):g}"
noisiest = f"Gaussian {strong}"
laplace = verdicts.judge(
    {
        "": (
            verdicts.effect(
                with_hints,
                f"hint == '{noisiest}'",
                f"hint == 'Laplace {strong}'",
            ),
            "same",
        )
    }
)
hint_table["order"] = order_under["effect"].iloc[1:].to_numpy()
tables.show(
    hint_table,
    columns={"hint": "what is changed"}
    | {
        key: text
        for a in activations
        for key, text in {
            a: f"{title.get(a, a)}: lost, dB",
            f"{a}_says": f"{title.get(a, a)}: it …",
        }.items()
    }
    | {"order": "sigmoid − ReLU under it, dB"},
    caption=f"By how many dB the PSNR falls; {main}, {two[0].replace('_', ' ')}, {hint_victims} single images per seed; in parentheses 95 % intervals; verdicts of each activation together: {about}.",
)

# %% [markdown]
# In the published run what protects depends on the activation. The attack follows a sigmoid network's gradient down to tiny distances, so that there is much to lose: noise of deviation {glue:text}`noisiest` costs {glue:text}`lost-sigmoid` dB there, and {glue:text}`lost-relu` dB with ReLU. Under that noise sigmoid − ReLU is
# {glue:text}`order-noisy` dB, where it is {glue:text}`order-none` dB without: "sigmoid leaks more" is a statement about gradients as they are. Half of the entries cost sigmoid about as much, and ReLU nothing, for the reason given above. Laplace noise is no other protection than Gaussian noise of the same deviation (difference {glue:text}`laplace` dB over both activations, σ = {glue:text}`noisiest`).
# At the same number of steps larger images are found less well where the attack nearly converges, and smaller ones better (under ReLU in every seed, though three seeds do not decide it). They are the same images, shrunk or enlarged: this is no test of images with more detail.
#
# Do not read this as "ReLU needs no protection, and noise does not help it": its attacks had not converged, and what the search does not use yet cannot be missed. {doc}`09_what_stands` has noise under stronger attacks.
#
# ## BatchNorm: evaluation or training mode
#
# In evaluation mode fresh BatchNorm layers change nothing, since their running means are 0 and their variances 1. In training mode they normalize each feature by the client's own batch, so that images of one batch meet in every layer. By hand, on a fresh ResNet-18 and its first convolution: the gradient of each image alone, and that of both together in
# either mode.

# %%
from torch.nn.functional import cross_entropy

pair, classes = datasets.victims(image_set, 2, seed)
pair = (pair - center) / width
classes_of = {"num_classes": image_set.num_classes, "norm": "batch"}
deep = networks.build("resnet18", init=inits[0], seed=seed, **classes_of)
kernels = next(p for p in deep.parameters() if p.dim() == 4)
shared = {}
for name, batch in {
    "first image": slice(0, 1),
    "second image": slice(1, 2),
    "both, evaluation mode": slice(0, 2),
    "both, training mode": slice(0, 2),
}.items():
    deep.train("training" in name)
    loss = cross_entropy(deep(pair[batch]), classes[batch])
    (shared[name],) = torch.autograd.grad(loss, kernels)
alone = (shared["first image"] + shared["second image"]).flatten()
for name, gradient in list(shared.items())[2:]:
    same = torch.cosine_similarity(alone, gradient.flatten(), dim=0)
    print(f"{name}: cosine with the mean of both alone {same:.3f}")

# %% tags=["hide-input"]
from gleak_lib.plots.style import WIDTH, themed

across = 12
with themed() as pyplot:
    shape = len(shared), across
    figure, axes = pyplot.subplots(*shape, figsize=(WIDTH, 3.4))
    for line, (name, gradient) in zip(axes, shared.items(), strict=True):
        tiles = gradient.mean(1)[:across]
        limit = float(tiles.abs().max())
        line[0].set_title(name, loc="left", size=9)
        for axis, tile in zip(line, tiles, strict=True):
            axis.imshow(tile, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axis.set_axis_off()
alt = "Four rows of twelve kernels, red and blue: the first image alone, the second alone, both in evaluation mode, both in training mode. The third row is the mean of the first two; the fourth has another pattern."
glue("kernels", plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} kernels
# :name: fig-init-kernels
#
# Gradients of twelve kernels of ResNet-18's first convolution (mean over the input channels; red positive, blue negative, each row at its own scale): each image alone, both in evaluation and in training mode; {glue:text}`about-kernels`.
# ```
#
# In evaluation mode the batch's gradient is the mean of the gradients of its images. In training mode it has hardly anything to do with them. Whether that hides the images is another question:

# %% tags=["hide-input"]
norm_effect = None
about_norm = about.replace(f"{steps} steps", f"{norm_steps} steps")
if modes:
    normed = results.frame(
        modes,
        scaling=scaling,
        label=["model", "init", "activation", "B", "mode", "seed"],
    )
    per_mode = tables.means(
        normed, ["psnr", "ssim"], ["model", "B", "activation", "mode"]
    )
    pooled = normed.assign(batch_size=normed["B"])
    norm_effect = verdicts.judge(
        {
            f"evaluation mode leaks more, {title.get(a, a)} (evaluation − training)": (
                verdicts.effect(
                    pooled,
                    "mode == 'eval'",
                    "mode == 'train'",
                    f"activation == '{a}'",
                ),
                "more",
            )
            for a in norm_activations
        }
    )
    shown = tables.show(
        per_mode,
        columns={
            "model": "model",
            "B": "B",
            "activation": "activation",
            "mode": "mode",
            "psnr": "PSNR dB",
            "ssim": "SSIM",
        },
        digits={"psnr": 1},
        caption=f"BatchNorm in both modes, one batch per seed, mean (± deviation over images): {inits[0].replace('_', ' ')}, {about_norm}.",
    )
else:
    shown = Markdown(f"Not run at profile {profile}.")
shown

# %% tags=["hide-input"]
if norm_effect is None:
    shown = Markdown("")
else:
    shown = tables.show(
        norm_effect,
        columns={
            "claim": "claim (effect)",
            "effect": "dB",
            "seeds": "lowest to highest seed, dB",
            "verdict": "verdict",
        },
        caption=f"The same as a difference on the same batches ({', '.join(norm_models)}), in parentheses the 95 % interval: {about_norm}.",
    )
shown

# %% [markdown]
# In the published run the attack finds more in evaluation mode: {glue:text}`norm-effect` dB. But it is close to what noise scores in either mode (in dB {glue:text}`norm-noise`). Both values are those of an attack that has hardly begun, and an attacker who is sent the batch statistics, as many federated protocols do, knows more than this one ({glue:text}`norm-steps` steps, nothing but the gradient).
#
# ## Your own model
#
# A model is a key of `gleak_lib.models.MODELS` or `module:function`, a function in a module of yours that takes `input_shape` and `num_classes` (and `activation`, if you vary it) and returns an `nn.Module`. It is imported where it is run; reading stored results imports nothing. The schemes are applied to all its convolutions and linear
# layers. One file of parameters runs this chapter on it:
#
# ```yaml
# # own.yaml
# profile: quick
# dataset: cifar10          # or an archive of yours
# models: ["hospital.nets:small"]
# activations: [own]        # the model decides
# between: []
# gains: []
# batch_sizes: [1, 4]
# ```
#
# ```bash
# PYTHONPATH=. papermill book/chapters/14_weight_initialization.ipynb own.ipynb -f own.yaml
# ```
#
# What to do with the result: neither scheme nor activation is a protection. If you are free to choose, take what trains best, and protect the gradient by what {doc}`09_what_stands` finds.

# %% tags=["hide-input"]
single = scored.query(f"{mine} and {intact} and batch_size == {fewest}")
ends = {}
for label, part in single.groupby("label"):
    low, high = intervals.nested(
        part["psnr"].to_numpy(), part["seed"].to_numpy()
    )
    mean = part.groupby("seed")["psnr"].mean().mean()
    ends[label] = (mean, intervals.said(mean, low, high, 1))
ordered = sorted((end, label) for label, end in ends.items())
late = judged_steps[
    judged_steps["claim"].str.endswith(f"after {long_steps} steps")
]
first = {
    f"{title.get(a, a)}, {i.replace('_', ' ')}": grid[
        main, i, a, fewest, pruning[0], seed
    ]
    for a in activations
    for i in two
}
pictures = {
    label: results[experiment].images("reconstruction")
    for label, experiment in first.items()
}
originals = results[next(iter(first.values()))].images("truth")
figure = plots.reconstructions(
    originals, pictures, columns=examples, scaling=scaling
)
alt = f"Rows of small images: the originals, and reconstructions under {'; '.join(first)}. With sigmoid Xavier is clear, Kaiming speckled; with ReLU Xavier is recognizable, Kaiming noise."
glue("seen", plots.picture(figure, alt), display=False)
frames_, steps_ = (
    results[watched].images("frames"),
    results[watched].figures["steps"],
)
originals = results[watched].images("truth")
movie = plots.animation(
    originals,
    frames_.unflatten(0, (len(steps_), len(originals))),
    steps_,
    results[watched].figures["loss"],
    name="plain Adam",
)
glue("movie", movie, display=False)
flat, nan = by_gain["flat"], float("nan")
claim = "ReLU leaks least (sigmoid − ReLU)"
lead = "Kaiming–sigmoid is below Xavier–sigmoid (Xavier − Kaiming)"
numbers = {
    "main": main,
    "about": about,
    **{
        f"lead-{key}": tables.quote(
            judged_steps, "effect", claim=f"{lead}, after {n} steps"
        )
        for key, n in {"few": steps, "many": long_steps}.items()
    },
    **{
        f"l2-{a}": tables.quote(
            judged_too,
            "effect",
            claim=f"cosine distance finds more than the squared error, {title.get(a, a)} (cosine − squared)",
        )
        for a in ("relu", "sigmoid")
    },
    "later-loss": "–",
    "lead-loss": f"{at_the_end['loss'].median():.0e}".replace("-", "−").replace(
        "nan", "–"
    ),
    **dict.fromkeys(("later-relu", "later-sigmoid"), "–"),
    **{
        f"later-{a}": tables.quote(
            judged_later[m],
            "effect",
            claim=f"McMahan's CNN is below {m}, {title.get(a, a)} ({m} − CNN)",
        )
        for m in later[:1]
        for a in activations
    },
    "lead-seeds": tables.quote(
        judged_steps, "seeds", claim=f"{lead}, after {long_steps} steps"
    ),
    **{
        key: text
        for name, b in {"small": fewest, "big": max(batch_sizes)}.items()
        for key, text in {
            name: f"{b}",
            f"{name}-images": f"{size[b] * b}",
        }.items()
    },
    "norm-noise": ", ".join(f"{noise[b, 1]} at B = {b}" for b in norm_batches)
    or "–",
    "noise-big": noise[max(batch_sizes), size[max(batch_sizes)]],
    "reduced-steps": f"{reduced_steps}",
    "reduced-victims": f"{reduced_victims}",
    "later": ", ".join(later) or "no other model",
    "student": f"{stats.t.ppf(0.975, max(seeds - 1, 1)):.1f}",
    "long-steps": f"{long_steps}",
    "long-victims": f"{last + 1}",
    "about-steps": about.replace(f"{steps} steps, ", ""),
    "about-later": about_later,
    "about-found": about_found,
    "about-short": f"{main}, "
    + about.replace(
        f"{seeds} seeds", f"{seeds} seeds, {size[fewest] * fewest} images each"
    ),
    "about-seen": f"{main}, {dataset}, fresh weights of seed {seed}, {steps} steps, profile {profile}",
    "order-none": tables.quote(order_under, "effect", claim="none"),
    "order-noisy": tables.quote(order_under, "effect", claim=noisiest),
    "noisiest": f"{max(noise_levels, default=0):g}",
    "faintest": f"{min(noise_levels, default=0):g}",
    "laplace": tables.quote(laplace, "effect"),
    **{
        f"lost-{a}": tables.quote(hint_table, a, hint=noisiest)
        if a in activations
        else "–"
        for a in ("relu", "sigmoid")
    },
    "cut": " or ".join(f"{p:.0%}" for p in pruning if p) or "none",
    "norm-effect": norm_effect["effect"].iloc[0]
    if norm_effect is not None
    else "–",
    "norm-steps": f"{norm_steps}",
    "hint-victims": f"{hint_victims}",
    "first-seed": f"{seed}",
    "about-movie": f"{main}, {two[0].replace('_', ' ')}, {title.get(activations[-1], activations[-1])}, {dataset}, {steps} steps, profile {profile}",
    "about-kernels": f"{dataset}, the first two images, fresh weights of seed {seed}, {inits[0].replace('_', ' ')}",
    "short-best": ordered[-1][0][1],
    "short-worst": ordered[0][0][1],
    "short-best-name": ordered[-1][1],
    "short-worst-name": ordered[0][1],
    "noise-one": noise[fewest, size[fewest]],
    "relu-order": tables.quote(
        judged,
        "effect",
        claim="Xavier–ReLU is below Kaiming–ReLU (Kaiming − Xavier)",
    ),
    "late-decided": f"{late['verdict'].isin(['holds', 'the opposite']).sum()}",
    "late-all": f"{len(late)}",
    "short-relu": tables.quote(judged, "effect", claim=claim),
    "short-gain": gain_effect["effect"].iloc[0],
    "gain-beyond": beyond["effect"].iloc[0],
    "gain-largest": f"{max(gains, default=1):g}",
    "gain-ends": f"{min(gains, default=1):g} to {usual:g}",
    "agreed": agreed,
    "probes": f"{probes}",
    "rank-settings": f"{counted['all']}",
    "gain-flat": f"{flat.min():.0%} to {flat.max():.0%}" if gains else "–",
    "steps": f"{steps}",
    "verdict-all": f"{len(judged)}",
    "verdict-holds": f"{(judged['verdict'] == 'holds').sum()}",
    "verdict-opposite": f"{(judged['verdict'] == 'the opposite').sum()}",
    "off": intervals.said(100 * cond.query(relu)["flat"].mean(), nan, nan)
    + " %",
    "seeds": f"{seeds}",
}
if later:
    of = smaller.query(f"{sigmoid} and model != @main")
    text = f"{of['loss'].median():.0e}".replace("-", "−")
    numbers["later-loss"] = text
for m in headings:
    for part in ("all", *two, "scaled"):
        r = numpy.mean(ranks.get((m, part), float("nan")))
        text = "–" if numpy.isnan(r) else f"{r:.2f}".replace("-", "−")
        numbers[f"rank-{m}-{part.split('_')[0]}"] = text
for scheme in formulas:
    of = f"{mine} and {sigmoid} and scheme == '{scheme}'"
    lost = verdicts.judge(
        {"": (verdicts.effect(scored, intact, cut, of), "more")}
    )
    numbers[f"pruned-{scheme}"] = tables.quote(lost, "effect")
    for a in ("relu", "gelu", "softplus"):
        at = {"activation": a, "init": f"{scheme}_normal"}
        numbers[f"{a}-{scheme}"] = tables.quote(between_table, "psnr", 1, **at)
for key, text in numbers.items():
    glue(key, text, display=False)

# %% [markdown]
# ## Limits
#
# - {glue:text}`seeds` seeds, as many again for the claims on {glue:text}`main`, and {glue:text}`steps` steps (the source: six and 500). Intervals over so few seeds are wide, and rest on means that are roughly normal. Attacks on ReLU networks had not converged after {glue:text}`steps` steps; {numref}`fig-init-longer` shows what {glue:text}`long-steps` change, for four of the settings.
# - Reduced at profile `cpu`: ResNet-18 was attacked in {glue:text}`reduced-steps` steps, not pruned, {glue:text}`reduced-victims` single images or one batch per seed. BatchNorm's modes were compared on one batch per seed and size, after {glue:text}`norm-steps` steps. The 960 runs are those of profile `paper` (`gleak run 14_weight_initialization --profile paper`; a run that is stopped goes on where it was).
# - The source's text counts six seeds, its sweep file lists ten. Its batches are of 1, 2, 4, 8 and 16 images, here of 1, 4 and 16.
# - The source does not say how pixels are scaled, whether they are clipped, what "small" prunes, or which distribution the noise has that starts the dummies. Here pixels are normalized per channel, not clipped, {glue:text}`cut` of the entries are pruned, and dummies are drawn from N(0, 1).
# - Where the cosine distance is rounding in single precision (ResNet-18 with sigmoid units; Xavier–sigmoid after many steps), a PSNR is one of this distance. One that weighs layers alike (`layerwise`), or double precision, should be tried before anything is concluded.
# - Singular values are those at the true image. An attack begins far away from it.
# - Noise, sparsity and resolution were tried one at a time, with one scheme, {glue:text}`hint-victims` images per seed and the same attack. An attacker who knows of a defense can adapt to it ({doc}`05_attacks_and_defenses`).
#
# ## Take-away
#
# How the weights were drawn decides how much this attack finds in a fresh network, and sigmoid leaks more than ReLU as long as the gradient is shared as it is: on single images under Xavier, against this attack, noise of σ = {glue:text}`noisiest` or pruning half of the entries reverses that order, noise of σ = {glue:text}`faintest` does not. The loss of information in `max()` does not explain it alone: networks that lose the same information leak differently when only their scale differs, and over all {glue:text}`rank-settings` settings, though not within Xavier's, the effective rank of a Jacobian tells more than the number of flat units. None of it is a protection; choose schemes for training, and protections from {doc}`09_what_stands`.
#
# ## Exercises
#
# **1.** Multiply all weights of a *sigmoid* network by a factor. Is it still true that nothing but scale changes?
#
# ```{admonition} Solution
# :class: dropdown
# No. A sigmoid is not homogeneous: larger weights drive its units into saturation, where slopes are small, and smaller weights make it nearly linear. `flat` counts the saturated units.
# ```
#
# **2.** Run the chapter on a network of yours, as shown above.
#
# ````{admonition} Solution
# :class: dropdown
# ```bash
# gleak run 14_weight_initialization --profile quick -p models "['hospital.nets:small']" -p activations "['own']" -p between "[]" -p gains "[]" --output tryout
# ```
# ````
