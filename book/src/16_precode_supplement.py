# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # PRECODE: width, weight, place, number
#
# ```{admonition} In short
# :class: tip
# **Question.** How wide should PRECODE be, how heavy its KL term, where should it stand, and do several modules help?
#
# **Answer.** In an MLP with fresh weights IG finds {glue:text}`late-ig` % of the images behind the last hidden layer, {glue:text}`early-ig` % behind the first; Ignore {glue:text}`late-ignore` %
# and {glue:text}`early-ignore` %: two papers that disagree are both right, under their attack. A search for the noise finds {glue:text}`early-joint` % behind the first, one division all.
# The heaviest KL term costs accuracy: {glue:text}`beta-accuracy` points.
# ```
#
# ```{glue:figure} seen
# :name: fig-supplement-seen
#
# Originals, and what four attacks find behind one PRECODE module in an MLP: behind the last of four hidden layers, and behind the first. The first images that were attacked, none picked out; SSIM
# below each; {glue:text}`about-dmlp`.
# ```
#
# The supplement of {cite:t}`scheliga2022precode` varies four things: the width $k$ of the bottleneck, the weight $\beta$ of its KL term, the hidden layer behind which it stands, and how
# many modules there are. It finds that $k$ does not matter, that $\beta = 0.1$ slows the training and costs accuracy, that a module close to the input lets slightly more through and still nothing
# recognizable, and that several modules cost accuracy and hide no more. It gives no numbers. One year later the same authors report the opposite of some of it
# ({cite:t}`scheliga2023cvb`, Tables I, II and X): wide modules leak, late ones leak most.
#
# The first paper attacks with Inverting Gradients (IG), which matches every gradient; the second with *Ignore*, which leaves out the gradients behind the noise
# ({doc}`03_ignore_attack`). So this chapter measures each claim under both on the same networks and the same images, and under two attacks that neither paper has: `joint`, which
# searches for the noise ({doc}`08_breaking_the_bottleneck`), and the closed form, which divides two gradients of the first layer ({doc}`10_closed_form_inversion`). Neither is new for PRECODE: {cite:t}`chellyfan2022nra` searched for its noise in an untrained MLP and LeNet, and {cite:t}`balunovic2022bayesian` divided the gradients of a linear first layer.
#
# ```{admonition} What is taken where the source says nothing
# :class: note
# "DMLP" is not defined there beyond four hidden layers. Here it is an MLP of four equally wide hidden layers with biases and ReLU, without normalization; the paper's public
# code has the same with two hidden layers of 1,024. {glue:text}`about-width` LeNet is the one of DLG, three convolutions of $5 \times 5$ with 12 channels, here with ReLU, since with the
# original sigmoid it stays at chance for the first rounds. PRECODE has the form of {cite:t}`scheliga2023cvb`, without biases, and the KL term of the text; the first paper's code has biases and counts
# the KL term in bits, so that its $\beta$ weighs 1.44 times as much. In a round {glue:text}`about-round` train.
# ```

# %% tags=["parameters", "hide-cell"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
width: int = 32  # features of each hidden layer of the MLP
activation: str = "relu"  # of the LeNet
precode_sizes: list[int] = [8, 16]  # PRECODE's k
betas: list[float] = [1e-1, 1e-3]  # weight of the KL term
size: int = 16  # k where it is not varied, one of precode_sizes
beta: float = 1e-3  # beta where it is not varied, one of betas
positions: list[int] = [1, 4]  # of one module in the MLP
several: list[str] = ["14"]  # positions of several modules
lenet_positions: list[int] = [1, 3]  # of one module in the LeNet
clients_per_round: int = 2  # of ten
training_rounds: int = 2  # federated rounds
goal: float = 0.2  # accuracy whose round is looked for
seeds: int = 2  # models trained of each place and number
victims: int = 2  # images attacked on each model
steps: int = 15  # of each attack
repeated: int = 1  # of them attacked
again: list[str] = ["digits"]  # sets on which the claims are repeated
again_rounds: list[int] = [1]  # federated rounds there, one number per set
again_goals: list[float] = [0.1]  # accuracies looked for there
again_seeds: list[int] = [5]  # of the first model there
seed: int = 0  # of the first model, of dummies and noise
victim_seed: int = 0  # which images are attacked
scaling: str = "minmax"  # or none: images scored as they are
examples: int = 4  # images in the figures, at most 8

# %% tags=["hide-input"]
import math

import pandas
from gleak_lib import plots
from gleak_lib.chapters import open_store, parameters
from gleak_lib.experiments import run, tables
from gleak_lib.metrics import intervals
from IPython.display import Markdown
from myst_nb import glue

from gleak_book import figures
from gleak_book.claims import judge

settings = parameters.check("16_precode_supplement", globals())

# %% [markdown]
# ## The experiment
#
# One module behind the last hidden layer of the MLP, at every width and weight; one module behind each of the four layers; several modules. All of them are trained, one model per width and weight and several of the others. What answers the chapter's question stands open; the declarations of its side studies are folded.

# %% tags=["experiment"]
from gleak_lib.bottlenecks import PRECODE
from gleak_lib.experiments import TrainingExperiment
from gleak_lib.federated import Protocol

grid = {f"k={k}, β={b:g}": (k, b) for k in precode_sizes for b in betas}
stacks = {name: [(4, k, b)] for name, (k, b) in grid.items()}
for text in [*map(str, positions), *several]:  # "34" is P=3+4
    at = [(int(p), size, beta) for p in text]
    stacks[f"P={'+'.join(text)}"] = at
placed = [name for name in stacks if name.startswith("P=")]
for name in (placed[0], placed[-1]):  # a control
    stacks[f"{name}, β=0"] = [(p, k, 0) for p, k, _ in stacks[name]]
networks = {"none": ()} | {
    name: tuple(PRECODE(p, k=k, beta=b) for p, k, b in modules)
    for name, modules in stacks.items()
}
protocol = Protocol(rounds=training_rounds, clients_per_round=clients_per_round)

# %% tags=["experiment"]
mlps = {
    (name, s): TrainingExperiment(
        dataset, "dmlp", {"width": width}, modules, protocol, seed=s
    )
    for name, modules in networks.items()
    for s in range(seed, seed + seeds)
}
trainings = {
    (name, s): experiment
    for (name, s), experiment in mlps.items()
    if name in ("none", *placed) or (name in grid and s == seed)
}

# %% [markdown]
# Four attacks on fresh weights. The source does not say which weights it attacked, so that a module at either end is attacked after training, too; there *layer by layer* takes the place of `joint`, which was
# not run on trained weights. All attacks that take steps have one schedule. Beside what they match, the weights of their image priors differ: 0.01 for IG and Ignore, 0.001 for `joint`, 0.03 layer by layer.

# %% tags=["experiment"]
from gleak_lib.attacks import ATTACKS

budget = {"max_steps": steps}
same = {"lr": 0.1, "drop_after": 0, "milestones": (0.4, 0.7, 0.9)}
methods = {
    "IG": ATTACKS["ig"].replace(**same, **budget),
    "Ignore": ATTACKS["ignore"].replace(**same, **budget),
    "joint": ATTACKS["joint"].replace(**budget),
    "closed form": ATTACKS["analytic"],
    "layer by layer": ATTACKS["layerwise"].replace(**budget),
}
fresh = ("IG", "Ignore", "joint", "closed form")
late = ("IG", "Ignore", "layer by layer", "closed form")
width_only = [f"k={k}, β={beta:g}" for k in precode_sizes]
tried = [("none", m, r) for m in fresh[::3] for r in (0, training_rounds)]
tried += [(name, "IG", 0) for name in grid]
tried += [(name, m, 0) for name in [*width_only, *placed] for m in fresh]
tried += [
    (f"P={p}", m, training_rounds)
    for p in (positions[0], positions[-1])
    for m in late
]

# %% [markdown]
# In the LeNet the width is varied at the first position, as in Table X of {cite:t}`scheliga2023cvb`. It has no linear layer that is given the pixels, and so no closed form.

# %% tags=["experiment", "hide-input"]
from gleak_lib.experiments import AttackExperiment

lenets = {"none": ()}
for p in lenet_positions:
    for k in precode_sizes if p == lenet_positions[0] else [size]:
        lenets[f"P={p}, k={k}"] = (PRECODE(p, k=k, beta=beta),)
tried_too = [("none", "IG", 0)]
tried_too += [
    (name, m, 0) for name in lenets if lenets[name] for m in fresh[:3]
]
convolutional = {
    (name, seed): TrainingExperiment(
        dataset, "lenet", {"activation": activation}, modules, seed=seed
    )
    for name, modules in lenets.items()
}

# %% [markdown]
# The control has the modules of two networks without their KL terms ($\beta = 0$). There, and with them, we also measure how much of each gradient stays the same under another draw of noise.

# %% tags=["experiment", "hide-input"]
from gleak_lib.experiments import NoiseSensitivityExperiment

silent = [name for name in networks if name.endswith("β=0")]
tried += [(name, m, 0) for name in silent for m in fresh[:3]]
chosen = {"victim_seed": victim_seed, "seed": seed}
noise = {
    name: NoiseSensitivityExperiment(mlps[name, seed], 0, victims, **chosen)
    for name in (placed[0], placed[-1], *silent)
}

# %% tags=["experiment", "hide-input"]
both = {
    "DMLP": (mlps, tried, repeated),
    "LeNet": (convolutional, tried_too, 1),
}
attacked = {
    (model, name, method, r, s): AttackExperiment(
        weights[name, s],
        r,
        methods[method],
        victims,
        victim_seed=victim_seed + s - seed,
        seed=s,
    )
    for model, (weights, rows, count) in both.items()
    for name, method, r in dict.fromkeys(rows)
    for s in range(seed, seed + count)
}

# %% [markdown]
# The claims are repeated, with one attacked model each, on other seeds and on other image sets: the same experiments, moved there.

# %% tags=["experiment", "hide-input"]
ends = (placed[0], f"P={positions[-1]}", placed[-1])
claimed = [("DMLP", name, "IG") for name in (*width_only, *ends)]
for method in ("Ignore", "closed form"):
    claimed += [("DMLP", name, method) for name in ends]
claimed += [
    ("LeNet", f"P={lenet_positions[0]}, k={k}", "Ignore")
    for k in (precode_sizes[0], precode_sizes[-1])
]

# %% tags=["experiment", "hide-input"]
from dataclasses import replace

retrained, reattacked = {}, {}
for images, r, s in zip(again, again_rounds, again_seeds, strict=True):
    protocol_there = replace(protocol, rounds=r)
    for (name, own), one in trainings.items():
        if name in ("none", *ends, *grid):
            one = replace(one, dataset=images, protocol=protocol_there)
            there = images, s, name, own - seed
            retrained[there] = replace(one, seed=own - seed + s)
    for place in claimed:
        one = attacked[(*place, 0, seed)]
        weights = replace(one.training, dataset=images, seed=s)
        one = replace(one, training=weights, seed=s)
        there = (images, s, *place)
        reattacked[there] = replace(one, victim_seed=victim_seed + s)
experiments = [*trainings.values(), *attacked.values(), *noise.values()]
experiments += [*retrained.values(), *reattacked.values()]

# %%
results = run(experiments, open_store(profile))
Markdown(tables.note(results, profile))

# %% [markdown]
# ## Several modules, and their loss, by hand
#
# With several modules the loss is ({cite:t}`scheliga2022precode`, supplement, Eq. 6 and 7)
#
# $$ \mathcal{L}(\hat y, y) = \mathcal{L}_F(\hat y, y) + \sum_i \beta_i \, D_\mathrm{KL}\bigl(\mathcal{N}(\mu_{B_i}, \sigma_{B_i}), \mathcal{N}(0, 1)\bigr) , $$
#
# with a weight for each. Here it is written out for two modules in a small MLP and four handwritten digits, stage by stage, and compared with what the package adds to the cross-entropy:

# %%
import torch
from gleak_lib import attacks, datasets, metrics, models

digits = datasets.load("digits")
images, labels = datasets.victims(digits, 4, 0)
modules = (PRECODE(1, k=8, beta=0.1), PRECODE(4, k=16, beta=1e-3))
shape = {"input_shape": digits.input_shape}
network = models.build("dmlp", width=64, bottlenecks=modules, seed=0, **shape)
x, by_hand = images, torch.zeros(4)
for position in (1, 2, 3, 4):
    x = network.get_submodule(f"stage{position}")(x)
    for spec in (one for one in modules if one.position == position):
        bottleneck = network.get_submodule(f"bottleneck{position}")
        mu, sigma = bottleneck.encode(x)
        kl = 0.5 * (mu**2 + sigma**2 - 1 - 2 * sigma.log()).sum(1)
        by_hand += spec.beta * kl
        x = bottleneck(x, torch.zeros_like(mu)).features  # without noise
package = network.run(images, [torch.zeros(4, 8), torch.zeros(4, 16)]).kl
print("by hand    ", [f"{value:.5f}" for value in by_hand.tolist()])
print("the package", [f"{value:.5f}" for value in package.tolist()])

# %% [markdown]
# ## Two attacks, by hand
#
# The same digits, one module behind the last hidden layer. IG and Ignore differ in one word: which gradients they match.

# %%
network = models.build(
    "dmlp", width=64, bottlenecks=PRECODE(4, k=16), seed=0, **shape
)
generator = torch.Generator().manual_seed(0)
observation = attacks.observe(
    network,
    images,
    labels,
    generator=generator,
    mean=digits.mean,
    std=digits.std,
)
for name in ("IG", "Ignore", "closed form"):
    attack = methods[name]
    if name != "closed form":
        attack = attack.replace(max_steps=200)
    found = attacks.invert(observation, attack, generator=generator)
    ssim = metrics.score(found, images)["ssim"].round(2) + 0.0  # no -0.0
    print(f"{name:12} SSIM {ssim.tolist()}")

# %% [markdown]
# IG has to match the gradients of the decoder and of the last layer, which contain noise that it does not know. Ignore leaves these out. The closed form looks at the first layer alone: its weight gradient
# is an outer product with the image, whatever comes later.
#
# ## Width and weight: training
#
# The accuracy of the global model over the rounds, one line per weight of the KL term, over all widths:

# %% tags=["hide-input"]
curves = pandas.DataFrame(
    {
        "network": name,
        "k": grid.get(name, (math.nan,) * 2)[0],
        "beta": grid.get(name, (math.nan,) * 2)[1],
        "seed": s,
        "round": r,
        "accuracy": 100 * accuracy,
    }
    for (name, s), experiment in trainings.items()
    for r, accuracy in enumerate(results[experiment].figures["test_accuracy"])
)
weighed = curves[curves["network"].isin([*grid, "none"])].copy()
weighed["line"] = [
    "no PRECODE" if math.isnan(b) else f"β = {b:g}" for b in weighed["beta"]
]
figure = figures.curves(
    weighed.assign(row="DMLP", column="test", value=weighed["accuracy"]),
    ylabel="test accuracy %",
)
about_training = f"{dataset}, {training_rounds} rounds of {clients_per_round} of 10 clients, hidden layers of {width}, one seed per width and weight and {seeds} of the others, profile {profile}"
alt = "Test accuracy over rounds, one line per weight of the KL term and one without PRECODE. The line without PRECODE lies highest; the one of the heaviest KL term lies lowest."
glue("curves", plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} curves
# :name: fig-supplement-curves
#
# Test accuracy over rounds by the weight $\beta$, mean and range over the widths (without PRECODE over seeds): {glue:text}`about-training`.
# ```

# %% tags=["hide-input"]
late_ones = curves[curves["accuracy"] >= 100 * goal]
reached = late_ones.groupby(["network", "seed"])["round"].min().to_dict()
final = {
    place: 100 * results[experiment].figures["accuracy"]
    for place, experiment in trainings.items()
}
learned = pandas.DataFrame(
    {
        "network": name,
        "k": grid[name][0],
        "beta": grid[name][1],
        "seed": s,
        "accuracy": final[name, s],
        "reached": reached.get((name, s), training_rounds + 1),
    }
    for name, s in trainings
    if name in grid
)
wide = learned.pivot_table("accuracy", "k", "beta").reset_index()
wide.columns = [
    f"{name:g}" if isinstance(name, float) else name for name in wide
]
tables.show(
    wide,
    columns={"k": "k"} | {f"{b:g}": f"β = {b:g}" for b in betas},
    digits={f"{b:g}": 1 for b in betas},
    caption=f"Test accuracy in percent by width and weight, one seed: {dataset}, {training_rounds} rounds of {clients_per_round} of 10 clients, profile {profile}.",
)

# %% tags=["hide-input"]
slow = learned["reached"] > training_rounds
heavy_ones = learned["beta"] == max(betas)
difference = {
    "k": learned.pivot_table(["accuracy", "reached"], ["beta", "seed"], "k"),
    "β": learned.pivot_table(["accuracy", "reached"], ["k", "seed"], "beta"),
}
by_k = {
    what: difference["k"][what, max(precode_sizes)]
    - difference["k"][what, min(precode_sizes)]
    for what in ("accuracy", "reached")
}
ordered = sorted(betas, reverse=True)
by_beta = {
    what: difference["β"][what, ordered[0]]
    - difference["β"][what][ordered[1:]].mean(axis=1)
    for what in ("accuracy", "reached")
}
lighter = (
    difference["β"]["accuracy", ordered[1]]
    - difference["β"]["accuracy", ordered[-1]]
)
trained = range(seed, seed + seeds)
first, last, most = placed[0], f"P={positions[-1]}", placed[-1]
by_place = [final[first, s] - final[last, s] for s in trained]
by_number = [final[most, s] - final[last, s] for s in trained]
any_number = [final[last, s] - final["none", s] for s in trained]
free, above, below = (-2, 2), (0, math.inf), (-math.inf, 0)
claims = [
    (
        f"k does not matter: k = {max(precode_sizes)} against {min(precode_sizes)}",
        "points",
        by_k["accuracy"],
        free,
    ),
    (
        f"... nor for the rounds to {goal:.0%}",
        "rounds",
        by_k["reached"],
        (-1, 1),
    ),
    (
        f"β = {ordered[0]:g} takes longer to {goal:.0%} than the others",
        "rounds",
        by_beta["reached"],
        above,
    ),
    (
        f"β = {ordered[0]:g} costs accuracy",
        "points",
        by_beta["accuracy"],
        below,
    ),
    (
        f"below that β does not matter: {ordered[1]:g} against {ordered[-1]:g}",
        "points",
        lighter,
        free,
    ),
    (
        f"the place does not matter: {first} against {last}",
        "points",
        by_place,
        free,
    ),
    (
        f"several modules cost accuracy: {most} against {last}",
        "points",
        by_number,
        below,
    ),
    ("(ours) one module costs accuracy", "points", any_number, below),
]
judged = [judge(values, *bounds) for _, _, values, bounds in claims]
said_of_training = pandas.DataFrame(
    {
        "claim": claim,
        "measured": f"{intervals.said(*found[:3], 1)} {unit}",
        "pairs": len(values),
        "verdict": found.word,
    }
    for (claim, unit, values, _), found in zip(claims, judged, strict=True)
)
tables.show(
    said_of_training,
    columns=list(said_of_training),
    caption=f"Claims about training, each as a difference of two trainings that agree in all else, mean and 95 % interval. A claim that something does not matter holds where the whole interval lies within 2 percentage points (1 round). Claims on k and β have one pair for each β or k, all of one seed: their intervals say nothing of other seeds. A training that does not reach {goal:.0%} counts as one round more than it had: {slow[heavy_ones].sum()} of {heavy_ones.sum()} with β = {max(betas):g}, {slow[~heavy_ones].sum()} of {(~heavy_ones).sum()} others; so the differences in rounds depend on that limit. {about_training}.",
)

# %% [markdown]
# In the published run the widest and the narrowest module are {glue:text}`k-accuracy` percentage points apart, averaged over the weights; the heaviest KL term and the others {glue:text}`beta-accuracy`. Here the second-heaviest term matters, too,
# with {glue:text}`lighter-accuracy` points against the lightest, which the source does not see at the end of its trainings. One module changes the accuracy after these few rounds by {glue:text}`any-accuracy` points, and {glue:text}`most` by another
# {glue:text}`number-accuracy`.
#
# ## Width and weight: reconstructions
#
# IG at every width and weight, behind the last hidden layer of the MLP, on fresh weights:

# %% tags=["hide-input"]
scores = results.frame(
    attacked,
    scaling=scaling,
    label=("network", "name", "method", "rounds", "seed"),
)
table = tables.attack_table(scores, ["network", "name", "method", "rounds"])
table["text"] = [
    intervals.said(row.ssim, row.ssim_low, row.ssim_high, 2)
    for row in table.itertuples()
]
new = table[table["rounds"] == 0]
scaled = (
    "each image min–max scaled" if scaling == "minmax" else "images as they are"
)
lenet_apart = f" (LeNet: {victims} on one)"
about = f"{victims * repeated} images from {dataset} on {repeated} models{lenet_apart}, {steps:,} steps, {scaled}, profile {profile}"
about_dmlp = about.replace(lenet_apart, "")
gridded = new[new["name"].isin(grid) & (new["method"] == "IG")].copy()
gridded["k"] = [grid[name][0] for name in gridded["name"]]
gridded["beta"] = [f"β = {grid[name][1]:g}" for name in gridded["name"]]
shown = gridded.pivot_table(
    "text", "k", "beta", aggfunc="first", sort=False
).reset_index()
tables.show(
    shown,
    columns=list(shown),
    caption=f"SSIM of IG by width and weight, mean and 95 % interval: DMLP, fresh weights, {about_dmlp}.",
)

# %% [markdown]
# In the published run nearly nothing, but for the heaviest KL term, under which IG finds more the wider the module is. The first module's KL term does not depend on any noise, only on $\mu$ and $\sigma$, so that its gradient is the same for everybody who knows the
# image. Where it is heavy it can be matched. More of this below, where it decides something.
#
# The same widths under the other attacks:

# %% tags=["hide-input"]
widths = new[
    new["name"].isin(width_only)
    | new["name"].isin(
        [f"P={lenet_positions[0]}, k={k}" for k in precode_sizes]
    )
].copy()
widths["module"] = [
    f"{row.network}, {row.name_}"
    if row.network == "LeNet"
    else f"DMLP, P=4, {row.name_.partition(',')[0]}"
    for row in widths.rename(columns={"name": "name_"}).itertuples()
]
shown = (
    widths.pivot_table("text", "module", "method", aggfunc="first", sort=False)
    .fillna(intervals.MISSING)
    .reset_index()
)
tables.show(
    shown,
    columns=["module", *fresh],
    caption=f"SSIM by width and attack, mean and 95 % interval: fresh weights, {about}.",
)

# %% [markdown]
# In the published run, behind the last hidden layer of the MLP, Ignore finds {glue:text}`late-ignore` % of the images at every width, `joint` {glue:text}`late-joint` %, and the closed form all of them exactly; IG alone is stopped. At the first position of the LeNet wider modules leak more under Ignore, as
# {cite:t}`scheliga2023cvb` report in their Table X: {glue:text}`lenet-narrow` at the narrowest and {glue:text}`lenet-wide` at the widest module, by {glue:text}`lenet-k-ignore`, less clearly than the bound of 0.05 below asks for; {glue:text}`lenet-wide-found` % of these images are found at the widest. (There, from $K = 64$ to 512 in the CNN, the SSIM grows from 0.35 to 0.72 and the images found from 8 to 98 %: the direction is the same, the size is not.) The encoder has more gradient entries
# then, all of them before the noise. Under IG the difference is {glue:text}`lenet-k-ig`. Under `joint` wider modules leak more there, too, and less in the MLP.
#
# ## Place
#
# One module behind each stage, at $k$ and $\beta$ as above:

# %% tags=["hide-input"]
one_module = [f"P={p}" for p in positions]
at = {f"P={p}, k={size}": f"LeNet, P={p}" for p in lenet_positions} | {
    name: f"DMLP, {name}" for name in one_module
}
bars = new[new["name"].isin(at)].copy()
bars["label"] = [at[name] for name in bars["name"]]
bars = bars.sort_values("label", kind="stable")
figure = plots.intervals(
    bars.rename(
        columns={"ssim": "value", "ssim_low": "low", "ssim_high": "high"}
    ),
    xlabel="SSIM, mean with 95 % interval",
    threshold=0.5,
)
alt = "One line per position with a point per attack. In the MLP Ignore finds most at the last two positions and least at the second; IG finds more only at the first; the closed form stays at 1, joint above 0.5. In the LeNet IG stays low, joint is highest at the first position."
glue("place", plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} place
# :name: fig-supplement-place
#
# SSIM by the place of one module: fresh weights, {glue:text}`about`. The dotted line marks the SSIM above which an image counts as found.
# ```
#
# In the published run, in the MLP, the two papers' attacks disagree about the order. Under IG a module near the input lets more through: {glue:text}`place-ig-first` at {glue:text}`first` against {glue:text}`place-ig-last` at {glue:text}`last`, which is what the supplement says, though not "slightly" (in the LeNet {glue:text}`lenet-ig-first` against {glue:text}`lenet-ig-last`, which is slight).
# Under Ignore it is the last place that lets more through: {glue:text}`place-ignore-last` against {glue:text}`place-ignore-first`, which is what Tables I and II of {cite:t}`scheliga2023cvb` say: there the success rate is least at the first position, the SSIM at the second, with another width at each. Here, too, least comes through {glue:text}`ignore-least`, by {glue:text}`ignore-gap` less than at {glue:text}`first`. A search for the noise finds {glue:text}`joint-places` % of the images at the places of the MLP.
#
# ## Number
#
# Several modules against one, in the MLP:

# %% tags=["hide-input"]
compared = [*placed[len(positions) :], *silent]
compared = new[new["name"].isin([first, last, *compared])]
shown = (
    compared[compared["network"] == "DMLP"]
    .pivot_table("text", "name", "method", aggfunc="first", sort=False)
    .reset_index()
)
accuracy = [
    [final[name, s] for s in trained if (name, s) in final]
    for name in shown["name"]
]
shown["accuracy"] = [
    intervals.said(sum(a) / len(a), *intervals.mean(a), 1)
    if a
    else intervals.MISSING
    for a in accuracy
]
likeness = results.frame(noise, label="name")
likeness = likeness[likeness["before_decoder"]]
kept = tables.means(likeness, ["similarity"], ["name"]).set_index("name")[
    "similarity"
]
shown["kept"] = [kept.get(name, math.nan) for name in shown["name"]]
tables.show(
    shown,
    columns={"name": "modules"}
    | {m: m for m in fresh[:3]}
    | {"kept": "gradients kept", "accuracy": "accuracy %"},
    digits={"kept": 2},
    caption=f"SSIM by number of modules, and test accuracy after {training_rounds} rounds ({seeds} seeds), means and 95 % intervals: DMLP, fresh weights, {about_dmlp}. β=0: without KL terms, not trained. Gradients kept: cosine similarity under two draws of noise before the first decoder, mean over {victims} images and the groups.",
)

# %% [markdown]
# In the published run two modules at the end hide something from Ignore and from `joint` that one does not: the two find {glue:text}`pair-ignore` % and {glue:text}`pair-joint` % of the images. {glue:text}`most-count` hide less: against one module at {glue:text}`last` they lower the SSIM by {glue:text}`number-hides-ignore` under Ignore, which reaches {glue:text}`number-ignore` ({glue:text}`place-ignore-first` behind one at {glue:text}`first`),
# and by {glue:text}`number-hides-joint` under `joint`. They change the accuracy after these rounds by {glue:text}`number-accuracy` percentage points. From the closed form none of them hides anything.
#
# One explanation is the KL term. The signal of the classification that flows back gets smaller with every module, so that the KL term of the first one is most of what is left in the first layers, and no noise touches it: the cosine similarity
# of these gradients under another draw is {glue:text}`kept-most`, without the KL terms {glue:text}`kept-silent`. The control says that this is not all. Without KL terms Ignore still finds {glue:text}`number-silent` behind {glue:text}`most`, and behind the single
# module {glue:text}`first-silent`, *more* than with them. Why the term helps it in one network and harms it in the other was not found out.
#
# That an image is found although its gradient hardly ever repeats has a simple reason in an MLP. The first layer's weight gradient is an outer product $g x^\top$ of a signal that flows back and the image. For a dummy $x'$ with the
# signal $g'$
#
# $$ \cos(g x^\top, g' x'^\top) = \cos(g, g') \, \cos(x, x') , $$
#
# whose second factor is largest at the image itself, whatever noise is in $g$. ($g'$ depends on the dummy, too, so that the best dummy need not be the image.) The closed form uses the same product.
#
# ## After training

# %% tags=["hide-input"]
after = table[table["rounds"] > 0]
shown = (
    after.pivot_table("text", "name", "method", aggfunc="first", sort=False)
    .fillna(intervals.MISSING)
    .reset_index()
)
tables.show(
    shown,
    columns={"name": "modules"} | {m: m for m in late},
    caption=f"SSIM on weights after {training_rounds} rounds, mean and 95 % interval: DMLP, {about_dmlp}.",
)

# %% [markdown]
# In the published run the closed form is as exact as before, and *layer by layer* finds {glue:text}`after-layered` % of the images. IG, which found nothing behind the last layer of fresh networks ({glue:text}`place-ig-last`), now has {glue:text}`after-ig-last` there. And the order that Ignore gave on
# fresh weights turns around: {glue:text}`after-ignore-first` behind the first layer, {glue:text}`after-ignore-last` behind the last, image by image a difference of {glue:text}`after-turn` (on each of the {glue:text}`about-models` models: {glue:text}`after-turn-each`). After {glue:text}`about-rounds` of training the place near the input leaks more under both papers' attacks.
#
# ## What the attacks see

# %% tags=["hide-input"]
rows = {
    f"{m}, {name}": attacked["DMLP", name, m, 0, seed]
    for name, ms in ((last, fresh[:2]), (first, fresh))
    for m in ms
}
pictures = {
    label: results[experiment].images("reconstruction")
    for label, experiment in rows.items()
}
originals = results[attacked["DMLP", "none", "IG", 0, seed]].images("truth")
figure = plots.reconstructions(
    originals, pictures, columns=examples, scaling=scaling
)
alt = "Rows of small images: the originals; behind the last hidden layer IG finds noise and Ignore the images; behind the first IG and Ignore find them blurred and speckled, joint with little loss, the closed form exactly."
glue("seen", plots.picture(figure, alt), display=False)
pictures = {"IG, no PRECODE": attacked["LeNet", "none", "IG", 0, seed]} | {
    f"{m}, P={p}": attacked["LeNet", f"P={p}, k={size}", m, 0, seed]
    for p in (lenet_positions[-1], lenet_positions[0])
    for m in fresh[:3]
}
figure = plots.reconstructions(
    originals,
    {
        k: results[experiment].images("reconstruction")
        for k, experiment in pictures.items()
    },
    columns=examples,
    scaling=scaling,
)
alt = "Rows of small images for the LeNet: the originals, what IG finds without PRECODE, and what IG, Ignore and joint find behind the last and the first position."
glue("seen-lenet", plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} seen-lenet
# :name: fig-supplement-lenet
#
# The LeNet, where no closed form applies: originals, what IG finds without PRECODE, and what three attacks find behind one module at the last position and at the first. The first images that were attacked, none picked out; {glue:text}`about-lenet`.
# ```
#
# ## The claims of the source
#
# Each claim about reconstructions as a difference of two networks on the same images, under each attack. That something does not matter *holds* where the whole 95 % interval of the mean lies within 0.05 of SSIM; that something is so,
# where the whole interval lies on that side; it *does not hold* where none of the interval does, and is *undecided* else.

# %% tags=["hide-input"]
by_image = scores[scores["rounds"] == 0].pivot_table(
    "ssim", ["seed", "victim"], ["network", "method", "name"]
)
narrow, wide_k = min(precode_sizes), max(precode_sizes)
alike, at_first = (-0.05, 0.05), f"P={lenet_positions[0]}"
heaviest = [f"k={k}, β={ordered[0]:g}" for k in precode_sizes]
in_lenet = [f"{at_first}, k={k}" for k in precode_sizes]
range_of_k = "k's largest and smallest SSIM are within 0.05"
named = {  # claim: network, modules compared, bounds
    f"k does not matter (DMLP, P=4, {wide_k} against {narrow})": (
        "DMLP",
        [f"k={wide_k}, β={beta:g}", f"k={narrow}, β={beta:g}"],
        alike,
    ),
    f"k does not matter (LeNet, {at_first}, {wide_k} against {narrow})": (
        "LeNet",
        [f"{at_first}, k={wide_k}", f"{at_first}, k={narrow}"],
        alike,
    ),
    f"{range_of_k} (DMLP, P=4)": ("DMLP", width_only, alike),
    f"{range_of_k} (DMLP, P=4, β={ordered[0]:g})": ("DMLP", heaviest, alike),
    f"{range_of_k} (LeNet, {at_first})": ("LeNet", in_lenet, alike),
    f"β does not matter (k={wide_k}, {ordered[0]:g} against {ordered[-1]:g})": (
        "DMLP",
        [f"k={wide_k}, β={b:g}" for b in (ordered[0], ordered[-1])],
        alike,
    ),
    f"near the input more is found ({first} against {last})": (
        "DMLP",
        [first, last],
        above,
    ),
    f"... and yet nothing recognizable (SSIM below 0.5 at {first})": (
        "DMLP",
        [first],
        (-math.inf, 0.5),
    ),
    f"... nor at {last}": ("DMLP", [last], (-math.inf, 0.5)),
    f"the number does not matter ({most} against {last})": (
        "DMLP",
        [most, last],
        alike,
    ),
}
models = {
    f"{m}, model {s}": by_image.loc[[s]]
    for m in fresh[:3]
    for s in by_image.index.unique("seed")
}
verdicts = []
for claim, (model, names, bounds) in named.items():
    line = {"claim": claim}
    for column, found in (dict.fromkeys(fresh[:3], by_image) | models).items():
        own = found.get((model, column.split(",")[0]), pandas.DataFrame())
        if set(names) <= set(own) and len(own := own[names].dropna()):
            means = own.mean()
            one, other = means.idxmax(), means.idxmin()
            if len(names) < 3:
                one, other = names[0], names[-1]
            less = own[other] if len(names) > 1 else 0
            line[column] = judge(own[one] - less, *bounds)
    verdicts.append(line)
said = pandas.DataFrame(
    {"claim": line["claim"]}
    | {
        m: f"{intervals.said(*line[m][:3], 2)} {line[m].word}"
        if m in line
        else intervals.MISSING
        for m in fresh[:3]
    }
    for line in verdicts
)
tables.show(
    said,
    columns=list(said),
    caption=f"Claims about reconstructions under three attacks, mean and 95 % interval of the difference in SSIM: fresh weights, {about}. The pair of k's largest and smallest SSIM is chosen after looking, so that 'does not hold' comes too easily there. The closed form, which finds every image of the MLP wherever it was run, is left out.",
)

# %% [markdown]
# The same verdicts from each model's own images alone, as a check on other seeds:

# %% tags=["hide-cell"]
words = pandas.DataFrame(
    {"claim": line["claim"]}
    | {
        column: line[column].word if column in line else intervals.MISSING
        for column in models
    }
    for line in verdicts
)
tables.show(
    words,
    columns=list(words),
    caption=f"Verdicts on each model alone, {victims} images each: fresh weights, {steps:,} steps, profile {profile}.",
)

# %% tags=["hide-input"]
changed = [
    f"{line['claim']}, {column}: {line[column].word} (above: {line[m].word})"
    for line in verdicts
    for column in models
    if column in line
    for m in [column.split(",")[0]]
    if line[column].word != line[m].word
]
Markdown(
    "What changes on a model alone:\n\n"
    + "\n".join(f"- {one}" for one in changed or ["nothing"])
)

# %% [markdown]
# ## Other seeds and other image sets
#
# The main claims once more, each on the networks, images and first dummies of other seeds or of another image set, in the same steps; one model each is attacked:

# %% tags=["hide-input"]
claims_again = {  # claim: unit, digits, bounds, verdict above
    f"training: {claims[0][0]}": (" points", 1, free, judged[0]),
    f"training: β = {ordered[0]:g} reaches a fixed accuracy later": (
        " rounds",
        1,
        above,
        judged[2],
    ),
    f"training: {claims[3][0]}": (" points", 1, below, judged[3]),
    f"training: {claims[6][0]}": (" points", 1, below, judged[6]),
} | {
    f"{m}: {verdicts[place]['claim'].removeprefix('... and yet ')}": (
        "",
        2,
        bounds,
        verdicts[place][m],
    )
    for m, place, bounds in (
        ("IG", 2, alike),
        ("Ignore", 1, alike),
        ("IG", 6, above),
        ("IG", 7, (-math.inf, 0.5)),
        ("Ignore", 6, above),
        ("IG", 9, alike),
    )
}
columns_again, undefended, divided = {}, {}, []
heaviest_there, never = {}, {}
for images, s, r, aim in zip(
    again, again_seeds, again_rounds, again_goals, strict=True
):
    end, late_by, found = {}, {}, {}
    for (*there, name, own), experiment in retrained.items():
        if there == [images, s]:
            values = results[experiment].figures
            end[name, own] = 100 * values["accuracy"]
            late_by[name, own] = next(
                (n for n, a in enumerate(values["test_accuracy"]) if a >= aim),
                r + 1,
            )
    for (*there, model, name, m), experiment in reattacked.items():
        if there == [images, s]:
            found[model, name, m] = pandas.Series(
                results[experiment].figures["scores"][scaling]["ssim"]
            )
    one_weight = {
        k: found["DMLP", f"k={k}, β={beta:g}", "IG"] for k in precode_sizes
    }
    best, worst = (
        pick(precode_sizes, key=lambda k: one_weight[k].mean())
        for pick in (max, min)
    )
    heavy = [
        [
            of[f"k={k}, β={ordered[0]:g}", 0]
            - sum(of[f"k={k}, β={b:g}", 0] for b in ordered[1:])
            / len(ordered[1:])
            for k in precode_sizes
        ]
        for of in (late_by, end)
    ]
    lone = [
        found["LeNet", f"{at_first}, k={k}", "Ignore"] for k in (wide_k, narrow)
    ]
    measured = [
        [
            end[f"k={wide_k}, β={b:g}", 0] - end[f"k={narrow}, β={b:g}", 0]
            for b in betas
        ],
        *heavy,
        [end[most, o] - end[last, o] for o in range(seeds)],
        one_weight[best] - one_weight[worst],
        lone[0] - lone[1],
        found["DMLP", first, "IG"] - found["DMLP", last, "IG"],
        found["DMLP", first, "IG"],
        found["DMLP", first, "Ignore"] - found["DMLP", last, "Ignore"],
        found["DMLP", most, "IG"] - found["DMLP", last, "IG"],
    ]
    title = f"{images}, seed {s} (number: seeds {s} to {s + seeds - 1})"
    columns_again[title] = [
        judge(values, *bounds)
        for values, (_, _, bounds, _) in zip(
            measured, claims_again.values(), strict=True
        )
    ]
    undefended[title] = sum(end["none", o] for o in range(seeds)) / seeds
    heavy_names = [f"k={k}, β={ordered[0]:g}" for k in precode_sizes]
    at_end = [end[name, 0] for name in heavy_names]
    at_end = (f"{share:.0f}" for share in (min(at_end), max(at_end)))
    heaviest_there[title] = " to ".join(dict.fromkeys(at_end))
    missed = [name for name in grid if late_by[name, 0] > r]
    with_heaviest = len(set(missed) & set(heavy_names))
    never[title] = with_heaviest, len(missed) - with_heaviest
    divided += [
        found["DMLP", name, "closed form"].min() for name in (first, last, most)
    ]
shown = pandas.DataFrame(
    {"claim": claim, "above": before.word}
    | {
        title: f"{intervals.said(*column[row][:3], digits)}{unit}: {column[row].word}"
        for title, column in columns_again.items()
    }
    for row, (claim, (unit, digits, _, before)) in enumerate(
        claims_again.items()
    )
)
tables.show(
    shown,
    columns=list(shown),
    caption=f"Claims on other seeds and sets, mean and 95 % interval of the difference and its verdict, beside the verdict above. Trainings of {', '.join(f'{r} rounds with a goal of {aim:.0%}' for r, aim in zip(again_rounds, again_goals, strict=True))}, after which the networks without PRECODE are at {', '.join(f'{value:.0f}' for value in undefended.values())} %, those with β = {ordered[0]:g} at {', '.join(heaviest_there.values())} %. A training that does not reach the goal, the fixed accuracy, counts as one round more than it had: {', '.join(f'{n}' for n, _ in never.values())} of {len(precode_sizes)} with β = {ordered[0]:g}, {', '.join(f'{n}' for _, n in never.values())} of {len(grid) - len(precode_sizes)} others. {victims} images of one model, {steps:,} steps, {scaled}, profile {profile}.",
)

# %% tags=["hide-input"]
turned = [
    f"{claim} ({title}: {column[row].word}, above: {before.word})"
    for title, column in columns_again.items()
    for row, (claim, (*_, before)) in enumerate(claims_again.items())
    if {column[row].word, before.word} == {"holds", "does not hold"}
]
Markdown(
    f"Verdicts that turn into their opposite: {'; '.join(turned) or 'none'}."
    + f" The closed form's smallest SSIM over all images, places and sets of this table is {f'{min(divided):.3f}' if divided else intervals.MISSING}."
)

# %% [markdown]
# In the published run, on every set, the heaviest KL term costs accuracy, and most trainings with it do not reach the goal at all; IG finds more near the input, and Ignore less. The mean of what IG finds behind the first module lies near 0.5, and {glue:text}`early-ig` % of the images above count as found: "nothing recognizable" does not
# hold for them. On the chest X-rays what several modules cost is lost in the scatter of {glue:text}`about-seeds` seeds. On CIFAR-100 the heaviest KL term leaves the networks at chance, so that its cost is the little that the others have learned.
#
# Where the two papers differ, the same networks and images decide:
#
# | | {cite:t}`scheliga2022precode`, under IG | {cite:t}`scheliga2023cvb`, under Ignore | here |
# |---|---|---|---|
# | width | does not matter | wider leaks more (Table X) | under IG true but for the heaviest KL term; under Ignore wider leaks more in the LeNet on CIFAR-10, by less than the bound decides, and at the last place of the MLP every width leaks everything |
# | place | near the input leaks slightly more | late leaks most (Tables I, II) | each is right about the direction under its attack; under IG it is not slight in the MLP, under Ignore the second layer leaks least |
# | number | hides no more | no benefit (several CVBs) | two late ones hide something from Ignore and `joint`, at a cost that three seeds do not establish; four hide less and cost much |
#
# An attacker chooses the attack. So none of these recommendations protects the MLP: the closed form finds every image at every place. In the LeNet the best of three attacks finds {glue:text}`lenet-best`; without PRECODE only IG was run, which finds {glue:text}`lenet-none` %.
# So a module at a later place may hide something there from these attacks; {glue:text}`lenet-images` images are too few to say how much.
#
# ## The peak of the PSNR
#
# The supplement's Eq. 4 takes the peak from the image, $\max(x)^2$, where this book takes the range of the data, 1. The difference is $20 \log_{10} \max(x)$ dB for each image, whatever is found:

# %% tags=["hide-input"]
peaks = [
    20 * math.log10(peak)
    for s in range(seed, seed + repeated)
    for peak in results[attacked["DMLP", "none", "IG", 0, s]]
    .images("truth")
    .amax((1, 2, 3))
    .tolist()
]
Markdown(
    f"Over the {len(peaks)} images attacked here it is −{-sum(peaks) / len(peaks):.2f} dB in the mean and −{-min(peaks):.2f} dB for the darkest of them. SSIM, and so the success rate, does not depend on it."
)

# %% tags=["hide-input"]
scored, new = new, new.set_index(["network", "name", "method"])
rates = new["asr_text"].to_dict()
ssims = new["ssim"].map("{:.2f}".format).to_dict()
layered = after[after["method"] == "layer by layer"]["asr"]
after = after.set_index(["name", "method"])
ssims_after = after["ssim"].map("{:.2f}".format).to_dict()
best_of = bars.sort_values("asr").groupby("label").last()["asr_text"]
hits = bars[(bars["method"] == "joint") & (bars["network"] == "DMLP")]["asr"]
lenet_k = next(line for line in verdicts if "matter (LeNet" in line["claim"])
means_of = scored[scored["name"].isin(width_only)].groupby("method")["asr"]
spans = {
    m: f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
    for m, low, high in means_of.agg(["min", "max"]).itertuples()
}
lone, pair = f"P={lenet_positions[0]}, k=", [*placed[len(positions) :], most][0]
least = min(placed[: len(positions)], key=lambda p: ssims["DMLP", p, "Ignore"])
of_ignore = by_image["DMLP", "Ignore"]
turn = scores[(scores["rounds"] > 0) & (scores["method"] == "Ignore")]
turn = turn.pivot_table("ssim", ["seed", "victim"], "name")
turn = turn[first] - turn[last]
numbers = {
    "late-ig": spans["IG"],
    "late-ignore": spans["Ignore"],
    "late-joint": spans["joint"],
    "about-images": f"{victims * repeated} images from {dataset} on {repeated} models",
    "ignore-least": f"{least} ({ssims['DMLP', least, 'Ignore']})",
    "ignore-gap": intervals.mean_said(of_ignore[first] - of_ignore[least], 2),
    **{
        f"number-hides-{m.lower()}": intervals.mean_said(
            by_image["DMLP", m, last] - by_image["DMLP", m, most], 2
        )
        for m in fresh[1:3]
    },
    "after-turn": intervals.mean_said(turn, 2),
    "after-turn-each": " and ".join(
        intervals.mean_said(part, 2) for _, part in turn.groupby(level="seed")
    ),
    "lenet-wide-found": rates["LeNet", f"{lone}{wide_k}", "Ignore"],
    "early-ig": rates["DMLP", first, "IG"],
    "early-ignore": rates["DMLP", first, "Ignore"],
    "early-joint": rates["DMLP", first, "joint"],
    "first": first,
    "last": last,
    "most": most,
    "place-ig-first": ssims["DMLP", first, "IG"],
    "lenet-ig-first": ssims["LeNet", f"P={lenet_positions[0]}, k={size}", "IG"],
    "lenet-ig-last": ssims["LeNet", f"P={lenet_positions[-1]}, k={size}", "IG"],
    "place-ig-last": ssims["DMLP", last, "IG"],
    "place-ignore-first": ssims["DMLP", first, "Ignore"],
    "place-ignore-last": ssims["DMLP", last, "Ignore"],
    "number-ignore": ssims["DMLP", most, "Ignore"],
    "number-silent": ssims["DMLP", f"{most}, β=0", "Ignore"],
    "first-silent": ssims["DMLP", f"{first}, β=0", "Ignore"],
    "after-ig-last": ssims_after[last, "IG"],
    "after-ignore-first": ssims_after[first, "Ignore"],
    "after-ignore-last": ssims_after[last, "Ignore"],
    "about-rounds": f"{training_rounds} rounds",
    "kept-most": f"{kept[most]:.2f}",
    "kept-silent": f"{kept[f'{most}, β=0']:.2f}",
    "lenet-narrow": ssims["LeNet", f"{lone}{narrow}", "Ignore"],
    "lenet-wide": ssims["LeNet", f"{lone}{wide_k}", "Ignore"],
    "lenet-k-ig": intervals.said(*lenet_k["IG"][:3], 2),
    "lenet-k-ignore": intervals.said(*lenet_k["Ignore"][:3], 2),
    "joint-places": " to ".join(
        dict.fromkeys(f"{hit:.0f}" for hit in (hits.min(), hits.max()))
    ),
    "pair-ignore": rates["DMLP", pair, "Ignore"],
    "pair-joint": rates["DMLP", pair, "joint"],
    "after-layered": " to ".join(
        dict.fromkeys(f"{hit:.0f}" for hit in (layered.min(), layered.max()))
    ),
    "lenet-best": ", ".join(
        f"{best_of[f'LeNet, P={p}']} % at P={p}" for p in lenet_positions
    ),
    "lenet-none": rates["LeNet", "none", "IG"],
    "lenet-images": f"{victims}",
    "most-count": ("", "One", "Two", "Three", "Four")[len(stacks[most])],
    "about-seeds": f"{seeds}",
    "about-models": f"{repeated}",
    "about-width": f"Its layers have {width} features on this page.",
    "about-round": f"{clients_per_round} of 10 clients",
    "about": about,
    "about-dmlp": f"DMLP with hidden layers of {width}, k = {size}, β = {beta:g}, fresh weights, first model, {steps:,} steps, {scaled}, profile {profile}",
    "about-lenet": f"k = {size}, β = {beta:g}, fresh weights, first model, {steps:,} steps, {scaled}, profile {profile}",
    "about-training": about_training,
}
numbers |= {
    f"{key}-accuracy": intervals.said(*judged[place][:3], 1)
    for key, place in {
        "k": 0,
        "beta": 3,
        "lighter": 4,
        "number": 6,
        "any": 7,
    }.items()
}
for key, text in numbers.items():
    glue(key, text, display=False)

# %% [markdown]
# ## Limits
#
# - A narrower MLP, a ReLU in the LeNet, and {glue:text}`about-training`: far from a finished training. What a setting costs in the end was not measured.
# - Accuracies are compared between a few seeds. An interval over {glue:text}`about-seeds` of them is wide, and *undecided* says so. Each verdict is one 95 % interval by itself; about one in twenty misses.
# - The images of one model are attacked under every network, so that differences are between the same images; they count as independent, although some share a model. Each row of the MLP is from {glue:text}`about-models` models, each of the LeNet from one.
# - All verdicts about reconstructions are on fresh weights. Which weights the source attacked is not known.
# - CIFAR-100 is here a file of 10,000 training images, a fifth of the set, so that its accuracies are lower than those of the whole.
# - On other sets the main claims only, with one attacked model, and neither `joint` nor trained weights. What the source shows of CIFAR-100 and of a medical set, training curves and reconstructions under other defenses, is in {doc}`17_training_under_defense` and {doc}`18_gallery`.
#
# ## Take-away
#
# What a paper says about the width, the place and the number of PRECODE modules is a statement about its attack: change IG into Ignore on the same fresh network, and a place that hid every image hides none; train it a little, and the order changes again. The KL term is part of the shared gradient, and where it is
# heavy it can be matched, too. Whatever the width, weight, place or number, an MLP hides no image from a division ({doc}`10_closed_form_inversion`), and in the LeNet too few images were attacked to say what a later place hides. What does
# protect is the question of {doc}`09_what_stands`.
#
# ## Exercises
#
# **1.** In the attack by hand, give the module `beta=10`. What does IG find now, and why?
#
# ```{admonition} Solution
# :class: dropdown
# The KL term's gradient outweighs that of the classification in all layers before the decoder. It is the same under every draw of noise, so that IG matches it and finds the digits nearly as well as Ignore does. The weight of the term that is
# thought of as the price of privacy makes the gradient *more* informative.
# ```
#
# **2.** Compare PRECODE behind the second and the third layer, and with all of the paper's own form: biases, the KL term in bits, $\sigma$ without a clip.
#
# ````{admonition} Solution
# :class: dropdown
# ```bash
# gleak run 16_precode_supplement --profile quick -p positions "[2, 3]" -p several "['23']" --output tryout
# ```
# The second needs the attributes of `PRECODE` in the experiment that declares the networks: `PRECODE(4, k=k, beta=b, kl="bits", bias=True, sigma="softplus")`.
# ````
