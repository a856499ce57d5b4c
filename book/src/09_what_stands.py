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
# ```{admonition} In short
# :class: tip
# **Question.** Which protections still hide images from an attacker who knows them, and what do they cost?
#
# **Answer.** On fresh weights {glue:text}`found-precode` % of single images are found behind PRECODE, {glue:text}`found-cvb` % behind the CVB, {glue:text}`found-tenth` % under compression to a tenth, {glue:text}`standing-dp` % under DP with $\sigma = 10^{-2}$.
# In batches of {glue:text}`alike-batch` after {glue:text}`alike-rounds` it is {glue:text}`one-dp` % under this DP, {glue:text}`one-none` % without protection, and bottlenecks cost {glue:text}`one-lost-cvb` to {glue:text}`one-lost-precode` points.
# Rely on strong noise. One small network: no guarantee.
# ```
#
# ```{glue:figure} seen
# :name: fig-standing-seen
#
# Originals, and what the best attack finds under some protections. The first images that were attacked, none picked out; SSIM below each; {glue:text}`about-pictures`.
# ```
#
# A defense is as good as the best attack on it. Tables that report one attack for all of them flatter some: whoever has built a defense against
# Inverting Gradients has not built one against what comes next. {doc}`Breaking the bottleneck <08_breaking_the_bottleneck>` shows how far that can go.
#
# So this chapter draws the trade-off of {doc}`Attacks and defenses <05_attacks_and_defenses>` once more, with attackers who know what they are up
# against. Every protection meets several attacks, some of them made for it, and what counts is the one with the highest mean SSIM (mostly, not always, it also finds most images). Beside it stands
# what the protection costs: accuracy, bytes, time. At the end it says what a practitioner can rely on, and what not.
#
# ```{admonition} What the advice on this page rests on
# :class: warning
# One small network and {glue:text}`about-set`; {glue:text}`standing-images` images on {glue:text}`about-models` models and {glue:text}`about-steps` steps per attack. **Most tables measure privacy and accuracy on two protocols.** Their attacks see the gradient of *one* image, protected as such (batches aside);
# the accuracies are of {glue:text}`about-rounds` rounds of training with batches of {glue:text}`local-batch` images, and so are ε and the seconds. DP is the plainest case: a single image's gradient carries the noise of a whole step, which in training the mean of a batch carries. With $\sigma = 10^{-2}$ its deviation is {glue:text}`noise-single` on a single image, {glue:text}`noise-alike` on the mean of {glue:text}`alike-batch` and {glue:text}`noise-local` on that of {glue:text}`local-batch`. The rows {glue:text}`batch-rows` were not trained as such: their accuracy is that of no protection.
# The deviation of the Laplace noise is {glue:text}`laplace-deviation`, {glue:text}`laplace-times` times that of the Gaussian noise. The best attack was chosen on the images that it is scored on. Updates of several local steps, secure aggregation and larger networks were not measured.
# {numref}`fig-standing-one` and its table measure both on one, for no protection and nine, in small batches after a short training. Read the advice as what these attacks suggest, not as a ranking.
# ```

# %% tags=["parameters", "hide-cell"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
model: str = "cnn"  # a model of gleak_lib.models.MODELS
protections: list[str] = [
    "none",
    "dp(20, 1e-2)",
    "compression(0.9)",
    "batch(2)",
    "cvb(1)",
    "cvb(1) + average_noise(2)",
]  # compared with none
trained: list[str] = ["cvb(1)"]  # attacked after training, too
untrained: list[str] = []  # whose accuracy is not measured
long_searches: list[str] = ["batch(2)"]  # on which attacks get more steps, too
alike: list[str] = ["cvb(1)"]  # trained and attacked in batches of one size
alike_batch: int = 2  # that size
alike_rounds: int = 1  # and the rounds of that training
training_rounds: int = 2  # federated rounds
victims: int = 4  # images attacked on each model
steps: int = 100  # of each attack
longer_by: int = 2  # times the steps
plateau: int = 20  # of IG and Ignore: steps before lr falls
seeds: int = 2  # models, each with victims of its own
seed: int = 0  # of the first model, of dummies and noise
victim_seed: int = 1  # which images are attacked
scaling: str = "minmax"  # or none: images scored as they are
examples: int = 4  # images in the figures, at most 8

# %% tags=["hide-input"]
from functools import partial

import pandas
from gleak_lib import plots
from gleak_lib.chapters import open_store, parameters
from gleak_lib.experiments import run, tables
from gleak_lib.metrics import intervals
from IPython.display import Markdown, display
from myst_nb import glue

settings = parameters.check("09_what_stands", globals())

# %% [markdown]
# ## The experiment
#
# Three kinds of protection are compared. *Changes of the gradient*: DP, other noise, compression, pruning, quantization, clipping. *Bottlenecks*:
# PRECODE, the CVB, and candidates that the last chapter suggests: the exact KL term with a floor under $\sigma$, so that training cannot
# take the noise away; more noise entries than there are gradient entries (one convolution of $1 \times 1$ with many times as many kernels as channels: {glue:text}`many-noise`
# numbers against {glue:text}`many-entries` parameters); the gradient averaged over {glue:text}`draws` draws before it is shared; and combinations. *Batches*: several images
# in an update, as clients train anyway.
#
# A protection is a line of text, parts joined by ` + `. Under most of them several models are trained (batches change the attack only, and one training was too slow), and the bytes of one shared gradient are counted:

# %% tags=["experiment"]
from gleak_lib.client_setup import parse
from gleak_lib.experiments import TrainingExperiment
from gleak_lib.federated import Protocol

setups = {parse(text).label: parse(text) for text in ["none", *protections]}
trained_as = {"model": model, "protocol": Protocol(rounds=training_rounds)}
trainings = {
    (label, i): TrainingExperiment(
        dataset,
        bottlenecks=s.bottlenecks,
        seed=seed + i,
        defense=s.defense,
        **trained_as,
    )
    for label, s in setups.items()
    for i in range(seeds)
}

# %% tags=["experiment"]
from gleak_lib.experiments import CommunicationCostExperiment

chosen = {"seed": seed, "victim_seed": victim_seed}
sent = {
    k: CommunicationCostExperiment(trainings[k, 0], defense=s.defense, **chosen)
    for k, s in setups.items()
}

# %% [markdown]
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
# | all draws searched for | averaged noise | `joint` with one unknown map per draw |
# | …, longer | see below | the attack of that name, in {glue:text}`longer-steps` steps instead of {glue:text}`about-steps` |
#
# *Layer by layer* weighs its prior with $\lambda = 0.03$, as *joint, smoother* does; `joint` with 0.001. *Joint, smoother*, *entries sent*, *layer left out* and *all draws searched for* are made for a kind of protection. In code each is one of the general ones with one part replaced:

# %% tags=["experiment"]
from gleak_lib.attacks import ATTACKS, Resample
from gleak_lib.defenses import (
    DP,
    AverageNoise,
    Compression,
    Gaussian,
    Laplace,
    PruneSmall,
    Quantize,
    Soteria,
)

joint, layerwise = ATTACKS["joint"], ATTACKS["layerwise"]
noisy, sparse = (DP, Gaussian, Laplace, Quantize), (Compression, PruneSmall)
made_for = {
    "joint, smoother": (noisy, joint.replace(tv=0.03)),
    "entries sent": (sparse, layerwise.replace(estimate="sparsity")),
    "layer left out": (Soteria, layerwise.replace(exclude=("last",))),
}

# %% [markdown]
# Every protection meets the general attacks and those that are made for a part of it, on fresh weights and, where `trained` says so, on trained ones. There
# *joint* is left out, since trained weights are attacked layer by layer as in {doc}`08_breaking_the_bottleneck`, and *layer by layer* also runs with noise that is drawn anew at each step, as in IG.
#
# A search that is given too few steps makes any protection look good. So under some protections ({glue:text}`longer-rows`) attacks on fresh weights run once more with {glue:text}`longer-by` times as many steps: those that are made for the protection, and *layer by layer* in batches and behind bottlenecks.

# %% tags=["experiment"]
attackers = {(w, label): {} for w in ("fresh", "trained") for label in setups}
more_steps = [parse(text).label for text in long_searches]
for (weights, label), tried in attackers.items():
    setup, is_fresh = setups[label], weights == "fresh"
    ig = ATTACKS["ignore" if setup.bottlenecks and is_fresh else "ig"]
    tried["IG or Ignore"] = ig.replace(drop_after=plateau)
    tried["layer by layer"] = layerwise
    special = {
        name: attack
        for name, (kinds, attack) in made_for.items()
        if any(isinstance(part, kinds) for part in setup.defense.parts)
    }
    if is_fresh:
        tried["joint"] = joint
    elif setup.bottlenecks:
        redrawn = layerwise.replace(noise=Resample())
        tried["layer by layer, noise redrawn"] = redrawn
    tried |= special
    if is_fresh and label in more_steps:
        if setup.bottlenecks or setup.batch_size > 1:
            special = {"layer by layer": layerwise} | special
        tried |= {f"{name}, longer": special[name] for name in special}

# %% [markdown]
# Averaged noise meets one more attack, which searches for the noise of every draw:

# %% tags=["experiment"]
for (_, label), tried in attackers.items():
    for part in setups[label].defense.parts:
        if isinstance(part, AverageNoise):
            every = joint.replace(noise_samples=part.draws)
            tried["all draws searched for"] = every

# %% tags=["experiment"]
from gleak_lib.experiments import AttackExperiment

late = [parse(text).label for text in trained]
patient = "layer by layer, longer"
again = [patient, *(f"{name}, longer" for name in made_for)]
budget = dict.fromkeys(again, longer_by * steps)
attacked = {
    (weights, label, name, i): AttackExperiment(
        trainings[label, i],
        rounds=training_rounds if weights == "trained" else 0,
        attack=attack.replace(max_steps=budget.get(name, steps)),
        victims=max(1, victims // setups[label].batch_size),
        batch_size=setups[label].batch_size,
        victim_seed=victim_seed + i,
        seed=seed + i,
        defense=setups[label].defense,
    )
    for (weights, label), tried in attackers.items()
    if weights == "fresh" or label in late
    for name, attack in tried.items()
    for i in range(seeds)
}

# %% [markdown]
# With the trainings behind the accuracies, and the bytes:

# %% tags=["experiment"]
left_out = [parse(text).label for text in untrained]
learned = {
    k: experiment for k, experiment in trainings.items() if k[0] not in left_out
}
parts = [*attacked.values(), *learned.values(), *sent.values()]
experiments = list(dict.fromkeys(parts))

# %%
results = run(experiments, open_store(profile))
Markdown(tables.note(results, profile))

# %% [markdown]
# The list above has several attacks for one protection, since nobody knows the best one beforehand. An attacker who can try them on images of their own can find it out for a protection; that is
# the column "best attack" below: the one with the highest mean SSIM on the images of the table. The attacker who cannot
# has to believe, image by image, the reconstruction whose gradient lies nearest to the observed one (`attacks.gradient_distance`); that is "chosen by its loss".
#
# ## An attack that knows the defense, by hand
#
# Four handwritten digits, and a client who adds Gaussian noise to the gradient. A dummy that matches the noise, too, has speckle. An attacker who knows of it trusts
# the gradient less and the prior more. So beside IG, with the weight $\lambda = 0.01$ of its prior, runs *joint, smoother*, with 0.03:

# %%
import torch
from gleak_lib import attacks, datasets, metrics, models

digits = datasets.load("digits")
images, labels = datasets.victims(digits, 4, 0)
shape, pixels = digits.input_shape, {"mean": digits.mean, "std": digits.std}
network = models.build("cnn", input_shape=shape, seed=0)
generator = torch.Generator().manual_seed(0)
observation = attacks.observe(
    network,
    images,
    labels,
    defense=Gaussian(std=1e-2),
    generator=generator,
    **pixels,
)
for known in (ATTACKS["ig"].replace(drop_after=30), joint.replace(tv=0.03)):
    attack = known.replace(max_steps=300)
    found = attacks.invert(observation, attack, generator=generator)
    ssim = metrics.score(found, images)["ssim"].round(2).tolist()
    distance = attacks.gradient_distance(observation, attack, found)
    print(f"{attack.name:5} SSIM {ssim}, distance {distance.mean():.2f}")

# %% [markdown]
# The second finds more, and yet its gradients are no nearer to the observed ones: what the attacker can see does not tell which of the two to believe.
#
# ## Protections and attackers
#
# On fresh weights. *ASR* is the share of images with an SSIM of at least 0.5, in parentheses its 95 % interval; *SSIM* is a mean ± standard deviation over images. *Above truth* is the share of the best attack's searches that ended with a loss
# above the one that this attack has at the true image and noise. Such a search may have found the image all the same; if not, a longer one may find it, and a low ASR proves little. One that ended below prefers another image to the true one: what it lacks is not steps.

# %% tags=["hide-input"]
by = ["weights", "protection"]
victims_found = results.frame(
    attacked, scaling=scaling, label=[*by, "method", "model_number"]
)
scored = tables.attack_table(victims_found, [*by, "method"])
best = scored.sort_values("ssim", ascending=False, kind="stable")
nearest = victims_found.sort_values("gradient_distance", kind="stable")
believed = nearest.drop_duplicates([*by, "model_number", "victim", "image"])
leaks = (
    scored[scored["method"] == "IG or Ignore"]
    .merge(best.drop_duplicates(by), on=by, suffixes=("_published", ""))
    .merge(tables.attack_table(believed, by), on=by, suffixes=("", "_chosen"))
)
for end in ("_published", "", "_chosen"):
    bounds = leaks[[f"asr{end}", f"asr_low{end}", f"asr_high{end}"]].to_numpy()
    leaks[f"text{end}"] = [intervals.said(*row) for row in bounds]
fresh, after = (leaks[leaks["weights"] == w] for w in ("fresh", "trained"))
first = list(dict.fromkeys(["none", *late, *setups]))[:10]
short = fresh["protection"].isin(first)
columns = {
    "protection": "protection",
    "text_published": "ASR %, IG or Ignore",
    "method": "best attack",
    "text": "ASR %, best attack",
    "text_chosen": "ASR %, chosen by its loss",
    "ssim": "SSIM, best attack",
    "above_truth": "above truth %",
}
scaled = (
    "each image min–max scaled" if scaling == "minmax" else "images as they are"
)
about = {
    name: f"{victims * seeds} images from {dataset} on {seeds} models, {weights}, {count}, {scaled}, profile {profile}"
    for name, (weights, count) in {
        "fresh": (
            "fresh weights",
            f"{steps:,} steps ({longer_by * steps:,} where longer)",
        ),
        "trained": (
            f"weights after {training_rounds} rounds",
            f"{steps:,} steps",
        ),
    }.items()
}
tables.show(
    fresh[short],
    columns=columns,
    caption=f"Protections and attackers: {about['fresh']}. In parentheses 95 % intervals over the images. Best is the highest mean SSIM, which may find fewer images.",
)

# %% [markdown]
# The other protections (folded), and all of them in a figure:

# %% tags=["hide-cell"]
if not short.all():
    display(
        tables.show(
            fresh[~short],
            columns=columns,
            caption=f"The other protections: {about['fresh']}. In parentheses 95 % intervals over the images.",
        )
    )

# %% tags=["hide-input"]
seen = {
    "_published": "under IG or Ignore",
    "": "under the best attack",
}
bars = [
    fresh[["protection", f"asr{end}", f"asr_low{end}", f"asr_high{end}"]]
    .set_axis(["label", "value", "low", "high"], axis="columns")
    .assign(method=method)
    for end, method in seen.items()
]
figure = plots.intervals(
    pandas.concat(bars), xlabel="ASR %, with 95 % intervals"
)
alt = "One line per protection with two points and their intervals, under IG or Ignore and under the best attack. They lie together without protection, for clipping and pruning at 100, for strong noise at 0; they lie far apart for PRECODE, the CVB as published and compression to a tenth."
glue("found", plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} found
# :name: fig-standing-found
#
# Images found under the attack of the papers' tables and under the best attack, with 95 % intervals: {glue:text}`about-fresh`.
# ```
#
# In numbers:

# %% tags=["hide-input"]
pays = [
    f"- {row.protection}: {row.text_published} → {row.text}"
    for row in fresh.itertuples()
    if row.asr - row.asr_published >= 10
]
Markdown(
    f"Images found, percent, under IG or Ignore → under the best attack, where that is ten points more (this run, profile {profile}, fresh weights):\n\n"
    + ("\n".join(pays) or "- nowhere")
)

# %% [markdown]
# In the published run (profile `cpu`) the columns tell two stories. Under IG or Ignore, the attack of the papers' tables, every bottleneck and every combination is at {glue:text}`range-noise-published` %, and the
# weakest DP at {glue:text}`published-dp-weak` %. Under the best attack PRECODE and the CVB are nearly as open as a network without protection.
#
# - **Next to nothing** is hidden by clipping (the cosine does not see lengths), by pruning the smallest fifth, by {glue:text}`bits` bits, or by Soteria, whose layer the attacker
#   leaves out: {glue:text}`range-nothing` % are found.
# - **Weak noise** hides a part. Under Gaussian noise of deviation 0.01, {glue:text}`found-gaussian` % are found; under DP with $\sigma = 10^{-3}$, {glue:text}`found-dp-weak` %, so that it hides {glue:text}`hidden-dp-weak` % on fresh weights, and changes the accuracy by {glue:text}`standing-dp-weak-gain` points in a training with batches of {glue:text}`local-batch`. (On weights after {glue:text}`about-rounds` rounds it hides next to nothing, see below.) Compression to a tenth
#   goes from {glue:text}`published-tenth` to {glue:text}`found-tenth` % once the attacker looks only at the entries that were sent.
# - **Bottlenecks** fail on fresh weights as published, PRECODE at {glue:text}`found-precode` % and the CVB at {glue:text}`found-cvb` %, and so do two candidates: the floor under $\sigma$ ({glue:text}`found-floor-1` % with a floor of 1, {glue:text}`found-floor-4` % with 4) and the average over {glue:text}`draws` draws, as soon as all of them are searched for.
#   One was not broken: with more numbers of noise than of gradient {glue:text}`found-many` % were found. Its accuracy is not known: that training
#   was too slow here.
# - **What was not broken** by anything tried: DP from $\sigma = 10^{-2}$ on, Laplace noise (with a deviation of {glue:text}`laplace-deviation`, {glue:text}`laplace-times` times that of the Gaussian noise above). Compression to a hundredth was, just: in {glue:text}`longer-steps` steps {glue:text}`long-hundredth` % are found, in {glue:text}`about-steps` none.
# - **In batches** steps count: of batches of {glue:text}`batch-small`, {glue:text}`short-small` % are found in {glue:text}`about-steps` steps and {glue:text}`long-small` % in {glue:text}`longer-steps`; of {glue:text}`batch-large`, {glue:text}`short-large` and {glue:text}`long-large` %. Of the longer searches {glue:text}`above-small` and {glue:text}`above-large` % end above the truth's loss: this is how far they came, not what a batch hides.
# - **Little** was found behind the CVB together with batches of {glue:text}`batch-small`, weak DP or compression to a tenth: alone these leave {glue:text}`range-alone` % and the CVB {glue:text}`found-cvb` %; together {glue:text}`range-together` %.
#   (With the batches {glue:text}`above-together` % of the longer searches end above the truth's loss.) The CVB together with the average over draws is no such case, see above.
#
# "Not broken" means here that none of {glue:text}`tried` attacks found one of {glue:text}`standing-images` images, with intervals that reach up to {glue:text}`high-dp` %. Under the noise that was not broken every search of the best attack ended below the truth's loss, so that it is not steps that it lacks. Behind the bottleneck with more noise than gradient {glue:text}`above-many` % ended above it, and a longer search, which was not run, may find more. The best attack was chosen on the same images that it is scored on, which favors it a little. The
# intervals count images of one batch as found or missed together.
#
# The mean SSIM of every attack on every protection, with {glue:text}`about-steps` steps (folded):

# %% tags=["hide-cell"]
every = scored[scored["weights"] == "fresh"]
methods = [m for m in every["method"].unique() if m not in again]
side_by_side = (
    every.pivot(index="protection", columns="method", values="ssim")
    .reindex(index=list(setups), columns=methods)
    .reset_index()
)
tables.show(
    side_by_side,
    columns=list(side_by_side),
    digits=dict.fromkeys(methods, 2),
    caption=f"Mean SSIM of every attack: {about['fresh']}.",
)

# %% [markdown]
# What more steps bring:

# %% tags=["hide-input"]
long_runs = every[every["method"].isin(again)]
long_runs = long_runs.assign(
    method=long_runs["method"].str.removesuffix(", longer")
)
longer = long_runs.merge(every, on=[*by, "method"], suffixes=("", "_short"))
longer["gained"] = longer["ssim"] - longer["ssim_short"]
longer = longer.sort_values("ssim", ascending=False, kind="stable")
longer = longer.drop_duplicates("protection").sort_values(
    "gained", ascending=False, kind="stable"
)
columns_longer = {
    "protection": "protection",
    "method": "attack",
    "asr_text_short": f"ASR %, {steps:,} steps",
    "above_truth_short": f"above truth %, {steps:,}",
    "asr_text": f"ASR %, {longer_by * steps:,} steps",
    "above_truth": f"above truth %, {longer_by * steps:,}",
    "gained": "SSIM gained",
}
for first_row in range(0, len(longer), 10):
    display(
        tables.show(
            longer[first_row : first_row + 10],
            columns=columns_longer,
            digits={"above_truth_short": 0, "gained": 2},
            caption=f"The same searches with {longer_by} times the steps, of each protection the longer one with the highest mean SSIM: {victims * seeds} images from {dataset} on {seeds} models, fresh weights, {scaled}, profile {profile}. In parentheses 95 % intervals over the images.",
        )
    )
if longer.empty:
    print("No longer searches in this run.")

# %% [markdown]
# In the published run steps count in batches: {glue:text}`longer-by` times as many raise the mean SSIM by up to {glue:text}`longer-gain`. Under noise, with the CVB or without it, they change next to nothing, even where most searches still end above the truth's loss: so these searches do not want for steps, though a better one may find more.
#
# Whoever cannot try the attacks beforehand finds less:

# %% tags=["hide-input"]
loses = [
    f"- {row.protection}: {row.text} → {row.text_chosen}"
    for row in fresh.itertuples()
    if row.asr - row.asr_chosen >= 10
]
Markdown(
    f"Images found, percent, under the best attack → by an attacker who believes the nearest gradient, where that is ten points less (this run, profile {profile}):\n\n"
    + ("\n".join(loses) or "- nowhere")
)

# %% [markdown]
# In the published run no attack is best everywhere, and nearly every one that was made for a protection wins there (not the one for entries sent on pruning, nor `joint, smoother` under DP with $\sigma = 10^{-1}$). An attacker who cannot try them out beforehand, and believes the nearest gradient, loses in several
# cases, in batches, under compression to a tenth and under Gaussian noise most, but also under weak DP, behind PRECODE and with a floor of 4 under the bottleneck's $\sigma$. Under noise and compression this may be because the weakest prior comes nearest, which fits the disturbance and not the image. Where `joint` or the search for all draws
# is the best attack, behind the CVB as published, with a floor of 1 and with averaged noise, the choice costs nothing.
#
# What the best attack finds, under the protections of the first table that act on single images:

# %% tags=["hide-input"]
single = {
    row.protection: results[attacked["fresh", row.protection, row.method, 0]]
    for row in fresh.itertuples()
    if setups[row.protection].batch_size == 1
}
originals = single["none"].images("truth")
pictures = {
    label: result.images("reconstruction") for label, result in single.items()
}
cvb, dp = "CVB P=1, k=5, s=1/2, β=1e-1", "DP σ=1e-2"
few = ["none", "compression p=0.9", cvb, "DP σ=1e-3", dp]
drawn = {
    "seen": ([label for label in few if label in pictures], 4),
    "pictures": ([label for label in pictures if label in first], examples),
    "others": ([label for label in pictures if label not in first], examples),
}
for name, (rows, count) in drawn.items():
    figure = plots.reconstructions(
        originals,
        {label: pictures[label] for label in rows},
        columns=count,
        scaling=scaling,
    )
    alt = f"Rows of small images: the originals, and what the best attack finds under each protection: {'; '.join(rows)}. Where the SSIM is above 0.5 the picture can be made out, below 0.3 there are blotches."
    glue(name, plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} pictures
# :name: fig-standing-pictures
#
# Originals, and what the best attack on each protection finds; SSIM below each: {glue:text}`about-pictures`.
# ```
#
# ````{admonition} The same under the other protections
# :class: dropdown
# ```{glue:figure} others
# :name: fig-standing-others
#
# As {numref}`fig-standing-pictures`, under the protections that are not in the first table; batches are left out, since their images stand in another order: {glue:text}`about-pictures`.
# ```
# ````
#
# ## After training
#
# The same attackers on the weights after training under each protection, at a few of them.

# %% tags=["hide-input"]
tables.show(
    after,
    columns=columns | {"text_published": "ASR %, IG"},
    caption=f"Protections and attackers after training: {about['trained']}. In parentheses 95 % intervals over the images.",
)

# %% [markdown]
# In the published run the order changes on weights that have seen {glue:text}`about-rounds` rounds, and the protection by weak DP collapses: $\sigma = 10^{-3}$ leaves {glue:text}`trained-dp-weak` % (with the same noise and clipping; perhaps because the gradients of trained weights are
# longer, which is not measured here). Under DP with $\sigma = 10^{-2}$ none is found, but the mean SSIM rises from {glue:text}`ssim-dp` to {glue:text}`trained-ssim-dp`; what longer training does to it was not measured. Compression to a tenth is as open as before ({glue:text}`trained-tenth` %), to a hundredth nothing is found. Behind PRECODE {glue:text}`trained-precode` % are found, behind the CVB {glue:text}`trained-cvb` %, the latter with
# noise that is drawn anew. The CVB with weak DP leaves {glue:text}`trained-cvb-dp` %, less than weak DP alone; it is less than the CVB alone, too: image by image the SSIM is {glue:text}`trained-less` lower (95 % interval over the images). With $\sigma$ held at 1 by the exact KL
# term and the floor {glue:text}`trained-floor-1` % are found, where fresh weights gave {glue:text}`found-floor-1` % ({glue:text}`above-trained-floor-1` % of these searches end above the truth's loss); the next section says at what price.
#
# ## What it costs
#
# Accuracy, bytes and time: {glue:text}`about-rounds` rounds of federated training in batches of {glue:text}`local-batch`. It is not the protocol of the attacks above.

# %% tags=["hide-input"]
runs = results.frame(learned, label=["protection", "model_number"])
runs["seconds"] /= runs["rounds_run"].clip(lower=1)
accuracies = 100 * runs.pivot(
    index="protection", columns="model_number", values="accuracy"
).astype(float).reindex(list(setups))
gains = accuracies - accuracies.loc["none"]
runs = runs.groupby("protection").agg({"seconds": "median", "epsilon": "max"})
counted = results.frame(sent, label="protection").set_index("protection")
costs = pandas.DataFrame(
    {
        "accuracy": accuracies.mean(axis=1),
        "accuracy_std": accuracies.std(axis=1, ddof=0),
        "gain": gains.mean(axis=1),
        "gain_std": gains.std(axis=1, ddof=0),
        "epsilon": [
            f"{value:,.3g}" if value > 0 else None
            for value in runs["epsilon"].reindex(list(setups))
        ],
        "kilobytes": counted["bytes"].reindex(list(setups)) / 1000,
        "seconds": runs["seconds"].reindex(list(setups)),
    }
)
for name in ("kilobytes", "seconds"):
    costs[f"relative_{name}"] = costs[name] / costs[name]["none"]
costs = costs.rename_axis("protection").reset_index()
columns = {
    "protection": "protection",
    "accuracy": "accuracy %",
    "gain": "points against none",
    "epsilon": "ε",
    "kilobytes": "kB per gradient",
    "relative_kilobytes": "× none (bytes)",
    "seconds": "s per round",
    "relative_seconds": "× none (time)",
}
local_batch = trainings["none", 0].protocol.batch_size
trained_as = f"{dataset}, {seeds} trainings each, mean ± deviation, at most {training_rounds} rounds in batches of {local_batch}, profile {profile}"
digits = {"gain": 2, "kilobytes": 1, "seconds": 1}
digits |= {"relative_kilobytes": 2, "relative_seconds": 2}
tables.show(
    costs[costs["protection"].isin(first)],
    columns={
        name: text
        for name, text in columns.items()
        if name not in ("kilobytes", "seconds")
    },
    digits=digits,
    caption=f"What protections cost: {trained_as}.",
)

# %% [markdown]
# All protections, with kilobytes and seconds (folded):

# %% tags=["hide-cell"]
tables.show(
    costs,
    columns=columns,
    digits=digits,
    caption=f"What all protections cost: {trained_as}.",
)

# %% tags=["hide-input"]
gain = partial(tables.quote, costs, "gain", 1)
Markdown(
    f"Points of accuracy against no protection in this run (profile {profile}, at most {training_rounds} rounds): DP with σ = 0.001 {gain(protection='DP σ=1e-3')}, "
    f"0.01 {gain(protection=dp)}, 0.1 {gain(protection='DP σ=1e-1')}; Gaussian noise of 0.01 {gain(protection='gaussian std=1e-2')}, Laplace noise {gain(protection='laplace scale=0.0707')}; compression to a tenth "
    f"{gain(protection='compression p=0.9')}, to a hundredth {gain(protection='compression p=0.99')}; the CVB {gain(protection=cvb)}, with σ ≥ 1 "
    f"{gain(protection=f'{cvb}, exact KL, σ ≥ 1')}."
)

# %% [markdown]
# Accuracies after {glue:text}`about-rounds` rounds say who learns slower, not where it ends. In the published run clipping, pruning, Soteria and the weakest DP cost {glue:text}`cheap` points at most, less than accuracies vary between models. The CVB costs about {glue:text}`lost-cvb` points here; after {glue:text}`06_other_architectures.ipynb::cnn-rounds:s` rounds it changes the accuracy by {glue:text}`06_other_architectures.ipynb::cnn-gain:s` points, with one seed, in {doc}`Other
# architectures <06_other_architectures>`. With the floor under $\sigma$ at 4 nothing is learned at all: {glue:text}`accuracy-floor-4` % is chance. The Laplace noise that was not broken costs most of what is learned; it is also {glue:text}`laplace-times` times as strong as the Gaussian noise, so the two say nothing about Laplace against Gauss. Together with the CVB, weak DP costs hardly more than the CVB does.
#
# Seconds are rough, since the machine computed other things meanwhile; those of the averaged noise, {glue:text}`draws` draws in every step, are probably inflated most.
#
# The rows {glue:text}`batch-rows` stand at no cost because nothing was trained in such batches: their accuracy is that of the plain training, in batches of {glue:text}`local-batch`.
#
# DP clips each example's gradient to the length $C$ and adds noise of deviation $\sigma C$ to their sum. Its guarantee, $(\varepsilon, \delta)$: one example changes the odds of anything that a client sends by a factor of $e^\varepsilon$ at most, but for a probability of $\delta$ {cite:p}`abadi2016dpsgd`.
# $\varepsilon$ (at $\delta = 10^{-5}$, for the rounds that were run) holds against *every* attack, and none of the strengths that keep the accuracy has one worth the name.
# What stands at $10^{-2}$ stands against the attacks of this chapter.

# %% [markdown]
# ## The trade-off with adaptive attackers

# %% tags=["hide-input"]
from gleak_lib.client_setup import differences

kinds = {"batch": "batches"} | {
    name: name for name in ("none", "DP", "compression", "PRECODE", "CVB")
}
points = fresh.merge(costs, on="protection").dropna(subset="gain")
words = [label.partition(" ") for label in points["protection"]]
points["family"] = [
    "combined"
    if " + " in more
    else kinds.get(word, "other changes of the gradient")
    for word, _, more in words
]
familiar = points["family"].isin(kinds.values())
points["setting"] = points["protection"].mask(familiar, [w[2] for w in words])
points["family"] = points["family"].astype("category")
points["joined"] = points["family"].isin(["DP", "compression", "batches"])
for family, rows in points.groupby("family", observed=True):
    if len(rows) > 1:
        separator = " + " if family == "combined" else ", "
        named = differences(rows["setting"], separator)
        points.loc[rows.index, "setting"] = named
panels = [
    points[["family", "setting", "joined", "gain", f"ssim{end}"]]
    .set_axis(["family", "setting", "joined", "x", "y"], axis="columns")
    .assign(row=method, column=dataset, **({"setting": ""} if end else {}))
    for end, method in seen.items()
]
figure = plots.tradeoff(
    pandas.concat(panels, ignore_index=True),
    xlabel="accuracy gained, points",
    ylabel="mean SSIM",
    threshold=0.5,
    linear=1.0,
)
alt = "Two panels, mean SSIM over the accuracy gained, one point per protection. Above, under IG or Ignore, the bottlenecks lie low; below, under the best attack, PRECODE, the CVB and compression to a tenth lie above the dotted line at 0.5, DP at 0.01 and batches of twelve below it."
glue("tradeoff", plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} tradeoff
# :name: fig-standing-tradeoff
#
# Mean SSIM on fresh weights over what the accuracy gains against no protection; lower and further right is better, the dotted line marks a success. Names stand in the lower panel; above, each setting has the same place from left to right. SSIM: {glue:text}`about-fresh`. Accuracy: {glue:text}`about-training`.
# ```
#
# The upper panel of {numref}`fig-standing-tradeoff` repeats the comparison of {doc}`the fifth chapter <05_attacks_and_defenses>` with more protections and models, the lower one is what adaptive attackers make of it: in the published run PRECODE, the CVB and the average over draws have moved up past the threshold,
# and compression to a tenth with them. What stays low at little cost in accuracy is DP at $10^{-2}$ (SSIM {glue:text}`ssim-dp`). Batches of {glue:text}`batch-small` and {glue:text}`batch-large` are at {glue:text}`ssim-small` and {glue:text}`ssim-large`, as far as the searches came. The combinations with batches, weak DP or compression stay low ({glue:text}`range-ssim-together`) at the cost of the CVB or more.

# %% [markdown]
# ## On one protocol
#
# What hides and what costs stand on two protocols so far. Here they stand on one, for a few protections: clients train in batches of {glue:text}`alike-batch` for {glue:text}`alike-rounds`, and the attackers see the gradient of such a batch
# on the weights that this training ends with. So accuracy, ASR and SSIM of a row belong to the same models. The trainings:

# %% tags=["experiment"]
from dataclasses import replace

batches = Protocol(rounds=alike_rounds, batch_size=alike_batch)
wanted = ["none", *(parse(text).label for text in alike)]
same = [label for label in setups if label in wanted]
one_protocol = {
    (label, i): replace(trainings[label, i], protocol=batches)
    for label in same
    for i in range(seeds)
}

# %% [markdown]
# The attackers try all that they tried above, on fresh and on trained weights, and have more steps for one attack, since batches need them:

# %% tags=["experiment"]
one_attacked = {
    (label, name, i): AttackExperiment(
        training,
        rounds=alike_rounds,
        attack=attack.replace(max_steps=budget.get(name, steps)),
        victims=max(1, victims // alike_batch),
        batch_size=alike_batch,
        victim_seed=victim_seed + i,
        seed=seed + i,
        defense=setups[label].defense,
    )
    for (label, i), training in one_protocol.items()
    for name, attack in (
        attackers["fresh", label]
        | attackers["trained", label]
        | {patient: layerwise}
    ).items()
    if name == patient or name not in again
}
experiments += [*one_protocol.values(), *one_attacked.values()]

# %% tags=["hide-input"]
results = run(experiments, open_store(profile))
both_kinds = [*one_protocol.values(), *one_attacked.values()]
measured = [results[experiment] for experiment in both_kinds]
display(Markdown(tables.note(measured, profile)))
on_one = results.frame(
    one_attacked, scaling=scaling, label=["protection", "method", "i"]
)
tried_on = tables.attack_table(on_one, ["protection", "method", "i"])
tried_on["others"] = tried_on.groupby(["protection", "method"])[
    "ssim"
].transform(lambda v: (v.sum() - v) / max(len(v) - 1, 1))
sure = tried_on.sort_values("others", ascending=False, kind="stable")
sure = sure.drop_duplicates(["protection", "i"])
held = tables.attack_table(
    on_one.merge(sure[["protection", "method", "i"]]), "protection"
)
one = tables.attack_table(on_one, ["protection", "method"])
one = one.sort_values("ssim", ascending=False, kind="stable")
one = one.drop_duplicates("protection").merge(
    held, on="protection", suffixes=("", "_held")
)
taught = results.frame(one_protocol, label=["protection", "i"])
reached = 100 * taught.pivot(
    index="protection", columns="i", values="accuracy"
).astype(float)
paid = reached - reached.loc["none"]
one["accuracy"] = one["protection"].map(reached.mean(axis=1))
one["gain"] = one["protection"].map(paid.mean(axis=1))
one["gain_text"] = [
    intervals.said(
        row.gain, *intervals.mean(paid.loc[row.protection].to_numpy()), 1
    )
    if row.protection != "none"
    else None
    for row in one.itertuples()
]
one = one.set_index("protection").reindex(same).reset_index()
about["one"] = (
    f"{dataset}, batches of {alike_batch}, weights after {alike_rounds} round{'s' if alike_rounds > 1 else ''}, {seeds} models each, {len(on_one) // len(one_attacked) * seeds} images, {steps:,} steps, {scaled}, profile {profile}"
)
tables.show(
    one,
    columns={
        "protection": "protection",
        "accuracy": "accuracy %",
        "gain_text": "points against none",
        "method": "best attack",
        "asr_text": "ASR %, best attack",
        **(
            {"asr_text_held": "ASR %, chosen on other images"}
            if seeds > 1
            else {}
        ),
        "ssim": "SSIM, best attack",
        "above_truth": "above truth %",
    },
    digits={"accuracy": 1},
    caption=f"Cost and leak on one protocol: {about['one']}. In parentheses 95 % intervals, of points over the models, of ASR over the {len(on_one) // len(one_attacked) * seeds // alike_batch} batches. Chosen on other images: for each model, the attack with the highest mean SSIM on the others'.",
)

# %% tags=["hide-input"]
panel = one.merge(points[["protection", "family", "setting", "joined"]])
panel = panel.rename(columns={"gain": "x", "ssim": "y"})
figure = plots.tradeoff(
    panel.assign(row="on one protocol", column=dataset),
    xlabel="accuracy gained, points",
    ylabel="mean SSIM, best attack",
    threshold=0.5,
    linear=None,
)
alt = "One point per protection. PRECODE, DP at 0.1 and the CVB lie far to the left. PRECODE is highest, near 0.5, then DP at 0.001, near 0.4; DP at 0.01, near 0.1, and Gaussian noise, near 0.3, lie to the right of no protection; compression lies near no protection and lower."
glue("on-one", plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} on-one
# :name: fig-standing-one
#
# Mean SSIM under the best attack over what the accuracy gains against no protection, on one protocol; lower and further right is better, the dotted line marks a success. Points are means over the models; their intervals, up to {glue:text}`one-widest` points to each side, stand in the table. {glue:text}`about-one`.
# ```
#
# In the published run:
#
# - **Without a protection** {glue:text}`one-none` % of the images in these batches are found. On fresh weights it was {glue:text}`small-text` % of those in batches of {glue:text}`batch-small`: {glue:text}`alike-rounds` of training hides much of a batch from these attacks, more than {glue:text}`longer-steps` steps make up for.
# - **DP with $\sigma = 10^{-2}$ has the lowest mean SSIM of those that cost nothing that three models show**: {glue:text}`one-ssim-dp`, without protection {glue:text}`one-ssim-none`. Of shares so few batches tell little ({glue:text}`one-dp` % are found), and the accuracy changes by {glue:text}`one-gain-dp` points, so that a cost of some points is not excluded. With $10^{-3}$ about as many are found as without ({glue:text}`one-dp-weak` %). With $10^{-1}$ none is found either, but the accuracy changes by
#   {glue:text}`one-gain-dp-strong` points. Gaussian noise of deviation 0.01, between the two weaker DPs (in such a batch {glue:text}`noise-alike-weak` and {glue:text}`noise-alike`), and compression to a tenth and to a hundredth leave {glue:text}`one-gaussian`, {glue:text}`one-tenth` and {glue:text}`one-hundredth` %, which their intervals do not tell apart from no protection. The intervals of what these cost contain 0.
# - **The bottlenecks learn slowly at first.** The CVB changes the accuracy by {glue:text}`one-gain-cvb` points and leaves {glue:text}`one-cvb` %; PRECODE by {glue:text}`one-gain-precode` points, and leaves {glue:text}`one-precode` %: neither share is told apart from that without protection. The CVB with weak DP leaves {glue:text}`one-cvb-dp` %; its cost ({glue:text}`one-gain-cvb-dp` points) is not told apart from none. In batches of {glue:text}`local-batch`, after {glue:text}`about-rounds` rounds, they cost {glue:text}`lost-cvb` (CVB) and {glue:text}`lost-precode` (PRECODE) points above; where long trainings end stands in {doc}`11_ours_beside_theirs`.
#
# Three models tell only large differences of accuracy apart: the intervals are {glue:text}`one-narrowest` to {glue:text}`one-widest` points wide to each side, so that a cost of several points may hide in them. That the means lie above 0 for the weaker noises may be chance, or noise steadies a training in such small batches. Of the best attack's searches {glue:text}`one-above-none` % end above the truth's loss without protection, {glue:text}`one-above-cvb` % behind the CVB and {glue:text}`one-above-precode` % behind PRECODE, so that more may be found there; under DP {glue:text}`one-above-dp` % with $\sigma = 10^{-2}$ and {glue:text}`one-above-dp-weak` % with $10^{-3}$. An attack chosen on the other models' images finds as many in every row, so that
# the column "best attack" flatters nobody here. After {glue:text}`alike-rounds` the accuracies are those of the beginning of a training.
#
# ## What to use, and what not to rely on
#
# For practitioners, as far as these attacks and this small network go:
#
# **Use** noise as in DP: here $\sigma = 10^{-2}$ at $C = 20$ was the least that no attack broke, on single images. Calibrate it on your own network by attacks on your own images (`gleak run
# 09_what_stands -p dataset …`), fresh *and* trained. Average over many images before sending as well: it makes the search longer (numbers above), though these attacks cannot tell how much it hides. Updates of whole
# rounds instead of gradients of steps may help, too; that was not measured here, and there are attacks on them {cite:p}`dimitrov2022fedavg`. And if privacy is a promise to somebody, take the noise that gives a small $\varepsilon$, pay for it in accuracy, or aggregate
# securely so that the server never sees a single update. That is cryptography, outside of this book.
#
# **Do not rely on** PRECODE or the CVB as the only protection: on fresh weights an attack that searches for the noise finds {glue:text}`found-precode` and {glue:text}`found-cvb` %, and after {glue:text}`about-rounds` rounds the best attack finds {glue:text}`trained-precode` and {glue:text}`trained-cvb` %. Nor on clipping, pruning, quantization, Soteria, compression to a tenth
# or DP with $\sigma = 10^{-3}$: under that {glue:text}`found-dp-weak` % are found on fresh weights, and {glue:text}`trained-dp-weak` % {glue:text}`about-rounds` rounds later, where {glue:text}`trained-none` % are found without a protection.
#
# **A bottleneck may be one layer of several.** On fresh weights the CVB with weak DP or in small batches left less than either part alone; on trained weights it left less, too: by {glue:text}`trained-less` of SSIM, image by image, in the first table after training, and with intervals that overlap those of the CVB alone in the one on one protocol. That is a measurement, not a guarantee, and the next attack may
# take it away, as `joint` took away the last one.


# %% tags=["hide-input"]
alone = {k: s for k, s in setups.items() if k == f"batch of {s.batch_size}"}
sizes = sorted(setup.batch_size for setup in alone.values()) or ["–"]
names = {
    "dp-weak": "DP σ=1e-3",
    "dp": dp,
    "gaussian": "gaussian std=1e-2",
    "tenth": "compression p=0.9",
    "small": f"batch of {sizes[0]}",
    "large": f"batch of {sizes[-1]}",
    "precode": "PRECODE P=1, K=8",
    "cvb": cvb,
    "floor-1": f"{cvb}, exact KL, σ ≥ 1",
    "floor-4": f"{cvb}, exact KL, σ ≥ 4",
    "many": "CVB P=1, k=1, s=32, β=1e-1",
    "cvb-dp": f"{cvb} + DP σ=1e-3",
}
both = fresh.merge(
    after, on="protection", how="left", suffixes=("", "_trained")
)
both = both.merge(costs, on="protection")
both["hidden"] = 100 - both["asr"]
both["hidden_trained"] = 100 - both["asr_trained"]
both["lost"] = -both["gain"]
quoted = {
    "found": "asr",
    "published": "asr_published",
    "hidden": "hidden",
    "trained": "asr_trained",
    "hidden-trained": "hidden_trained",
}
numbers = {
    f"{key}-{name}": tables.quote(both, column, 0, protection=label)
    for key, column in quoted.items()
    for name, label in names.items()
}
numbers |= {
    f"ssim-{name}": tables.quote(both, "ssim", 2, protection=names[name])
    for name in ("dp", "small", "large")
}
by_attack = scored[scored["weights"] == "fresh"]
numbers |= {
    f"{key}-{size}": tables.quote(
        by_attack, column, 0, protection=names[size], method=method
    )
    for size in ("small", "large")
    for key, column, method in (
        ("short", "asr", "layer by layer"),
        ("long", "asr", patient),
        ("above", "above_truth", patient),
    )
}
numbers["above-together"] = tables.quote(
    by_attack,
    "above_truth",
    0,
    protection=f"{cvb} + {names['small']}",
    method=patient,
)
numbers["trained-ssim-dp"] = tables.quote(
    both, "ssim_trained", 2, protection=dp
)
late_found = victims_found[victims_found["weights"] == "trained"]
image_by_image = late_found.merge(after[["protection", "method"]]).pivot_table(
    index=["model_number", "victim", "image"],
    columns="protection",
    values="ssim",
)
pair = image_by_image.reindex(columns=[cvb, names["cvb-dp"]]).dropna()
less = (pair[cvb] - pair[names["cvb-dp"]]).to_numpy()
numbers["trained-less"] = (
    intervals.said(less.mean(), *intervals.mean(less), 2) if len(less) else "–"
)
best_text = partial(tables.quote, both, "text")
numbers |= {
    "high-dp": tables.quote(both, "asr_high", 0, protection=dp),
    "lost-cvb": tables.quote(both, "lost", 0, protection=cvb),
    "lost-precode": tables.quote(both, "lost", 0, protection=names["precode"]),
    "small-text": best_text(protection=names["small"]),
    "accuracy-floor-4": tables.quote(
        both, "accuracy", 0, protection=names["floor-4"]
    ),
}
untouched = ["clip bound=1", "prune-small p=0.2", "soteria p=0.8, probes=4"]
parts = [names["small"], "DP σ=1e-3", "compression p=0.9"]
together = [f"{cvb} + {part}" for part in parts]
noise = [label for label, setup in setups.items() if setup.bottlenecks]
several = {
    "nothing": ([*untouched, "quantize bits=4"], ["asr"], 0),
    "alone": (parts, ["asr"], 0),
    "together": (together, ["asr"], 0),
    "ssim-together": (together, ["ssim"], 2),
    "noise-published": (noise, ["asr_published"], 0),
    "small": ([names["small"]], ["asr", "asr_published"], 0),
    "cheap": ([*untouched, "DP σ=1e-3"], ["lost"], 1),
}
for name, (labels_, column, places) in several.items():
    values = both.loc[both["protection"].isin(labels_), column].to_numpy()
    ends = [
        f"{end:.{places}f}"
        for v in [values]
        if v.size
        for end in (v.min(), v.max())
    ]
    numbers[f"range-{name}"] = " to ".join(dict.fromkeys(ends)) or "–"
numbers["cheap"] = numbers["range-cheap"].split(" to ")[-1]
parts_of = [part for s in setups.values() for part in s.defense.parts]
deviation = {
    "gaussian": [part.std for part in parts_of if isinstance(part, Gaussian)],
    "laplace": [
        part.scale * 2**0.5 for part in parts_of if isinstance(part, Laplace)
    ],
}
weaker, stronger = (max(found, default=0) for found in deviation.values())
strengths = {
    f"-{name}": part.noise_multiplier * part.max_grad_norm
    for name, label in {"weak": names["dp-weak"], "": dp}.items()
    for part in setups.get(label, setups["none"]).defense.parts
    if isinstance(part, DP)
}
strengths = {name.removesuffix("-"): std for name, std in strengths.items()}
batch_of = {"single": 1, "alike": alike_batch, "local": local_batch}
numbers |= {
    f"noise-{size}{end}": f"{strengths[end] / count:.1g}"
    if end in strengths
    else "–"
    for size, count in batch_of.items()
    for end in ("", "-weak")
}
averaged = [part.draws for part in parts_of if isinstance(part, AverageNoise)]
bits = [part.bits for part in parts_of if isinstance(part, Quantize)]
tried = [
    len(attackers["fresh", label])
    for label in fresh.loc[fresh["asr"] == 0, "protection"]
]
many = setups.get(names["many"], setups["none"])
image_shape = tuple(originals.shape[-3:])
large = models.build(
    model, input_shape=image_shape, bottlenecks=many.bottlenecks, seed=0
)
noise_entries = sum(torch.Size(s).numel() for s in large.noise_shapes)
entries = sum(p.numel() for p in large.parameters())
on_one_too = {
    "none": "none",
    "dp-strong": "DP σ=1e-1",
    "hundredth": "compression p=0.99",
}
one["lost"] = -one["gain"]
apart = paid.drop(index="none").to_numpy()
spans = [intervals.mean(row) for row in apart if len(row) > 1]
halves = [f"{(high - low) / 2:.0f}" for low, high in spans]
numbers |= {
    "local-batch": f"{local_batch}",
    "batch-small": f"{sizes[0]}",
    "batch-large": f"{sizes[-1]}",
    "batch-rows": " and ".join(f"“{label}”" for label in alone) or "–",
    "laplace-deviation": f"{stronger:.1g}" if stronger else "–",
    "laplace-times": f"{stronger / weaker:.0f}" if stronger and weaker else "–",
    "draws": f"{max(averaged, default='–')}",
    "bits": f"{max(bits, default='–')}",
    "tried": " to ".join(
        f"{n}" for n in dict.fromkeys([min(tried), max(tried)])
    )
    if tried
    else "–",
    "many-noise": f"{noise_entries:,}",
    "many-entries": f"{entries:,}",
}
numbers |= {
    "standing-profile": profile,
    "standing-images": f"{victims * seeds}",
    "standing-dp": best_text(protection=dp),
    "standing-dp-gain": gain(protection=dp),
    "standing-compression": best_text(protection="compression p=0.9"),
    "standing-cvb": best_text(protection=cvb),
    "about-set": dataset,
    "about-models": f"{seeds}",
    "about-steps": f"{steps:,}",
    "longer-steps": f"{longer_by * steps:,}",
    "longer-by": f"{longer_by}",
    "longer-rows": "; ".join(k for k in setups if k in more_steps) or "none",
    "longer-gain": f"{longer['gained'].max():.2f}" if len(longer) else "–",
    **{
        f"long-{name}": tables.quote(
            longer, "asr_text", protection=(names | on_one_too).get(name, name)
        )
        for name in ("dp-weak", "dp", "gaussian", "hundredth", "cvb-dp")
    },
    "above-trained-floor-1": tables.quote(
        after, "above_truth", 0, protection=names["floor-1"]
    ),
    **{
        f"above-{name}": tables.quote(
            fresh, "above_truth", 0, protection=(names | on_one_too)[name]
        )
        for name in ("dp-weak", "gaussian", "hundredth", "many")
    },
    "about-rounds": f"{training_rounds}",
    "about-fresh": about["fresh"],
    "about-training": trained_as,
    **{
        f"one-{name}": tables.quote(one, "asr_text", protection=label)
        for name, label in (names | on_one_too).items()
    },
    **{
        f"one-gain-{name}": tables.quote(one, "gain_text", protection=label)
        for name, label in (names | on_one_too).items()
    },
    **{
        f"one-above-{name}": tables.quote(
            one, "above_truth", 0, protection=label
        )
        for name, label in (names | on_one_too).items()
    },
    "one-ssim-dp": tables.quote(one, "ssim", 2, protection=dp),
    "one-ssim-none": tables.quote(one, "ssim", 2, protection="none"),
    "one-narrowest": min(halves, key=int, default="–"),
    "one-widest": max(halves, key=int, default="–"),
    "trained-none": tables.quote(after, "asr", 0, protection="none"),
    "standing-dp-weak-gain": gain(protection=names["dp-weak"]),
    "one-lost-cvb": tables.quote(one, "lost", 0, protection=cvb),
    "one-lost-precode": tables.quote(
        one, "lost", 0, protection=names["precode"]
    ),
    "about-one": about["one"],
    "alike-batch": f"{alike_batch}",
    "alike-rounds": f"{alike_rounds} round{'s' if alike_rounds > 1 else ''}",
    "about-pictures": f"{dataset}, first model of {seeds}, fresh weights, {steps:,} steps, {scaled}, profile {profile}",
}
for key, text in numbers.items():
    glue(key, text, display=False)

# %% [markdown]
# ## Limits
#
# - Privacy is measured on single images on fresh weights and after {glue:text}`about-rounds` rounds, on batches of {glue:text}`batch-small` and {glue:text}`batch-large` on fresh weights, and on batches of {glue:text}`alike-batch` after {glue:text}`alike-rounds`; accuracy and time are of training in batches of {glue:text}`local-batch`. Only the table "on one protocol" says what one and the same protocol both hides and costs, in one batch size, early in a training.
# - Costs are those of this training, of {glue:text}`about-rounds` rounds. Accuracies of long trainings, as far as they ran, stand in {doc}`11_ours_beside_theirs`.
# - Batches above {glue:text}`batch-large` and networks larger than the CNN were not tried, and on single images no attack had more than {glue:text}`longer-steps` steps. Stronger attacks can only move a line up; larger batches, larger networks and longer trainings may move lines down as well.
# - An attack with a learned prior was not tried here. On MNIST, it gets more from noise of deviation 0.1 than from noise in place of a gradient, and behind the CVB with compression to a tenth, too ({doc}`15_generative_leakage`).
# - The best attack is chosen on the images of the table. The intervals count single images, or batches, as independent, although those of one model share its weights. Where nothing is found in any batch, the interval counts batches only, and is wider than where one image is found.
#
# How much of this reaches a system in practice is disputed. {cite:t}`du2024sok` find gradient inversion constrained, fragile and easily defended against once training is realistic; {cite:t}`fan2025boosting` answer that the known attacks failed because they match gradients badly, and
# reconstruct images under a protocol drawn from practice. This chapter does not decide it: its single images and single steps are closer to the ideal settings that the first criticize, and its finding that protections must meet attacks that know them
# is in the spirit of the second.
#
# ## Take-away
#
# Judge a protection by the best attack that knows it: PRECODE, the CVB and compression to a tenth looked safer under attacks that did not ({doc}`08_breaking_the_bottleneck`). Least was found
#
# - behind DP from $\sigma = 10^{-2}$ on, and behind compression to a hundredth ({glue:text}`long-hundredth` %);
# - behind the CVB together with batches, weak DP or compression to a tenth ({glue:text}`range-together` % on fresh weights; with weak DP {glue:text}`trained-cvb-dp` % after {glue:text}`about-rounds` rounds).
#
# Each was measured on one small network, and none has a guarantee. In batches more steps find more. Measured on one protocol, DP with $\sigma = 10^{-2}$ left {glue:text}`one-dp` %, and the accuracy changed by {glue:text}`one-gain-dp` points; without a protection {glue:text}`one-none` % were found, and the bottlenecks cost {glue:text}`one-lost-cvb` and {glue:text}`one-lost-precode` points. Where a promise is needed, take a small $\varepsilon$ at its price ({doc}`05_attacks_and_defenses`) or aggregate securely.
#
# ## Exercises
#
# **1.** In the attack by hand, vary the weight of the prior: `tv=0.003`, `tv=0.03`, `tv=0.3`. Which would an attacker choose who sees only the distance?
#
# ```{admonition} Solution
# :class: dropdown
# Too weak a prior leaves the speckle. The two stronger ones find about equally much, and the strongest blurs. The distances differ by a few percent only, too little to choose by: a dummy that fits the
# noise as well has a small distance, too. Attacks on images of one's own tell more.
# ```
#
# **2.** Put a protection of your own into the comparison: a line of text with bottlenecks, defenses of the registry with their options, and batches.
#
# ````{admonition} Solution
# :class: dropdown
# ```bash
# gleak run 09_what_stands --profile quick -p protections "['none', 'quantize(bits=4)', 'cvb(1, kernel_size=3, scale=1, kl=\"exact\", sigma_floor=2) + batch(4)']" -p trained "[]" --output tryout
# gleak run 09_what_stands --profile cpu -p dataset mnist
# ```
# The first runs in minutes on the embedded digits; the second repeats the published run on another image set, and replaces the chapter in your copy.
# ````
