# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Training under defense
#
# ```{admonition} In short
# :class: tip
# **Question.** What does each defense do to the training: how fast does it learn, how far does it get, what does it send?
#
# **Answer.** After {glue:text}`rounds-first` rounds on {glue:text}`set-first` the MLP is at {glue:text}`mlp-none` %, the LeNet at {glue:text}`lenet-none` %. PRECODE changes that by {glue:text}`mlp-precode` and {glue:text}`lenet-precode` points (range of the seeds), noise of 0.01 by {glue:text}`mlp-gaussian` and {glue:text}`lenet-gaussian`. On the easier {glue:text}`set-last` no defense costs more than {glue:text}`worst-last` points
# {glue:text}`lenet-stuck`. PRECODE sends {glue:text}`mlp-growth` and {glue:text}`lenet-growth` times as many bytes.
# ```
#
# ```{glue:figure} curves-first
# :name: fig-training-first
#
# Accuracy over rounds on {glue:text}`set-first`: on the clients' own batches (left) and on the test images (right), mean and range over {glue:text}`about-seeds`; {glue:text}`about-first`.
# ```
#
# The supplement of {cite:t}`scheliga2022precode` shows the accuracy over rounds for its two networks and several defenses on three image sets (its Figures 1 to 3, the first of test images only). The paper concludes that PRECODE trains about as well as
# no defense, where noise and compression cost accuracy. This chapter draws the same curves for an MLP and a LeNet, and counts rounds, bytes and seconds.
#
# ```{admonition} What is taken, and what is not
# :class: note
# The source names neither its defenses' strengths nor its medical set's rounds in the supplement. The defenses here are those of {doc}`05_attacks_and_defenses`, each on every local step. The networks are those of {doc}`16_precode_supplement`, PRECODE
# stands behind the last hidden layer. The medical set is {glue:text}`set-last`; the six classes of "Medical MNIST" can be put into a folder and named as `dataset` ({doc}`../reproduce`). The trainings are short: {glue:text}`about-rounds`.
# ```

# %% tags=["parameters", "hide-cell"]
profile: str = "quick"  # quick, cpu or paper
datasets: list[str] = ["digits"]  # image sets, or your own archives
training_rounds: list[int] = [3]  # federated rounds, one number per set
goals: list[float] = [0.15]  # accuracies whose rounds are looked for
defenses: list[str] = [
    "gaussian(std=1e-2)",
    "dp(20, 1e-2)",
    "compression(0.9)",
]  # of gradients
width: int = 32  # features of each hidden layer of the MLP
activation: str = "relu"  # of the LeNet
size: int = 16  # PRECODE's k
beta: float = 1e-3  # weight of PRECODE's KL term
clients_per_round: int = 2  # of ten
seeds: int = 2  # models trained of each kind
seed: int = 0  # of the first model

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

settings = parameters.check("17_training_under_defense", globals())

# %% [markdown]
# ## The experiment
#
# Two networks, each without defense, with PRECODE, and under changes of the gradient, several seeds each:

# %% tags=["experiment"]
from gleak_lib.client_setup import parse
from gleak_lib.experiments import TrainingExperiment
from gleak_lib.federated import Protocol

changes = {parse(text).label: parse(text) for text in ["none", *defenses]}
networks = {
    "MLP": ("dmlp", {"width": width}, "precode(4, k={}, beta={})"),
    "LeNet": ("lenet", {"activation": activation}, "precode(3, k={}, beta={})"),
}
trainings = {
    (images, network, label, s): TrainingExperiment(
        images,
        model,
        options,
        one.bottlenecks,
        Protocol(rounds=r, clients_per_round=clients_per_round),
        seed=s,
        defense=one.defense,
    )
    for images, r in zip(datasets, training_rounds, strict=True)
    for network, (model, options, precode) in networks.items()
    for text in [precode.format(size, beta)]
    for label, one in {**changes, "PRECODE": parse(text)}.items()
    for s in range(seed, seed + seeds)
}

# %% [markdown]
# And the bytes of the gradient of one local step as it would be sent:

# %% tags=["experiment"]
from gleak_lib.experiments import CommunicationCostExperiment

sent = {
    (images, network, label): CommunicationCostExperiment(
        one, defense=one.defense
    )
    for (images, network, label, s), one in trainings.items()
    if s == seed
}
experiments = [*trainings.values(), *sent.values()]

# %%
results = run(experiments, open_store(profile))
Markdown(tables.note(results, profile))

# %% [markdown]
# ## One step under each defense, by hand
#
# A client of an MLP on the embedded digits computes the gradient of a batch of 64 and defends it. How far does it turn, and how long is it?

# %%
import torch
from gleak_lib import attacks, models
from gleak_lib import datasets as sets

digits = sets.load("digits")
batch = sets.victims(digits, 1, 0, batch_size=64)
network = models.build("dmlp", width=64, input_shape=digits.input_shape, seed=0)
gradient = {}
for label, one in changes.items():
    observed = attacks.observe(
        network,
        *batch,
        defense=one.defense,
        mean=digits.mean,
        std=digits.std,
        generator=torch.Generator().manual_seed(0),
    )
    parts = [part.flatten() for part in observed.gradients.values()]
    gradient[label] = torch.cat(parts)
    cosine = torch.cosine_similarity(gradient[label], gradient["none"], dim=0)
    length = gradient[label].norm() / gradient["none"].norm()
    print(f"{label:20} cosine {cosine:5.2f}, length x {length:5.2f}")

# %% [markdown]
# Compression to a tenth keeps most of the direction, since few entries carry most of the length; to a hundredth it keeps about half. Noise of a fixed strength turns the gradient the further, the more parameters there are to carry it: its length grows with the square root of their number, and
# that of the gradient does not. Clipping changes the length alone, and that only above its bound, which is not reached here; Adam, which the clients train with, divides each entry by a running mean of its size, so that
# a factor that hardly changes from step to step makes almost no difference.
#
# ## Accuracy over rounds

# %% tags=["hide-input"]
lines = [
    {
        "images": images,
        "row": network,
        "line": label,
        "seed": s,
        "round": r,
        "column": column,
        "value": math.nan if value is None else 100 * value,
    }
    for (images, network, label, s), experiment in trainings.items()
    for column, name in (("train", "train_accuracy"), ("test", "test_accuracy"))
    for r, value in enumerate(results[experiment].figures[name])
]
curves = pandas.DataFrame(lines)
ends = curves.groupby(["images", "row", "line", "column", "seed"], sort=False)
ends = ends.tail(1)  # the last round of each training
pages = {
    "first": datasets[0],
    "middle": datasets[len(datasets) // 2],
    "last": datasets[-1],
}
for name, images in pages.items():
    figure = figures.curves(
        curves[curves["images"] == images], ylabel="accuracy %"
    )
    alt = f"Four panels, accuracy over rounds on {images}: the MLP above, the LeNet below, training left, test right, one line per defense with a band over seeds. Numbers stand in the tables below."
    glue(f"curves-{name}", plots.picture(figure, alt), display=False)

# %% tags=["hide-input"]
test = curves[curves["column"] == "test"]
rows = []
for (images, network, label), own in test.groupby(
    ["images", "row", "line"], sort=False
):
    goal = 100 * goals[datasets.index(images)]
    found = [
        results[trainings[images, network, label, s]]
        for s in range(seed, seed + seeds)
    ]
    last = {
        column: found_last["value"]
        for column, found_last in ends[
            (ends["images"] == images)
            & (ends["row"] == network)
            & (ends["line"] == label)
        ].groupby("column")
    }
    reached = [
        next(
            (
                r
                for r, v in zip(o["round"], o["value"], strict=True)
                if v >= goal
            ),
            None,
        )
        for _, o in own.groupby("seed")
    ]
    stopped = [r.figures["rounds"] for r in found if r.figures["stopped_early"]]
    bytes_ = results[sent[images, network, label]].figures["bytes"]
    trains = found[0].figures["client_sizes"][0][0]
    steps = math.ceil(trains / Protocol().batch_size)
    rows.append(
        {
            "images": images,
            "network": network,
            "defense": label,
            "test": last["test"].mean(),
            "test_std": last["test"].std(ddof=0),
            "train": last["train"].mean(),
            "reached": ", ".join("–" if r is None else f"{r}" for r in reached),
            "steps": steps,
            "kilobytes": bytes_ / 1000,
            "megabytes": bytes_ * steps * clients_per_round / 1e6,
            "seconds": min(
                r.provenance["train_seconds"] / r.figures["rounds"]
                for r in found
            ),
            "constant": all(
                1 / r.figures["balanced_accuracy"] % 1 < 1e-6 for r in found
            ),
            "epsilon": max(
                (e for r in found for e in r.figures.get("epsilon") or []),
                default=math.nan,
            ),
            "stopped": stopped,
        }
    )
summary = pandas.DataFrame(rows)
columns = {
    "defense": "defense",
    "train": "train %",
    "test": "test %",
    "reached": "rounds to the goal",
    "kilobytes": "kB per step",
    "megabytes": "MB per round",
    "seconds": "s per round",
}
decimals = {
    "train": 1,
    "test": 1,
    "kilobytes": 1,
    "megabytes": 1,
    "seconds": 2,
}
early = {
    place: f"ended early, without a better validation loss for 40 rounds, after {', '.join(map(str, sorted(stopped)))} rounds"
    if (stopped := [r for rounds in own["stopped"] for r in rounds])
    else "no training ended early"
    for place, own in summary.groupby(["images", "network"])
}
captions = {
    (
        images,
        network,
    ): f"{network} on {images} after {r} rounds ({clients_per_round} of 10 clients each): accuracy in the last round, mean ± deviation over {seeds} seeds; the round in which each seed first reaches {g:.0%} (– never); {early[images, network]}; profile {profile}."
    for images, r, g in zip(datasets, training_rounds, goals, strict=True)
    for network in networks
}
mine = (summary["images"] == datasets[0]) & (summary["network"] == "MLP")
tables.show(
    summary[mine],
    columns=columns,
    digits=decimals,
    caption=captions[datasets[0], "MLP"],
)

# %% tags=["hide-input"]
mine = (summary["images"] == datasets[0]) & (summary["network"] == "LeNet")
tables.show(
    summary[mine],
    columns=columns,
    digits=decimals,
    caption=captions[datasets[0], "LeNet"],
)

# %% [markdown]
# *Train* is measured on the clients' own batches, before each step and on their own weights. The goal is in the caption; that of CIFAR-100 was lowered after a first look at its curves, since few rounds reach little. *MB per round* counts what {glue:text}`about-clients` would send if the server received the gradient of every local step, which is where these
# defenses act; federated averaging sends the weights once instead, as many bytes as one step of the row *none*, whatever changed the gradients on the way. A zero is not sent, but each entry that is left comes with its position ({doc}`05_attacks_and_defenses`). *Seconds* are
# those of training, of the fastest seed, on one thread of a machine that computed other things meanwhile: only their order of magnitude says something.
#
# Bytes and seconds do not follow the accuracy. With PRECODE's two linear layers the MLP sends {glue:text}`mlp-growth` times as many bytes, the small LeNet {glue:text}`lenet-growth` times as many. And DP-SGD needs the gradient of each image
# alone. In the published run those of {glue:text}`set-first` were written out, and a round of the MLP took tens of times as long as without defense ({glue:text}`dp-first` times); on {glue:text}`set-middle` and {glue:text}`set-last`, computed later, they were
# kept in factors, as now, and on {glue:text}`set-middle` it took {glue:text}`dp-middle` times as long. The largest $\varepsilon$ of any client after these rounds is {glue:text}`epsilon` (at $\delta = 10^{-5}$): noise of this strength is no promise of privacy.
#
# ```{glue:figure} curves-middle
# :name: fig-training-middle
#
# The same on {glue:text}`set-middle`; {glue:text}`about-middle`.
# ```
#
# ```{glue:figure} curves-last
# :name: fig-training-last
#
# The same on {glue:text}`set-last`: accuracy on the clients' own batches (left) and on the test images (right), mean and range over {glue:text}`about-seeds`; {glue:text}`about-last`.
# ```
#
# The tables of the further sets, folded:

# %% tags=["hide-cell"]
from IPython.display import display

for images, network in list(captions)[len(networks) :]:
    mine = (summary["images"] == images) & (summary["network"] == network)
    display(
        tables.show(
            summary[mine],
            columns=columns,
            digits=decimals,
            caption=captions[images, network],
        )
    )

# %% [markdown]
# ## What a defense costs, against no defense
#
# The same seeds with and without, so that images, clients and first weights agree:

# %% tags=["hide-input"]
wide = ends[ends["column"] == "test"].pivot_table(
    "value", ["images", "row", "seed"], "line", sort=False
)
gains = wide.drop(columns="none").sub(wide["none"], axis=0)
cost = (
    gains.stack()
    .rename("gain")
    .reset_index()
    .groupby(["line", "images", "row"], sort=False)["gain"]
    .agg(
        lambda found: intervals.said(
            found.mean(), found.min(), found.max(), 1
        ).replace("–", " to ")
    )
    .rename("text")
    .reset_index()
)
cost["where"] = cost["row"] + ", " + cost["images"]
shown = cost.pivot_table(
    "text", "line", "where", aggfunc="first", sort=False
).reset_index()
tables.show(
    shown.rename(columns={"line": "defense"}),
    columns=["defense", *cost["where"].unique()],
    caption=f"Points of test accuracy against no defense after the last round: mean, and smallest and largest of {seeds} seeds; profile {profile}.",
)

# %% tags=["hide-input"]
spread = gains.stack().groupby(level=["images", "row", "line"], sort=False)
lowest, highest = spread.min(), spread.max()
told = {
    "less with every seed": highest < 0,
    "less with some seeds only": (lowest <= 0) & (highest >= 0),
    "more with every seed": lowest > 0,
}
sentences = []
for images, network in dict.fromkeys((i, n) for i, n, _ in lowest.index):
    said = [
        f"{word}: {', '.join(which)}"
        for word, where in told.items()
        for which in [
            list(where[images, network][where[images, network]].index)
        ]
        if which
    ]
    sentences.append(f"- {network} on {images}: {'; '.join(said)}.")
constant = [
    f"{row.network} under {row.defense} on {row.images}"
    for row in summary.itertuples()
    if row.constant
]
Markdown(
    f"Test accuracy in this run (profile {profile}), against no defense:\n\n"
    + "\n".join(sentences)
    + f"\n\nNetworks that answer every image with the same class (a balanced accuracy of one over the number of classes), with every seed: {', '.join(constant) or 'none'}."
)

# %% tags=["hide-input"]
points = {
    (row.images, row.row, row.line): row.text for row in cost.itertuples()
}
level = {
    (row.images, row.network, row.defense): f"{row.test:.0f}"
    for row in summary.itertuples()
}
start, middle, end = pages.values()
pictures = {
    images: sum(map(sum, results[one].figures["client_sizes"]))
    for (images, *_), one in trainings.items()
}
per_round = {row.images: row.steps for row in summary.itertuples()}
row_of = {
    (row.images, row.network, row.defense): row for row in summary.itertuples()
}
stuck = [
    row
    for row in summary[summary["images"] == end].itertuples()
    if row.constant
]
private = next((label for label in changes if label.startswith("DP")), "none")
slower = {
    images: f"{row_of[images, 'MLP', private].seconds / row_of[images, 'MLP', 'none'].seconds:.0f}"
    for images in datasets
}
numbers = {
    "set-first": start,
    "set-middle": middle,
    "set-last": end,
    "rounds-first": f"{training_rounds[0]}",
    "rounds-last": f"{training_rounds[-1]}",
    "mlp-none": level[start, "MLP", "none"],
    "lenet-none": level[start, "LeNet", "none"],
    "lenet-stuck": f"after {training_rounds[-1]} rounds"
    + f" (but for {', '.join(f'{row.network} under {row.defense}' for row in stuck)}, which learns nothing)"
    * bool(stuck),
    "last-gaussian": points.get(
        (end, "MLP", "gaussian std=1e-2"), intervals.MISSING
    ),
    **{
        f"last-precode-{network.lower()}": points.get(
            (end, network, "PRECODE"), intervals.MISSING
        )
        for network in ("MLP", "LeNet")
    },
    "worst-last": f"{max(0, -min(mean for (i, n, d), mean in spread.mean().items() if i == end and not row_of[i, n, d].constant)):.1f}",
    "images-middle": f"{pictures[middle]:,}",
    "steps-middle": f"{per_round[middle]}",
    "rounds-middle": f"{training_rounds[datasets.index(middle)]}",
    "middle-none": f"{row_of[middle, 'MLP', 'none'].test:.1f}",
    "middle-gaussian": points.get(
        (middle, "MLP", "gaussian std=1e-2"), intervals.MISSING
    ),
    "middle-precode": points.get((middle, "MLP", "PRECODE"), intervals.MISSING),
    "dp-first": slower[start],
    "dp-middle": slower[middle],
    "about-clients": f"the {clients_per_round} clients of a round",
    "mlp-growth": f"{row_of[start, 'MLP', 'PRECODE'].kilobytes / row_of[start, 'MLP', 'none'].kilobytes:.1f}",
    "lenet-growth": f"{row_of[start, 'LeNet', 'PRECODE'].kilobytes / row_of[start, 'LeNet', 'none'].kilobytes:.0f}",
    "epsilon": f"{summary[summary['images'] == start]['epsilon'].max():.2g}".replace(
        "nan", intervals.MISSING
    ),
    "about-seeds": f"{seeds} seeds",
    **{
        f"about-{place}": f"{training_rounds[datasets.index(images)]} rounds, {clients_per_round} of 10 clients in each, profile {profile}"
        for place, images in {
            "first": start,
            "middle": middle,
            "last": datasets[-1],
        }.items()
    },
    "about-rounds": ", ".join(
        f"{r} rounds on {images}"
        for images, r in zip(datasets, training_rounds, strict=True)
    )
    + f", {clients_per_round} of 10 clients in each, profile {profile}",
}
quoted = {
    "precode": "PRECODE",
    "gaussian": "gaussian std=1e-2",
    "tenth": "compression p=0.9",
    "dp": "DP σ=1e-2",
    "hundredth": "compression p=0.99",
}
numbers |= {
    f"{key}-{name}": points.get((start, network, label), intervals.MISSING)
    for name, label in quoted.items()
    for key, network in {"mlp": "MLP", "lenet": "LeNet"}.items()
}
for key, text in numbers.items():
    glue(key, text, display=False)

# %% [markdown]
# A training ends early when the validation loss has not improved for 40 rounds, the protocol's rule; captions say whether any did.
#
# Two things are to be seen on {glue:text}`set-first`. The source's conclusion, that PRECODE trains like no defense, is not that of the first rounds: PRECODE costs about what noise of 0.01 costs. (After {glue:text}`rounds-last` rounds of {glue:text}`set-last` it is below no defense with every seed of both networks in the published run, by {glue:text}`last-precode-mlp` and {glue:text}`last-precode-lenet` points.) And compression costs the LeNet more than the MLP, which has
# far more entries to choose from (on {glue:text}`set-middle`, where little is learned, it does not), while Gaussian noise costs both about the same ({glue:text}`mlp-gaussian` and {glue:text}`lenet-gaussian` points) and the noise of DP the LeNet more ({glue:text}`mlp-dp` and {glue:text}`lenet-dp`). How far it turns the gradients of these two networks was not measured.
# In the published run on {glue:text}`set-middle`, where the MLP is at {glue:text}`middle-none` % after {glue:text}`rounds-middle` rounds, noise of 0.01 changes that by {glue:text}`middle-gaussian` points, which leaves about what guessing gives, and PRECODE by {glue:text}`middle-precode`. On {glue:text}`set-last`, trained for longer, the MLP reaches its goal later under noise, and ends {glue:text}`last-gaussian` points from no defense.
#
# ## Limits
#
# - {glue:text}`about-rounds`: who learns slower, not where it ends. The source trains until nothing improves.
# - Three seeds give a range, no interval, and a source of chance that is shared: the same seeds have the same clients.
# - Defenses act on each local step. A client that defends the update of a round instead sends the same bytes once a round, and learns differently: {doc}`05_attacks_and_defenses` compresses both.
# - The file of {glue:text}`set-middle` at hand has {glue:text}`images-middle` training images, so that a round there is {glue:text}`steps-middle` steps of each client and {glue:text}`rounds-middle` rounds are few.
# - Two small networks. Strengths are those of the other chapters, not tuned for these networks.
#
# ## Take-away
#
# What a defense costs in training is a matter of the task and the network, not of the defense alone: on {glue:text}`set-last`, the longest training, no defense costs more than {glue:text}`worst-last` points on average {glue:text}`lenet-stuck`. Short trainings tell apart defenses that slow the start from those
# that do not, and nothing about the end. An accuracy alone recommends no defense; beside it belongs what the best attack finds ({doc}`09_what_stands`).
#
# ## Exercises
#
# **1.** In the step by hand, take `width=16` and `width=256`. What happens to the cosine under Gaussian noise, and why?
#
# ```{admonition} Solution
# :class: dropdown
# It falls as the network gets wider. The length of the noise grows with the square root of the number of parameters, the length of the gradient hardly does.
# ```
#
# **2.** Train on a folder of your own images.
#
# ````{admonition} Solution
# :class: dropdown
# ```bash
# GLEAK_DATA=my_images gleak run 17_training_under_defense --profile quick -p datasets "[scans]" --output tryout
# ```
# with one folder per class in `my_images/scans` and about 170 images in all: a fifth of them are test images, and the bytes of a step are counted on two batches of 64 ({doc}`../reproduce`).
# ````
