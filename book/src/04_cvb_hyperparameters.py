# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # CVB hyperparameters
#
# ```{admonition} In short
# :class: tip
# **Question.** Which settings of a CVB decide what Ignore finds, and what do they cost?
#
# **Answer.** Position, kernel size and scale: on fresh weights the SSIM goes from {glue:text}`ssim-least` to {glue:text}`ssim-most` (95 % intervals). After {glue:text}`training-rounds` rounds
# every setting costs {glue:text}`lost-least` to {glue:text}`lost-most` points of accuracy (one seed). The public code's KL term ($\beta=0.1$) takes the mean $\sigma$ from {glue:text}`first-paper-code`. On fresh weights a *search* for the noise finds most images behind the paper's choice, none behind the narrowest: {doc}`08_breaking_the_bottleneck`.
# ```
#
# ```{glue:figure} sweep-ssim
# :name: fig-cvb-sweep
#
# What Ignore finds behind a CVB when one of its settings changes, ours and the paper's (Fig. 9); mean and, of ours, standard deviation over images. Positions at $k_E = 1$. 1+3: two bottlenecks, at P=1 and P=3; $\beta$ falls from left to right. Dashed: IG without bottleneck. Ours: {glue:text}`about`.
# ```
#
# {doc}`The Ignore attack <03_ignore_attack>` leaves little to match when the bottleneck stands early in the network. But PRECODE is
# fully connected: close to the input it is large, and it loses, as the paper says, where things are in the image. The *convolutional
# variational bottleneck* (CVB, {cite:t}`scheliga2023cvb`) keeps the map. It has four settings, and this chapter varies each of them as the paper does:
#
# | setting | what it sets | what it could change |
# |---|---|---|
# | position $P$ | the stage that the bottleneck follows | how many gradients stand before the first decoder, where Ignore looks |
# | kernel size $k_E$ | the encoder's window | parameters, and entries in the gradient of the encoder |
# | scale $s_E$ | channels of $b$ over channels of $z$ | the same; below 1 the bottleneck is narrow |
# | weight $\beta$ | how much the KL term counts | little before training; afterwards $\mu$ and $\sigma$ |
#
# ```{admonition} A stronger attack than those of this chapter exists
# :class: warning
# The privacy figures below are those of Ignore, which draws the noise anew at each step. {doc}`08_breaking_the_bottleneck` searches for it, and on fresh weights finds most images behind
# the CVB that the paper chooses ($P=1$, $k_E=5$, $s_E=\frac12$, $\beta=0.1$), and none behind the narrowest ones in the steps it had. On trained weights the noise itself fades under the KL term of the paper's public code (the section on that term).
# ```
#
# ## The experiment

# %% tags=["parameters", "hide-cell"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
model: str = "cnn"  # a model of gleak_lib.models.MODELS
positions: list[str] = ["1", "2", "3", "1+2", "1+3", "2+3", "1+2+3"]  # P
kernel_sizes: list[int] = [1, 3, 5, 7]  # k
scales: list[str] = ["1/16", "1/4", "1/2", "1", "2", "4"]  # s
betas: list[float] = [0.1, 0.01, 0.001, 0.0001, 0.00001]  # KL weights
position: str = "1"  # while something else is varied
position_kernel_size: int = 1  # while the position is varied
kernel_size: int = 5  # while scale or beta is varied
scale: str = "1/2"  # while something else is varied
beta: float = 0.1  # while something else is varied
kl: str = "paper-code"  # form of the KL term: paper-code or exact
kl_betas: list[float] = [0.1, 0.001]  # weights at which both forms are run
sigma_rounds: list[int] = [0, 1, 4]  # rounds after which sigma is measured
victims: int = 4  # attacked images
steps: int = 120  # attack steps at most
plateau: int = 30  # steps without progress before lr falls
tv: float = 0.01  # weight of the total variation prior
training_rounds: int = 4  # federated rounds at most
seeds: int = 1  # trainings a setting; the first is attacked
seed: int = 0  # of the first training, of dummies and noise
victim_seed: int = 0  # which images are attacked
scaling: str = "minmax"  # or none: images scored as they are
examples: int = 8  # images in the figures, at most 8

# %% tags=["hide-input"]
import dataclasses

from gleak_lib import plots
from gleak_lib.chapters import open_store, parameters
from gleak_lib.client_setup import ClientSetup
from gleak_lib.experiments import run, tables
from gleak_lib.metrics import intervals
from IPython.display import Markdown
from matplotlib import pyplot
from myst_nb import glue

from gleak_book import paper, paper_experiments, paper_rows

settings = parameters.check("04_cvb_hyperparameters", globals())

# %% [markdown]
# Along each axis one setting changes, and the others keep their values: $P=1$, $k_E=5$, $s_E=\frac12$, $\beta=0.1$; but along the positions $k_E$ is 1. `1+3` means a bottleneck behind the first
# stage and another behind the third. The last line of `changes` runs both forms of the KL term (a section below). Besides the network without bottleneck, these are the networks:

# %% tags=["experiment"]
from fractions import Fraction

from gleak_lib.bottlenecks import CVB

one = {"P": position, "k": kernel_size, "s": scale, "β": beta, "kl": kl}
small, forms = {"k": position_kernel_size}, ("paper-code", "exact")
changes = {
    **{("position P", p): {"P": p} | small for p in positions},
    **{("kernel size k", k): {"k": k} for k in kernel_sizes},
    **{("bottleneck scale s", s): {"s": s} for s in scales},
    **{("KL weight β", b): {"β": b} for b in betas},
    **{(f, b): {"β": b, "kl": f} for b in kl_betas for f in forms},
}
networks = {("none", ""): ()}
for key, change in changes.items():
    p, k, s, b, f = (one | change).values()
    networks[key] = tuple(
        CVB(int(place), k, float(Fraction(s)), beta=b, kl=f)
        for place in p.split("+")
    )

# %% [markdown]
# Each is measured twice. *Privacy*: Ignore attacks the model with fresh weights, as the paper's public code does, and the model without
# bottleneck is attacked by IG. That is the one attack that the paper's tables report for each model, not the stronger of the two.
# *Utility*: a federated training as in the paper, over fewer rounds below the profile `paper`. Pixels are normalized as the paper's code does (`statistics`). Where both forms of the KL term
# are run, $\sigma$ and $\mu$ are measured on the way.

# %% tags=["experiment"]
from gleak_lib.attacks import ATTACKS
from gleak_lib.experiments import TrainingExperiment
from gleak_lib.federated import Protocol

from gleak_book.source_form import statistics

protocol = Protocol(rounds=training_rounds)
form = {"protocol": protocol, "statistics": statistics(dataset)}
trained = {
    (*key, i): TrainingExperiment(
        dataset, model, bottlenecks=specs, seed=i, **form
    )
    for key, specs in networks.items()
    for i in range(seed, seed + seeds)
}

# %% tags=["experiment"]
from gleak_lib.experiments import AttackExperiment, NoiseSensitivityExperiment

budget = {"max_steps": steps, "drop_after": plateau, "tv": tv}
chosen = {"victims": victims, "victim_seed": victim_seed, "seed": seed}
attacked, noise = {}, {}
for key, specs in networks.items():
    weights = trained[(*key, seed)]
    attack = ATTACKS["ignore" if specs else "ig"].replace(**budget)
    attacked[key] = AttackExperiment(weights, 0, attack, **chosen)
    for r in sigma_rounds if key[0] in forms else ():
        noise[(*key, r)] = NoiseSensitivityExperiment(weights, r, **chosen)
experiments = [trained, attacked, noise]

# %%
store = open_store(profile)
results = run(experiments, store)
Markdown(tables.note(results, profile))

# %% [markdown]
# ## The bottleneck by hand
#
# Two convolutions make mean and standard deviation, noise is added
# pixel by pixel, and a $1 \times 1$ convolution leads back:
#
# $$ b = \mu_E(z) + \sigma_E(z) \cdot \varepsilon, \qquad \hat z = D(b), \qquad \mathcal{L} = \mathcal{L}_F + \beta\, D_{KL}. $$
#
# With $c$ channels in front and $K_E = s_E\, c$ it costs $2 k_E^2\, c\, K_E + K_E\, c$ parameters. The second encoder does not give $\sigma_E$ itself but a
# number $r$ for each entry, and as in the paper's public code $\sigma_E = \mathrm{softplus}(\mathrm{clip}(r, -5, 5))$. So $\sigma_E$ is positive and stays between
# $\log(1 + e^{-5}) \approx 0.007$ and $\log(1 + e^{5}) \approx 5.007$, whatever training does. The bottlenecks of PRECODE in this book have the same form. Here is
# one step through a CVB, written out and checked against the library:

# %% tags=["by-hand"]
import torch
from gleak_lib.bottlenecks.base import kl_divergence
from torch.nn import functional

torch.manual_seed(0)
c, k, K = 16, 5, 8
module = CVB(1, kernel_size=k, scale=K / c).build((c, 14, 14))
z, noise_drawn = torch.randn(4, c, 14, 14), torch.randn(4, K, 14, 14)
mu, r = module.encoder(z).chunk(2, dim=1)
sigma = functional.softplus(r.clamp(-5, 5))
z_hat = module.decoder(mu + sigma * noise_drawn)
torch.testing.assert_close(z_hat, module(z, noise_drawn).features)
count = sum(p.numel() for p in module.parameters())
assert count == 2 * k**2 * c * K + K * c
coded = -0.5 * (1 + sigma - mu**2 - sigma.exp()).sum(1).mean((1, 2))
torch.testing.assert_close(coded, kl_divergence(mu, sigma, "paper-code"))
size = mu.square().mean().sqrt()
print(f"{count:,} parameters; mean σ {sigma.mean():.2f}, RMS μ {size:.2f}")

# %% [markdown]
# The last formula is the KL term as the public code has it; the section on it below says what is odd about it.
#
# ## Privacy
#
# What Ignore can use are the gradients before the decoder. The position decides which layers these are, and $k_E$ and $s_E$ how
# many entries the encoder adds to them: an encoder with more kernels shows the attacker more projections of the same feature map, which may be why the paper's
# SSIM rises from {glue:text}`scale-paper` along $s_E$. $\beta$ changes neither the fresh network nor its noise. It comes in through the KL term's own gradient only,
# which is a function of $\mu$ and $\sigma$ and so free of noise.
#
# *SSIM* is a mean ± standard deviation over images, *ASR* the share of images with an SSIM of at least 0.5. The marks (*SSIM is*, *ASR is*) say whether ours lies within 0.05 (SSIM) or 10 points (ASR) of the paper's figure. Only the full protocol, 128 victims and up to 20,000
# steps, can reproduce it; from 16 victims and 2,000 steps on, ours "agrees\*" or "differs\*" (\* at a reduced scale). One image is {glue:text}`one-image` points of ASR here, so a mark of the ASR hangs on
# one or two images. {doc}`11_ours_beside_theirs` has the rows that ran at the full protocol. The two axes on which most changes:

# %% tags=["hide-input"]
scored = tables.attack_table(
    results.frame(attacked, scaling=scaling, label=("axis", "value")),
    ["axis", "value"],
)
learned = tables.training_table(
    results.frame(trained, label=("axis", "value", "model_seed")),
    ["axis", "value"],
)
table = scored.merge(
    learned[["axis", "value", "accuracy", "accuracy_std"]],
    on=["axis", "value"],
)
table["label"] = [
    ClientSetup(networks[key]).label
    for key in table[["axis", "value"]].itertuples(index=False, name=None)
]
table["setting"] = table["value"].replace("", "none")
table["beta"] = table["label"].str.extract(r"β=([^,]+)")[0]
table = paper.beside(
    table,
    paper_rows.theirs("VIII", dataset=dataset, model=model),
    on="label",
    values=["ssim", "asr", "lpips", "accuracy"],
)
extent = paper_experiments.attack_extent(attacked["none", ""])
for score in ("ssim", "asr"):
    table[f"{score}_mark"] = [
        paper_experiments.mark(score, *pair, extent)
        for pair in zip(table[score], table[f"{score}_paper"], strict=True)
    ]
none = table.iloc[0].to_dict() | {"gain": 0.0}
table["increase"] = 100 * (table["parameters"] / none["parameters"] - 1)
for name, column in {
    "gain": "accuracy",
    "gain_paper": "accuracy_paper",
}.items():
    table[name] = table[column] - none[column]
by_axis = {
    axis: table[table["axis"].isin(["none", axis])]
    for axis in table["axis"].unique()
}
each = table[~table["axis"].isin(forms)].drop_duplicates("label")
scaled = (
    "each image min–max scaled" if scaling == "minmax" else "images as they are"
)
about = f"{victims} victims from {dataset}, fresh weights (seed {seed}), at most {steps:,} steps, {scaled}, profile {profile}"
trained_as = f"{dataset}, best of at most {training_rounds} federated rounds by validation loss, {seeds} seed{'s' if seeds > 1 else ''}, profile {profile}"
privacy = {
    "ssim": "SSIM",
    "ssim_paper": "paper's SSIM",
    "ssim_mark": "SSIM is",
    "asr": "ASR %",
    "asr_paper": "paper's ASR %",
    "asr_mark": "ASR is",
}
tables.show(
    by_axis["position P"],
    columns={"setting": "P"} | privacy,
    caption=f"Ignore behind CVBs by position (k={position_kernel_size}, s={scale}, β={beta:g}), and IG without bottleneck: {about}. The paper: 128 victims, at most 20,000 steps.",
)

# %% tags=["hide-input"]
tables.show(
    by_axis["bottleneck scale s"],
    columns={"setting": "s"} | privacy,
    caption=f"Ignore behind CVBs by scale (P={position}, k={kernel_size}, β={beta:g}), and IG without bottleneck: {about}. The paper: 128 victims, at most 20,000 steps.",
)

# %% [markdown]
# All settings (folded). {glue:text}`lpips-note`

# %% tags=["hide-cell"]
tables.show(
    each,
    columns={"label": "defense"} | privacy | paper.lpips_columns(each),
    caption=f"All settings under Ignore, and IG without bottleneck: {about}. The paper: 128 victims, at most 20,000 steps.",
)

# %% tags=["hide-input"]
compared = each[each["ssim_paper"].notna()]
off = compared[compared["ssim_difference"].abs() > 0.05]
gaps = [
    f"- {row.label}: {row.ssim_difference:+.3f}".replace(": -", ": −")
    for row in off.itertuples()
]
Markdown(
    f"In this run (profile {profile}, {victims} victims, at most {steps:,} steps) {len(compared) - len(off)} of {len(compared)} SSIMs lie within 0.05 of "
    "the paper's. The others, ours minus the paper's:\n\n"
    + ("\n".join(gaps) or "- none")
)

# %% [markdown]
# In the published run (profile `cpu`) the SSIM follows the paper's along every axis: of single bottlenecks it rises with a later position, it rises with $k_E$
# and with $s_E$, and hardly changes with $\beta$. Whatever differs lies *below* the paper's, success rates included: the bottleneck with kernels of $1 \times 1$ at $P=2$ (and at $P=3$ its success rate), and the
# wide ones, $s_E \ge 1$. Were there too few steps? Two stored runs with three times as many, which the page {doc}`Ours beside theirs <11_ours_beside_theirs>` takes up, leave
# the first at {glue:text}`longer-2` (from {glue:text}`once-2`) and bring $s_E = 1$ from {glue:text}`once-wide` to {glue:text}`longer-wide`. So more steps do not help at $P=2$, and at $s_E = 1$ a little, unless that is chance (one run each); at $s_E = 2$ and $4$ more were not tried. That the images are few, and other ones than the paper's, may matter, too.
#
# The reconstructions along the scale:

# %% tags=["hide-input"]
pictures = {
    f"s = {value}" if value else "no bottleneck": results[
        attacked[axis, value]
    ].images("reconstruction")
    for axis, value in by_axis["bottleneck scale s"][
        ["axis", "value"]
    ].to_numpy()
}
figure = plots.reconstructions(
    results[attacked["none", ""]].images("truth"),
    pictures,
    columns=examples,
    scaling=scaling,
)
alt = "Rows of small images: the originals, found clearly without a bottleneck; behind the narrowest CVB colored noise, and the wider it is, the smoother the blotches, in brightness and color closer to the original; few objects can be made out."
glue("pictures", plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} pictures
# :name: fig-cvb-pictures
#
# The first victims, and what the attack finds without bottleneck (IG) and behind CVBs of growing scale $s_E$ (Ignore), SSIM below each: {glue:text}`about`.
# ```
#
# ## Utility
#
# A bottleneck adds parameters and noise. The paper reports that the wider and larger ones *gain* accuracy over
# the plain network, by up to {glue:text}`paper-gain` points at $s_E=4$, and that one with a single channel ($s_E = \frac{1}{16}$) loses {glue:text}`paper-lost`. Accuracies after a few rounds cannot be compared with
# accuracies after hundreds. So each side is set against its own network without bottleneck, under the same limit of rounds: ours says how fast a setting learns, the paper's how far it comes.

# %% tags=["hide-input"]
utility = {
    "increase": "more parameters %",
    "accuracy": "accuracy %",
    "gain": "points against none",
    "accuracy_paper": "paper's accuracy %",
    "gain_paper": "points against none (paper)",
}
places = {"increase": 1, "gain": 2, "gain_paper": 2}
tables.show(
    by_axis["bottleneck scale s"],
    columns={"setting": "s"} | utility,
    digits=places,
    caption=f"Test accuracy by the CVB's scale (P={position}, k={kernel_size}, β={beta:g}): {trained_as}. The paper: at most 300 rounds, three seeds.",
)

# %% [markdown]
# All settings (folded), and all of them in a figure:

# %% tags=["hide-cell"]
tables.show(
    each,
    columns={"label": "defense"} | utility,
    digits=places,
    caption=f"Test accuracy of all settings: {trained_as}. The paper: at most 300 rounds, three seeds.",
)

# %% tags=["hide-input"]
dots = table[~table["axis"].isin(["none", *forms])]
dots = dots.assign(
    text=[
        row.beta if row.axis == "KL weight β" else str(row.value)
        for row in dots.itertuples()
    ]
)
alts = {
    "ssim": "Four panels of SSIM, ours and the paper's close together: rising with a later position, with the kernel size and with the scale, level along the KL weight, and far below the dashed line of no bottleneck.",
    "gain": "Four panels of accuracy against no bottleneck. The paper's lies mostly above zero, ours below zero everywhere, lowest for several bottlenecks.",
}
labels = {"ssim": "SSIM", "gain": "accuracy gained, points"}
plots.style()
for value, label in labels.items():
    figure, panels = pyplot.subplots(
        2, 2, figsize=(6.4, 5.4), sharey=True, layout="constrained"
    )
    for axes, (axis, rows) in zip(
        panels.flat, dots.groupby("axis", sort=False), strict=True
    ):
        bars = {"fmt": "o-", "capsize": 3, "label": f"ours ({profile})"}
        axes.errorbar(
            rows["text"], rows[value], rows.get(f"{value}_std"), **bars
        )
        theirs = rows[f"{value}_paper"].to_numpy(float)
        axes.plot(rows["text"], theirs, "s:", label="the paper")
        axes.axhline(none[value], color="0.4", ls="--", label="no bottleneck")
        axes.set(xlabel=axis)
        axes.tick_params(axis="x", labelsize=7)
    figure.supylabel(label, fontsize=10)
    handles = panels[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3)
    glue(f"sweep-{value}", plots.picture(figure, alts[value]), display=False)
    pyplot.close(figure)

# %% [markdown]
# ```{glue:figure} sweep-gain
# :name: fig-cvb-utility
#
# Accuracy against the network without bottleneck (zero: each side's own) along the four settings; $\beta$ falls from left to right: {glue:text}`trained-as`. The paper: at most 300 rounds, three seeds.
# ```
#
# In the published run (profile `cpu`) no setting gains. Most of the paper's settings do (up to {glue:text}`paper-gain` points; a few lose), our single
# bottlenecks lose {glue:text}`lost-1`, two together {glue:text}`lost-2` and three {glue:text}`lost-3`. So networks with a bottleneck learn
# more slowly here. Whether they end higher, {glue:text}`training-rounds` rounds cannot say. Of what the paper orders, two things show already: a single channel ($s_E = \frac{1}{16}$) loses more than
# all other scales, and $k_E = 1$ more than all other windows. From $\beta = 0.001$ to $0.1$ the paper's accuracy changes by {glue:text}`beta-paper` points, ours
# by {glue:text}`beta-ours`. With one seed and so few rounds that is no more than a hint that a larger $\beta$ slows the start.
#
# Below the profile `paper` these accuracies are no reproduction, so no row carries a mark.
#
# ## Which KL term
#
# The KL term of a variational bottleneck against the standard normal is $-\frac12 \sum (1 + \log\sigma^2 - \mu^2 - \sigma^2)$, least at $\mu = 0$,
# $\sigma = 1$. The paper's public code computes
#
# $$ -\tfrac12 \sum \bigl(1 + \sigma - \mu^2 - e^{\sigma}\bigr), $$
#
# where $\sigma$, the positive number that multiplies the noise, stands as if it were a log-variance. This has its minimum at $\mu = 0$ and the *smallest* $\sigma$
# that the clip allows, 0.007. One form pulls $\sigma$ toward 1, the other presses it toward nothing. Both are options here; the tables above use the one named by
# the parameter `kl`, the public code's.

# %% tags=["hide-input"]
both = table[table["axis"].isin(forms)].rename(columns={"axis": "form"})
both["beta"] = both["value"].map("{:g}".format)
for name in ("sigma", "mu"):
    both[name] = [
        " → ".join(
            f"{results[noise[row.form, row.value, r]].figures[name][0]:.2f}"
            for r in sigma_rounds
        )
        for row in both.itertuples()
    ]
tables.show(
    both,
    columns={
        "beta": "β",
        "form": "KL term",
        "accuracy": "accuracy %",
        "ssim": "SSIM",
        "asr": "ASR %",
        "sigma": "mean σ, by round",
        "mu": "RMS μ, by round",
    },
    caption=f"Both forms of the KL term. Accuracy: {trained_as}. Attack: {about}. σ and μ on {victims} images after rounds {', '.join(map(str, sigma_rounds))}.",
)

# %% tags=["hide-input"]
once = {"2": ("position P", "2"), "wide": ("bottleneck scale s", "1")}
numbers = {"lpips-note": paper.lpips_note(each)}
for name, key in once.items():
    more = (
        attacked[key].attack.replace(max_steps=3 * steps)
        if key in attacked
        else None
    )
    longer = more and store.get(dataclasses.replace(attacked[key], attack=more))
    found = (
        longer.figures["summary"][scaling]["ssim"]["mean"] if longer else None
    )
    numbers[f"longer-{name}"] = f"{found:.2f}" if longer else "–"
    numbers[f"once-{name}"] = tables.quote(
        table, "ssim", axis=key[0], value=key[1]
    )
bottled = each[each["axis"] != "none"]
stages = bottled["label"].str.extract(r"P=([\d+]+)")[0].str.count(r"\+") + 1
for count in (1, 2, 3):
    lost = [
        f"{-gain:.0f}"
        for gain in sorted(bottled["gain"][stages == count], reverse=True)
    ]
    numbers[f"lost-{count}"] = (
        " to ".join(dict.fromkeys(lost[:1] + lost[-1:])) or "–"
    )
theirs = paper_rows.theirs("VIII").set_index("label")["accuracy"]
at = {s: f"CVB P=1, k=5, s={s}, β=1e-1" for s in ("1/16", "1/2", "4")}
weak = "CVB P=1, k=5, s=1/2, β=1e-3"
accuracy = each.set_index("label")["accuracy"]
known = {weak, at["1/2"]} <= set(accuracy.index)
wide = paper_rows.theirs("VIII").set_index("label")["ssim"]
last = {
    row.form: row.sigma.split(" → ")
    for row in both.iloc[::-1].itertuples()
    if row.value == both["value"].iloc[0]
}
small = {
    row.form: row.sigma.split(" → ")
    for row in both.itertuples()
    if row.value == both["value"].iloc[-1]
}
numbers |= {
    "about": about,
    "one-image": f"{100 / victims:.1f}",
    "trained-as": trained_as,
    "training-rounds": f"{training_rounds}",
    "lost-least": f"{-bottled['gain'].max():.0f}",
    "lost-most": f"{-bottled['gain'].min():.0f}",
    "scale-paper": f"{wide[at['1/16']]:.2f} to {wide[at['4']]:.2f}",
    "paper-gain": f"{theirs[at['4']] - theirs['none']:.1f}",
    "paper-lost": f"{theirs['none'] - theirs[at['1/16']]:.1f}",
    "beta-paper": f"{theirs[at['1/2']] - theirs[weak]:+.1f}",
    "beta-ours": f"{accuracy[at['1/2']] - accuracy[weak]:+.1f}"
    if known
    else "–",
}
if len(both):
    numbers |= {
        f"first-{form}": f"{sigmas[0]} to {sigmas[-1]}"
        for form, sigmas in last.items()
    }
    numbers |= {
        f"last-{form}": f"{sigmas[0]} to {sigmas[-1]}"
        for form, sigmas in small.items()
    }
ends = {"least": bottled["ssim"].idxmin(), "most": bottled["ssim"].idxmax()}
for key, place in ends.items():
    bounds = bottled.loc[place, ["ssim", "ssim_low", "ssim_high"]]
    numbers[f"ssim-{key}"] = intervals.said(*bounds, 2)
for key, text in numbers.items():
    glue(key, text.replace("-", "−") if "beta" in key else text, display=False)

# %% [markdown]
# In the published run the exact term at $\beta = 0.1$ takes the mean $\sigma$ from {glue:text}`first-exact`, as it should, and the public code's from {glue:text}`first-paper-code`. At $\beta = 0.001$ it falls under both forms
# ({glue:text}`last-exact`, and {glue:text}`last-paper-code`), perhaps because the classifier does better with less noise while the term hardly pulls. At $\beta = 0.1$ the exact form has a lower accuracy than the public code's (one seed). The paper's Table VIII has its *best*
# accuracy of the axis at $\beta = 0.1$, which does not look like a bottleneck that is filled with noise. That speaks for the public code's form
# behind the paper's tables, and is why it is the default here; proof it is not.
#
# Before training $\mu$, $\sigma$ and the noise are the same under both forms, and only the term's own gradient differs, which counts with the small weight $\beta$. So the columns of
# the attack say little about which form made the paper's table. What training does to $\sigma$ says more: where the noise fades, little of it is left to protect the trained
# model, whatever the attack on the fresh one shows. {doc}`08_breaking_the_bottleneck` attacks such weights.
#
# ## Limits
#
# - Privacy is that against IG and Ignore on fresh weights, which draw the noise anew. A search for the noise changes the picture ({doc}`08_breaking_the_bottleneck`).
# - One image set, one small network, one set of weights attacked, {glue:text}`training-rounds` rounds of training: which setting ends with the best accuracy was not measured.
# - Settings were varied one at a time, around one point. How they act together is not known.
#
# ## Take-away
#
# On fresh weights, bottlenecks that stand early, with small kernels and few channels, leave Ignore least, and $\beta$ matters only through the training. Every one of them slows the first rounds, several together most. None of
# this shows a protection: the strongest attack on the paper's choice stands in {doc}`08_breaking_the_bottleneck`, and {doc}`05_attacks_and_defenses` sets it beside other defenses.
#
# ## Exercises
#
# **1.** In the bottleneck by hand, double $K_E$, then (about) the kernel size. Which costs more parameters?
#
# ```{admonition} Solution
# :class: dropdown
# With `K = 16`, a scale of 1, the number doubles. The kernel size must be odd; with `k = 9` instead of 5 the encoder's part grows by $81/25$, more than three times. The first
# term, $2 k_E^2\, c\, K_E$, is linear in the scale and quadratic in the kernel size.
# ```
#
# **2.** Run other settings, or the exact KL term in all rows.
#
# ````{admonition} Solution
# :class: dropdown
# ```bash
# gleak run 04_cvb_hyperparameters --profile quick -p kl exact --output tryout
# gleak run 04_cvb_hyperparameters --profile quick -p scale 2 -p betas "[1.0, 0.1]" -p kl_betas "[0.1]" --output tryout
# gleak run 04_cvb_hyperparameters --profile cpu -p seeds 3 -p training_rounds 10
# ```
# The last replaces the chapter in your copy.
# ````
