# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Other architectures
#
# ```{admonition} In short
# :class: tip
# **Question.** Does a convolutional bottleneck hide images in a ResNet and in a vision transformer, too?
#
# **Answer.** From Ignore, yes: on {glue:text}`set` the SSIM falls from IG's {glue:text}`fall-cnn` in the CNN, {glue:text}`fall-vit` in the ViT and {glue:text}`fall-resnet18` in ResNet-18, where IG's few steps find no image either (few victims on the
# last two; 95 % intervals in parentheses). No protection: {ref}`the ViT's images follow in closed form <vit-closed-form>`, and {doc}`a search for the noise <08_breaking_the_bottleneck>` finds images behind the others.
# ```
#
# ```{glue:figure} pictures-last
# :name: fig-architectures-last
#
# Originals, and what IG finds in each model without a bottleneck and Ignore behind a CVB, SSIM below each (after Fig. 10 of the paper). The first victims, none picked out: {glue:text}`about-last`.
# ```
#
# The convolutional variational bottleneck (CVB) was designed on a small CNN. {cite:t}`scheliga2023cvb` put it into a ResNet-18 {cite:p}`he2016resnet` and into a small vision transformer
# {cite:p}`dosovitskiy2021vit`, and attack all three on MNIST and CIFAR-10 (their §VI-D, Tables V and XI, Figs. 10 and 11a). This chapter repeats that.
# Two things differ from model to model that may decide what an attack finds: how the pixels enter the first layer, and how much of a
# total variation prior the attack adds. The first is described below, the second is measured.
#
# ```{admonition} A stronger attack than those of this chapter exists
# :class: warning
# All attacks below start from noise, and behind a bottleneck they draw its noise anew. {ref}`On the ViT no search is needed <vit-closed-form>`: the images follow from the gradient in closed form, CVB or not. On the
# CNN, and less on ResNet-18, {doc}`a search for the noise <08_breaking_the_bottleneck>` finds images where Ignore finds none.
# ```
#
# ## Three ways to read an image
#
# **CNN.** Three 5×5 convolutions of stride 2. Windows overlap, and each weight's gradient is a sum over all of them, so that
# what is known of a single pixel is spread over many equations.
#
# **ResNet-18.** A 7×7 stem of stride 2 and a max-pool shrink 32×32 pixels to 8×8 before the first residual block begins; eight blocks follow. The network has {glue:text}`times-parameters`
# times as many parameters as the CNN and so as many more equations, but the optimizer has to work its way back through eighteen layers. The
# paper's code uses GroupNorm with two groups, and so does this chapter. (BatchNorm would make an image's gradient depend on the rest of its
# batch, and with one image it would have a single value per channel to normalize in the last stage, whose maps are 1×1.)
#
# **ViT.** Patches of 4×4 pixels that do *not* overlap, 64 of them, each mapped to 256 features by the same matrix. Four blocks
# of attention with 16 heads follow. Its linear layers have no biases, as in the paper's code, so that the quotient of weight and bias gradients, which the chapter
# on closed forms uses, is not there to be taken.
#
# The CVB stands behind the first stage of each: 8 kernels of 5×5 for the CNN ($\beta = 0.1$), 32 of 5×5 for the ResNet ($\beta = 5 \cdot 10^{-5}$), 32 of 3×3 for the ViT
# ($\beta = 0.1$). A transformer's features are tokens, not maps, so they are reshaped first: each of the 65 tokens becomes a
# channel of 16×16.
#
# ## The experiment

# %% tags=["parameters", "hide-cell"]
profile: str = "quick"  # quick, cpu or paper
datasets: list[str] = ["digits"]  # image sets, or your own archives
models: list[str] = ["cnn", "resnet18", "vit"]  # of Table XI
victims: list[int] = [4, 1, 1]  # attacked images, one number a model
steps: list[int] = [200, 30, 100]  # attack steps at most, for each model
plateau: list[int] = [25, 10, 15]  # steps without progress before lr falls
training_rounds: list[int] = [2, 0, 0]  # federated rounds; 0: not trained
tv: list[float] = [0.01, 0.01, 1e-4]  # weight of the prior, for each model
tv_tried: list[float] = [0.01, 1e-4]  # weights that are compared
tv_victims: list[int] = [4, 1, 1]  # attacked images there
rounds: int = 0  # whose weights are attacked; 0: fresh
seeds: int = 1  # models trained; the first is attacked
seed: int = 0  # of the first model, of dummies and noise
victim_seed: int = 0  # which images are attacked
scaling: str = "minmax"  # or none: images scored as they are
examples: int = 8  # images in the figures, at most 8

# %% tags=["hide-input"]
import pandas
from gleak_lib import plots
from gleak_lib.chapters import open_store, parameters
from gleak_lib.client_setup import ClientSetup
from gleak_lib.experiments import run, tables
from gleak_lib.metrics import intervals
from IPython.display import Markdown, display
from myst_nb import glue

from gleak_book import paper, paper_rows

settings = parameters.check("06_other_architectures", globals())

# %% [markdown]
# Every model without and with a CVB, on every image set. A training of 0 rounds is not run. Pixels are normalized as the paper's code does (`statistics`).

# %% tags=["experiment"]
from gleak_lib.bottlenecks import CVB
from gleak_lib.experiments import TrainingExperiment
from gleak_lib.federated import Protocol

from gleak_book.source_form import statistics

cvbs = {"cnn": CVB(1), "resnet18": CVB(1, beta=5e-5), "vit": CVB(1, 3)}
networks = {
    (d, name, defense, r): TrainingExperiment(
        d,
        name,
        bottlenecks=specs,
        protocol=Protocol(rounds=r),
        seed=seed,
        keep=[rounds] if rounds else (),
        statistics=statistics(d),
    )
    for d in datasets
    for name, r in zip(models, training_rounds, strict=True)
    for defense, specs in {"none": (), "CVB": (cvbs[name],)}.items()
}

# %% [markdown]
# The attack is IG on the model without a bottleneck and Ignore on the one with a CVB, as in the paper. Victims and steps differ from model to model, since a step of ResNet-18 takes many times as long as one of the CNN. On the last
# image set the unprotected models also meet IG with other weights $\lambda$ of the prior (`tv_tried`).

# %% tags=["experiment"]
from dataclasses import replace

from gleak_lib.attacks import ATTACKS
from gleak_lib.experiments import AttackExperiment

lists = (victims, steps, plateau, tv, tv_victims)
of = dict(zip(models, zip(*lists, strict=True), strict=True))
chosen = {"seed": seed, "victim_seed": victim_seed}
trained, attacked, tried = {}, {}, {}
for (d, name, defense, r), network in networks.items():
    count, most, wait, weight, few = of[name]
    budget = {"max_steps": most, "drop_after": wait, "tv": weight}
    attack = ATTACKS["ignore" if defense == "CVB" else "ig"].replace(**budget)
    experiment = AttackExperiment(network, rounds, attack, count, **chosen)
    attacked[d, name, defense] = experiment
    for i in range(seed, seed + seeds) if r else ():
        trained[d, name, defense, i] = replace(network, seed=i)
    for t in tv_tried if (d, defense) == (datasets[-1], "none") else ():
        other = attack.replace(tv=float(t))
        tried[name, t] = replace(experiment, attack=other, victims=few)
experiments = [trained, attacked, tried]

# %%
results = run(experiments, open_store(profile))
Markdown(tables.note(results, profile))

# %% [markdown]
# ## How much of the gradient is left to Ignore, by hand
#
# The Ignore attack matches what stands before the first decoder. How large a part of the gradient that is can be counted: build each model with its CVB, for color images of
# 32×32 pixels, and add up the sizes of its groups of parameters in the order of the forward pass.

# %% tags=["by-hand"]
from gleak_lib.models import build, count_parameters, parameter_groups

for name, spec in cvbs.items():
    net = build(name, input_shape=(3, 32, 32), bottlenecks=spec, seed=0)
    early = 0
    for group, parts in parameter_groups(net).items():
        if group.endswith("decoder"):
            break
        early += sum(net.get_parameter(part).numel() for part in parts)
    whole = count_parameters(net)
    print(f"{name:9} {early:9,} of {whole:10,} entries, {early / whole:.1%}")

# %% [markdown]
# The stored attacks counted the same entries, on the images that they attacked:

# %% tags=["hide-input"]
last = datasets[-1]
matched = pandas.DataFrame(
    [
        {
            "model": paper_rows.MODELS[name],
            "matched": results[experiment].figures["entries_matched"],
            "entries": results[experiment].figures["entries_total"],
        }
        for (d, name, defense), experiment in attacked.items()
        if (d, defense) == (last, "CVB")
    ]
)
matched["share"] = 100 * matched["matched"] / matched["entries"]
tables.show(
    matched,
    columns={
        "model": "model with CVB",
        "matched": "entries matched by Ignore",
        "entries": "all entries",
        "share": "share %",
    },
    caption=f"What Ignore matches of a gradient: {last}, one image per gradient, profile {profile}.",
)

# %% tags=["hide-input"]
Markdown(
    f"It is between {matched['share'].min():.0f} and {matched['share'].max():.0f} % of the gradient in this run, and at the least "
    f"{matched['matched'].min():,} entries, beside the 3,072 values of a color image (32×32 pixels, three colors) that are sought."
)

# %% [markdown]
# So there are more equations than unknowns. But what is left has been computed with a signal that came back *through* the noise, and the dummy's
# signal comes back through other noise.
#
# ## How smooth is an image?
#
# Inverting Gradients adds $\lambda \cdot \mathrm{TV}(x')$, a prior for images whose neighboring pixels are alike. The paper's text says $\lambda =
# 0.01$ for everything; its public code runs 0.1 for the CNN and the ResNet and $10^{-4}$ for the ViT. How far the cosine
# distance falls differs from model to model, so the same $\lambda$ need not suit all. Here is each of these weights on each model, without a bottleneck:

# %% tags=["hide-input"]
scaled = (
    "each image min–max scaled" if scaling == "minmax" else "images as they are"
)
weights = f"weights after {rounds} rounds" if rounds else "fresh weights"
each = "; ".join(
    f"{paper_rows.MODELS[name]}: {of[name][0]} victims, at most {of[name][1]:,} steps, λ = {of[name][3]:g}"
    for name in models
)
theirs = paper_rows.theirs("XI")
keys = ["dataset", "model", "label"]
priors = tables.attack_table(
    results.frame(tried, scaling=scaling, label=("model", "tv")),
    ["model", "tv"],
).assign(label="none", tv=lambda frame: frame["tv"].map("{:g}".format))
priors = paper.beside(priors, theirs, on=keys, values=["ssim", "asr"])
priors["model"] = priors["model"].map(paper_rows.MODELS)
priors = priors.drop(
    columns=["ssim_paper_std", "asr_paper_std"], errors="ignore"
)
counts = ", ".join(
    f"{row.model} {row.victims}"
    for row in priors.drop_duplicates("model").itertuples()
)
tables.show(
    priors,
    columns={
        "model": "model",
        "tv": "λ",
        "ssim": "SSIM",
        "ssim_paper": "paper's SSIM",
        "asr": "ASR %",
        "asr_paper": "paper's ASR %",
        "loss": "median loss",
    },
    digits={"loss": 5},
    caption=f"IG by the weight λ of its prior, no bottleneck: {last}, victims: {counts}, {weights} (seed {seed}), as many steps as in the tables below, {scaled}, profile {profile}. The loss is the distance plus λ·TV. The paper has one figure for each model, which stands in all its rows.",
)

# %% tags=["hide-input"]
best = priors.loc[priors.groupby("model", sort=False)["ssim"].idxmax()]
lines = [
    f"- {row.model}: λ = {row.tv}, SSIM {row.ssim:.2f} ({tables.quote(priors, 'ssim', model=row.model, tv='0.01')} at the text's 0.01; {row.victims} victims)"
    for row in best.itertuples()
]
Markdown(
    f"The best of these weights in this run (profile {profile}):\n\n"
    + "\n".join(lines)
)

# %% [markdown]
# In the published run (profile `cpu`) the attack on the CNN scores best at the text's $\lambda$, close to the paper's figure; at the code's 0.1 and at $10^{-4}$ it scores lower.
# The ViT needs the code's $10^{-4}$ ({glue:text}`tried-vit` images). ResNet-18 was attacked with {glue:text}`steps-resnet18` steps only ({glue:text}`tried-resnet18` images), and after these the strongest prior is
# ahead, without reaching the paper's score.
# A likely reason is that two scales meet here. The distance is at most 2 and falls as the image is found, while the prior stays what it is: near the
# end a large $\lambda$ outweighs the gradient, and the optimizer smooths away what the gradient knows. How early that happens would depend on how
# far the distance falls. At $\lambda = 10^{-4}$, where the loss is nearly the distance alone, the median loss falls furthest for the ViT.
# The tables below use the text's $\lambda$ for CNN and ResNet and the code's for the ViT.
#
# ## Without and with a CVB
#
# *SSIM* is a mean ± standard deviation over images, *ASR* the share of images with an SSIM of at least 0.5.

# %% tags=["hide-input"]
names = ["dataset", "model", "defense"]
table = tables.attack_table(
    results.frame(attacked, scaling=scaling, label=names), names
)
learned = results.frame(trained, label=[*names, "model_seed"])
if len(learned):
    learned = tables.training_table(learned, names)[
        [*names, "accuracy", "accuracy_std"]
    ]
    table = table.merge(learned, on=names, how="left")
else:
    table["accuracy"] = table["accuracy_std"] = float("nan")
table["label"] = [
    ClientSetup((cvbs[name],) if defense == "CVB" else ()).label
    for name, defense in zip(table["model"], table["defense"], strict=True)
]
values = ["ssim", "asr", "lpips", "accuracy"]
table = paper.beside(table, theirs, on=keys, values=values)
limits = dict(zip(models, training_rounds, strict=True))
table["most"] = [limits[name] or None for name in table["model"]]
table["title"] = table["model"].map(paper_rows.MODELS) + ", " + table["defense"]
about = f"{weights} (seed {seed}), {scaled}, profile {profile}. {each}"
for d in datasets:
    display(
        tables.show(
            table[table["dataset"] == d],
            columns={
                "title": "model, defense",
                "ssim": "SSIM",
                "ssim_paper": "paper's SSIM",
                "asr": "ASR %",
                "asr_paper": "paper's ASR %",
            },
            caption=f"IG without a bottleneck, Ignore behind a CVB, on {d}: {about}. The paper: 128 victims, at most 20,000 steps.",
        )
    )

# %% tags=["hide-input"]
lines = []
for d in datasets:
    gaps = [
        f"{row.title} {f'{row.ssim_difference:+.2f}'.replace('-', '−')}"
        for row in table[table["dataset"] == d].itertuples()
        if row.ssim_paper == row.ssim_paper
    ]
    lines.append(f"- {d}: " + ("; ".join(gaps) or "not in the paper"))
Markdown(
    f"SSIM, ours minus the paper's, in this run (profile {profile}):\n\n"
    + "\n".join(lines)
)

# %% [markdown]
# In the published run the CNN agrees with the paper on CIFAR-10, without and with the CVB. On MNIST, shown to the network as three equal channels, ours finds less than the
# paper ({doc}`11_ours_beside_theirs` takes that up). ResNet-18 stays far below the paper on CIFAR-10, after {glue:text}`steps-resnet18` of up to 20,000 steps and with the text's $\lambda$, which the table above shows to be the worse one there. The ViT's scores, after {glue:text}`steps-vit` steps on {glue:text}`images-vit` images, are near the paper's, but for the CVB on MNIST
# ({glue:text}`vit-mnist`).
# Rows with few victims or few steps are no reproductions. An attack that was cut short may find less than it could, and so make a model look
# *safer* than it is.
#
# ### Accuracy
#
# Accuracies are those of the best round by validation loss; a dash stands where the model is not trained at this profile.

# %% tags=["hide-input"]
for d in datasets:
    display(
        tables.show(
            table[table["dataset"] == d],
            columns={
                "title": "model, defense",
                "most": "rounds at most",
                "accuracy": "accuracy %",
                "accuracy_paper": "paper's accuracy %",
            },
            caption=f"Test accuracy on {d}: {seeds} seed{'s' if seeds > 1 else ''}, profile {profile}. The paper: at most 300 rounds, three seeds.",
        )
    )

# %% [markdown]
# After {glue:text}`cnn-rounds` rounds the CNN's accuracies are near the paper's on MNIST and some points below them on CIFAR-10. The CVB changes them by {glue:text}`cnn-gain` points (one seed); in the paper by {glue:text}`cnn-gain-paper`.
#
# LPIPS (folded). {glue:text}`lpips-note`

# %% tags=["hide-cell"]
tables.show(
    table,
    columns={
        "dataset": "images",
        "title": "model, defense",
    }
    | paper.lpips_columns(table),
    caption="LPIPS of the attacks; the paper's are of 128 victims, at most 20,000 steps.",
)

# %% [markdown]
# ### Two tables that disagree
#
# Tables V and XI of the paper report the same experiment, the first in short, the second in full. For the ResNet-18 on MNIST they do not agree. Both are shown, with
# ours where it was run:

# %% tags=["hide-input"]
five = paper.table("cvb_table_v")
five["defense"] = five["defense"].replace("cvb", "CVB")
eleven = theirs.assign(
    defense=["none" if label == "none" else "CVB" for label in theirs["label"]]
)
both = five.merge(eleven, on=names, suffixes=("_v", "_xi"))
apart = (both["ssim_v"] != both["ssim_xi"]) | (both["asr_v"] != both["asr_xi"])
both = both[apart].merge(table[[*names, "ssim", "asr"]], on=names, how="left")
both["title"] = [
    f"{paper_rows.MODELS[row.model]}, {row.defense}, {row.dataset}"
    for row in both.itertuples()
]
tables.show(
    both[
        [name for name in both if not name.startswith(("ssim_std", "asr_std"))]
    ],
    columns={
        "title": "model, defense, images",
        "ssim_v": "SSIM, Table V",
        "ssim_xi": "SSIM, Table XI",
        "ssim": "SSIM, ours",
        "asr_v": "ASR %, Table V",
        "asr_xi": "ASR %, Table XI",
        "asr": "ASR %, ours",
    },
    caption=f"The same rows in two tables of the paper (128 victims), and ours: {about}.",
)

# %% [markdown]
# The success rates differ by {glue:text}`apart-asr` points, {glue:text}`apart-images` images of 128, though the mean SSIM differs by {glue:text}`apart-ssim` only. Both tables put it at the threshold of 0.5
# with a deviation of about {glue:text}`apart-std`. If the scores were normally distributed, a shift of {glue:text}`apart-ssim` there would by itself move about one image in seven from success to failure. The text of the paper quotes Table V. No
# conclusion hangs on it, but it shows how little a success rate says near its threshold.
#
# ## What the attacks see

# %% tags=["hide-input"]
for end, d in (("first", datasets[0]), ("last", last)):
    found = {
        f"{paper_rows.MODELS[name]}, {defense}": results[experiment]
        for (images, name, defense), experiment in attacked.items()
        if images == d
    }
    pictures = {
        label: result.images("reconstruction")
        for label, result in found.items()
    }
    count = min(len(images) for images in pictures.values())
    figure = plots.reconstructions(
        next(iter(found.values())).images("truth")[:count],
        {label: images[:count] for label, images in pictures.items()},
        columns=examples,
        scaling=scaling,
    )
    alt = f"Rows of small images from {d}: the originals, and what was found in {'; '.join(pictures)}. Without a CVB the object shows in the CNN and the ViT, and less in ResNet-18; with one little is left."
    glue(f"pictures-{end}", plots.picture(figure, alt), display=False)
    glue(f"about-{end}", f"{d}, {about}", display=False)
points = pandas.concat(
    [
        table.assign(
            panel=panel,
            model=table["model"].map(paper_rows.MODELS),
            defended=table["defense"] == "CVB",
            ssim=table[f"ssim{ending}"],
            accuracy=table[f"accuracy{ending}"],
        )
        for panel, ending in (("ours", ""), ("paper", "_paper"))
    ]
)
alt = "Two panels, accuracy over one minus SSIM. In each, every model moves to the right when the CVB is put in, to where the mean SSIM is below 0.5; the accuracy changes little, most on CIFAR-10, where it rises."
glue("utility", plots.picture(plots.utility(points), alt), display=False)

# %% [markdown]
# ```{glue:figure} pictures-first
# :name: fig-architectures-first
#
# As {numref}`fig-architectures-last`: {glue:text}`about-first`.
# ```
#
# In the published run IG finds the object in the CNN and the ViT without a CVB, on CIFAR-10 with its colors. In ResNet-18 without one most digits can be read, while of CIFAR-10's images only light and dark areas are left. With the CVB little is left on CIFAR-10 under these attacks, a dark spot or a
# color here and there. On MNIST a reader can still make out some digits behind the ViT with a CVB, where the tables count no success.
#
# ## Utility against privacy
#
# ```{glue:figure} utility
# :name: fig-architectures-utility
#
# Accuracy against $1 - \mathrm{SSIM}$, ours and the paper's (Fig. 11a). The best model would stand in the top right corner; right of the dotted line, an SSIM of 0.5, the mean reconstruction fails under IG or Ignore. Only models that were both attacked and trained have a point.
# {glue:text}`about-sets`; ours: the CNN only, accuracy after at most {glue:text}`cnn-rounds` rounds.
# ```
#
# In the paper each model moves to the right and up, mostly slightly, when the CVB is put in: it protects against these attacks and costs no accuracy. How far that goes is
# the question of {doc}`08_breaking_the_bottleneck`. One thing can be said here already. All three models were attacked by an optimizer that
# starts from noise, and for the ViT there is {ref}`a shorter way <vit-closed-form>`. Its patch embedding is a linear layer, whose weight gradient is $G = \Delta^\top X$ for
# the patches $X$; and $\Delta$ is shared, too: it is the gradient of the position embedding. With one image a batch, $X$ is the solution of a linear
# system, without a label or a single step, and whatever bottleneck stands behind it. That attacks by iteration fail proves
# nothing about a layer that stands before the bottleneck.

# %% tags=["hide-input"]
row = {
    (r["dataset"], r["model"], r["defense"]): r
    for r in table.to_dict("records")
}
numbers = {
    "lpips-note": paper.lpips_note(table),
    "set": last,
    "about-sets": f"{' and '.join(datasets)}, {about}",
    "cnn-rounds": f"{limits.get('cnn', 0)}",
}
for name in ("cnn", "resnet18", "vit"):
    ends = [row.get((last, name, defense)) for defense in ("none", "CVB")]
    numbers[f"fall-{name}"] = (
        " to ".join(
            intervals.said(end["ssim"], end["ssim_low"], end["ssim_high"], 2)
            for end in ends
            if end
        )
        or "–"
    )
    if name != "cnn":
        numbers[f"steps-{name}"] = f"{of[name][1]:,}" if name in of else "–"
        images, *_, tried_on = of.get(name, ("–",) * 5)
        numbers[f"images-{name}"] = f"{images}"
        numbers[f"tried-{name}"] = f"{tried_on}"
sizes = [
    row.get((last, name, "none"), {}).get("parameters")
    for name in ("resnet18", "cnn")
]
numbers["times-parameters"] = (
    f"{round(sizes[0] / sizes[1], -1):.0f}" if all(sizes) else "–"
)
one = row.get(("mnist", "vit", "CVB"))
numbers["vit-mnist"] = (
    f"{one['ssim']:.2f} against {one['ssim_paper']:.2f}" if one else "–"
)
for key, column in {
    "cnn-gain": "accuracy",
    "cnn-gain-paper": "accuracy_paper",
}.items():
    gains = {
        d: row[d, "cnn", "CVB"][column] - row[d, "cnn", "none"][column]
        for d in datasets
        if (d, "cnn", "CVB") in row
    }
    said = [f"{gain:+.2f} ({d})" for d, gain in gains.items() if gain == gain]
    numbers[key] = " and ".join(said).replace("-", "−") or "–"
bare = both.iloc[0]
numbers |= {
    "apart-asr": f"{bare['asr_v'] - bare['asr_xi']:.0f}",
    "apart-images": f"{1.28 * (bare['asr_v'] - bare['asr_xi']):.0f}",
    "apart-ssim": f"{bare['ssim_v'] - bare['ssim_xi']:.2f}",
    "apart-std": f"{bare['ssim_std_xi']:.2f}",
}
for key, text in numbers.items():
    glue(key, text, display=False)

# %% [markdown]
# ## Limits
#
# - ResNet-18 ({glue:text}`images-resnet18` victims, {glue:text}`steps-resnet18` steps) and the ViT ({glue:text}`images-vit`, {glue:text}`steps-vit`): few victims, few steps, and no training. What more steps find there, this page does not say.
# - Fresh weights, one seed. {doc}`08_breaking_the_bottleneck` attacks trained ones, on the CNN.
# - IG and Ignore only. The closed form and the search for the noise say more about what is protected.
#
# ## Take-away
#
# Behind a CVB Ignore finds little in all three models. How much IG finds without one depends on the prior's weight, too, most in the ViT; the models cannot be compared with each other here, since their steps and victims differ. An attack that was cut short can make a model look safer than it is.
# None of it is protection: {ref}`the ViT's patches follow in closed form <vit-closed-form>`, and {doc}`08_breaking_the_bottleneck` finds images behind the CVB where the attacks of this page find none.
#
# ## Exercises
#
# **1.** In the count by hand, put the CVB behind the second stage: `CVB(2)`. What becomes of the shares?
#
# ```{admonition} Solution
# :class: dropdown
# Write `build(name, input_shape=(3, 32, 32), bottlenecks=CVB(2), seed=0)`. The shares grow to about 43, 9 and 54 %, since the second stage now stands before the decoder. The attacker has more to match the later the bottleneck stands: {doc}`04_cvb_hyperparameters` shows what comes of it.
# ```
#
# **2.** Attack the ViT with the text's weight of the prior.
#
# ````{admonition} Solution
# :class: dropdown
# ```bash
# gleak run 06_other_architectures --profile quick -p tv "[0.01, 0.01, 0.01]" --output tryout
# ```
# In the table on $\lambda$ above, the ViT's SSIM falls to less than half.
# ````
