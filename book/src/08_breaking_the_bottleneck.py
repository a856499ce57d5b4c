# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Breaking the bottleneck
#
# ```{admonition} In short
# :class: tip
# **Question.** Do PRECODE and the CVB still hide images if the server searches for their noise?
#
# **Answer.** Not on fresh weights: behind {glue:text}`recovered-network` the published attack finds {glue:text}`recovered-published` % of {glue:text}`recovered-images` images, a search for image *and* noise
# {glue:text}`recovered-joint` %. After {glue:text}`rounds-last` rounds of training that noise is nearly gone, and an attack layer by layer finds {glue:text}`late-joint` %, searching or not. Some settings resist that search. A low success rate under attacks
# that redraw the noise protects nobody. (95 % intervals.)
# ```
#
# ```{glue:figure} recovered
# :name: fig-recovered
#
# Behind the {glue:text}`recovered-network`: originals, what the published attack makes of their gradients, and what a search for image and noise makes of the same
# gradients. The first images of the first model, none picked out; fresh weights, {glue:text}`recovered-dataset`, profile {glue:text}`recovered-profile`. Of {glue:text}`recovered-images` images on
# {glue:text}`recovered-models` the first finds {glue:text}`recovered-published` % and the second {glue:text}`recovered-joint` % (95 % intervals).
# ```
#
# PRECODE and the CVB put noise into a network, and with it into its gradients. An attacker who draws noise of their own cannot match
# them, and one who looks only at what stands before the noise has little to match. So with the CVB at the
# first position {cite:t}`scheliga2023cvb` report an attack success rate (ASR) of 0 % on CIFAR-10.
#
# But the noise is not lost. The client drew one $\varepsilon$, and *that* one shaped every gradient behind the decoder. This chapter treats it as what it is to
# the server: a further unknown. It searches for the image and the noise together, on fresh weights and on trained ones, measures how much of the
# noise it finds, and asks what it is that protects a bottleneck where something does.
#
# ```{admonition} What was known before
# :class: note
# That PRECODE's noise can be searched for is not new. A public repository {cite:p}`chellyfan2022nra` has held a *noise-restoring attack* on PRECODE since 2022, shown on an untrained perceptron
# and a LeNet. {cite:t}`balunovic2022bayesian` invert networks with PRECODE whose first layer is linear. {cite:t}`yue2023obfuscation` attack PRECODE among other defenses, and {cite:t}`carletti2025sok` list it as
# ineffective. The authors of PRECODE and the CVB have themselves searched for hidden randomness, the masks of dropout, together with the image: the
# *dropout inversion attack* {cite:p}`scheliga2023dropout`. And {cite:t}`lu2022april` showed the leak of a vision transformer through its position embedding.
#
# We know of no precedent for what this chapter and the next add: the CVB, trained weights and what becomes of $\sigma$, the layer-by-layer form, averaged noise, a transformer with a bottleneck,
# and batches.
# ```
#
# ## What is claimed
#
# Nothing here is worth much if it attacks something that nobody said. So, in the papers' words:
#
# - the abstract of {cite:t}`scheliga2023cvb`: all architectures "are susceptible to gradient leakage attacks, which can be prevented by our
#   proposed CVB"; Sec. VI-C: the CVB "reduces ASR to 0.78% and 0%" on MNIST and CIFAR-10;
# - its Sec. II-A, on the attacker: an "honest-but-curious server", who "has knowledge of the training loss function $\mathcal{L}$, the
#   model $F$, the model weights $\theta$, and the exchanged clients training gradients";
# - its Sec. V-B, on what is granted: "We aim to facilitate reconstruction for the attacker in order to identify an upper bound for privacy
#   leakage"; one image an update; labels "generally known irrespective of the defense mechanism"; and its public code attacks weights that were never trained.
#
# The attacks of this chapter stay inside that, but where a row says otherwise: the same server, the same knowledge, one image, known labels, the weights that the server
# sent. What they add is the question which noise would explain the gradient. Further things differ from the paper's attack. They match *all* gradients, the
# stochastic ones included. They take {glue:text}`about-steps` smaller steps with a fixed schedule instead of up to 20,000 (on larger networks fewer), and their image prior has another weight.
# Their settings were chosen on CIFAR-10: those of `joint` on fresh weights and on images drawn apart from those below; those of the layer-by-layer form on eight images, also drawn apart, but in part on
# weights that are attacked here, the first model's.

# %% tags=["parameters", "hide-cell"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
model: str = "cnn"  # of all tables but those of larger models
networks: list[str] = ["none", "cvb(1)"]  # of the first table
grid: list[str] = ["cvb(1)", "precode(1)"]  # positions, sizes
trained: list[str] = ["cvb(1)"]  # attacked after `rounds`
compared: list[str] = ["none"]  # attacked after the last of `rounds`
rounds: list[int] = [2]  # rounds of training after which to attack
training_rounds: int = 2  # federated rounds
trained_steps: int = 100  # of attacks on trained weights
sets: list[str] = []  # further image sets, fresh weights
architectures: list[str] = []  # larger models, fresh weights
architecture_networks: list[str] = []  # the bottleneck of each
architecture_victims: list[int] = []  # victims of each
architecture_steps: list[int] = []  # steps on each
patch_networks: list[str] = ["cvb(1, 3)"]  # on a ViT
patch_rounds: list[int] = [0]  # rounds before the closed form; 0: fresh
patch_training_set: str = "digits"  # on which the ViT is trained
batch_sizes: list[int] = [2]  # images in a batch
image_sizes: list[int] = [40]  # heights and widths
victims: int = 4  # on each model, in the first table
grid_victims: int = 2  # on each model, elsewhere
steps: int = 200  # of the attacks in the first table
grid_steps: int = 100  # of the others, on fresh weights
plateau: int = 30  # of IG and Ignore: steps before lr falls
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
from gleak_lib.client_setup import short
from gleak_lib.experiments import run, tables
from IPython.display import Markdown, display
from myst_nb import glue

settings = parameters.check("08_breaking_the_bottleneck", globals())
store = open_store(profile)

# %% [markdown]
# ## The experiment
#
# A network is a line of text, for instance `cvb(1)` or `precode(1)`; every statement below stands on several models of it, each attacked with images of its own.
#
# | attack | the noise of the dummy's bottleneck | gradients that are matched |
# |---|---|---|
# | IG {cite:p}`geiping2020inverting` | drawn anew at each step | all |
# | Ignore {cite:p}`scheliga2023cvb` | drawn anew | before the first decoder |
# | expectation | {glue:text}`expectation-draws` draws a step, their gradients averaged | before the first decoder |
# | **joint** | searched for, with the image | all |
# | joint, noise redrawn | drawn anew at each step, all else as in joint: what the search alone brings | all |
# | joint, layer by layer | searched for | all, each tensor's cosine counting alike |
# | noise known | told by an oracle: no attack, but a yardstick for `joint` (no bound, since its search can fail as well) | all |

# %% tags=["experiment"]
from gleak_lib.attacks import ATTACKS, Resample
from gleak_lib.client_setup import parse
from gleak_lib.experiments import TrainingExperiment
from gleak_lib.federated import Protocol

named = [*networks, *grid, *trained, *compared]
setups = {parse(text).label: parse(text) for text in named}
protocol = Protocol(rounds=training_rounds)
trainings = {
    (network, i): TrainingExperiment(
        dataset, model, (), s.bottlenecks, protocol, seed + i, defense=s.defense
    )
    for network, s in setups.items()
    for i in range(seeds)
}
attackers = {
    "IG": ATTACKS["ig"].replace(drop_after=plateau),
    "Ignore": ATTACKS["ignore"].replace(drop_after=plateau),
    "expectation": ATTACKS["expectation"],
    "joint": ATTACKS["joint"],
    "joint, noise redrawn": ATTACKS["joint"].replace(noise=Resample()),
    "joint, layer by layer": ATTACKS["layerwise"],
    "noise known": ATTACKS["oracle"],
}

# %% [markdown]
# Each attack on each of these networks, fresh, is an experiment. Those on `networks` get more victims and steps and are the first results; the grid of positions and sizes comes after
# them. Later sections take one of these experiments and change one thing of it.

# %% tags=["experiment"]
from dataclasses import replace

from gleak_lib.experiments import AttackExperiment

small = {
    (network, name, i): AttackExperiment(
        training,
        0,
        attack.replace(max_steps=grid_steps),
        max(1, grid_victims // setups[network].batch_size),
        setups[network].batch_size,
        victim_seed + i,
        share_noise=name == "noise known",
        seed=seed + i,
        defense=setups[network].defense,
    )
    for (network, i), training in trainings.items()
    for name, attack in attackers.items()
}

# %% tags=["experiment"]
shown = [parse(text).label for text in networks]
fresh = {
    (network, name, i): small[network, name, i]
    for network in shown
    for name in (attackers if setups[network].bottlenecks else ("IG", "joint"))
    for i in range(seeds)
}
for (network, name, i), experiment in fresh.items():
    if name != "expectation":  # whose four draws take four times as long
        count = max(1, victims // experiment.batch_size)
        more = attackers[name].replace(max_steps=steps)
        fresh[network, name, i] = replace(
            experiment, attack=more, victims=count
        )
placed = {
    (network, name, i): small[network, name, i]
    for network in [parse(text).label for text in grid]
    for name in ("Ignore", "joint", "noise known")
    for i in range(seeds)
}
experiments = [fresh, placed]

# %%
results = run(experiments, store)

# %% [markdown]
# ## One unknown more
#
# With {glue:text}`recovered-network`, the noise is a map of {glue:text}`noise-shape` = {glue:text}`noise-count` numbers. Together with the {glue:text}`pixel-count` of the image that makes {glue:text}`unknown-count`
# unknowns, and the client shares {glue:text}`entry-count` gradient entries. Counting alone does not prove that they can be solved for, but nothing speaks against trying:
#
# $$ \min_{x', \varepsilon'} \; 1 - \cos\big(\nabla \mathcal{L}(F(x', \varepsilon'), y),\, G_C\big) + \lambda\, \mathrm{TV}(x')
#    + \gamma\, \Big|\tfrac{1}{d} \lVert \varepsilon' \rVert^2 - 1\Big|. $$
#
# The last term says that $d$ standard normal numbers have a mean square near one. The loss $\mathcal{L}$ includes the KL term with its weight, which the server knows.
# Four digits behind a CVB show it. The client's noise is kept here for the comparison; the server gets none:

# %%
from dataclasses import replace

import torch
from gleak_lib import attacks, datasets, metrics, models
from gleak_lib.attacks import ATTACKS
from gleak_lib.bottlenecks import CVB

digits = datasets.load("digits")
images, labels = datasets.victims(digits, 4, 0)
pixels = {"mean": digits.mean, "std": digits.std}
shape, spec = digits.input_shape, CVB(1, kernel_size=5)
network = models.build("cnn", input_shape=shape, bottlenecks=spec, seed=0)
generator = torch.Generator().manual_seed(0)
client = attacks.observe(
    network, images, labels, share_noise=True, generator=generator, **pixels
)
server = replace(client, noise=None)


# %% [markdown]
# The formula, written out for one image $x$ (normalized) and its noise. At the client's own image and noise it gives what the library's attack gives:


# %% tags=["by-hand"]
def objective(x, noise, theirs, y):
    out = network.run(x, noise=noise)
    loss = torch.nn.functional.cross_entropy(out.logits, y) + out.kl.mean()
    ours = torch.autograd.grad(loss, network.parameters(), create_graph=True)
    ours = torch.cat([g.flatten() for g in ours])
    match = 1 - torch.cosine_similarity(ours, theirs, dim=0)
    smooth = x.diff(dim=2).abs().mean() + x.diff(dim=3).abs().mean()
    usual = (noise[0].square().mean() - 1).abs()
    return match + 1e-3 * smooth + 1e-4 * usual


x, (noise,) = metrics.normalize(images, **pixels), client.noise
for v in range(4):
    received = [g[v].flatten() for g in server.gradients.values()]
    one, y = slice(v, v + 1), labels[v : v + 1]
    value = objective(x[one], [noise[one]], torch.cat(received), y)
    library = attacks.loss_at_truth(
        server, ATTACKS["joint"], images, labels, client.noise
    )
    torch.testing.assert_close(value, library[v], atol=1e-6, rtol=1e-3)

# %% [markdown]
# `joint` is IG with this objective, a dummy and its noise, both changed by the same optimizer, and with smaller steps on a fixed schedule (what is printed first is all that differs from IG). Beside it Ignore, on the same observation (SSIM of each digit):

# %%
print(ATTACKS["joint"])
for name in ("ignore", "joint"):
    attack = ATTACKS[name].replace(max_steps=300)
    found = attacks.invert(server, attack, generator=generator)
    print(name, metrics.score(found, images)["ssim"].round(2).tolist())

# %% [markdown]
# ## Fresh weights

# %% tags=["hide-input"]
scaled = (
    "each image min–max scaled" if scaling == "minmax" else "images as they are"
)


about = {
    most: f"{count * seeds} victims from {dataset} on {seeds} models ({count} each), fresh weights, {most:,} steps, {scaled}, profile {profile}"
    for most, count in {grid_steps: grid_victims, steps: victims}.items()
}
in_parentheses = "In parentheses 95 % intervals over the victims."
first = tables.attack_table(
    results.frame(fresh, scaling=scaling, label=("network", "method", "i")),
    ["network", "method"],
)
scores = {
    "ssim_text": "SSIM",
    "asr_text": "ASR %",
    "loss": "loss",
    "loss_at_truth": "loss at the truth",
    "stuck": "stuck %",
    "noise_correlation": "noise recovered (r)",
}
expectation = f"Expectation: {grid_victims} victims each, {grid_steps:,} steps."
tables.show(
    first[first["network"] == shown[-1]],
    columns={"method": "attack"} | scores,
    caption=f"Attacks on {shown[-1]}: {about[steps]}. {expectation} {in_parentheses}",
)

# %% [markdown]
# *SSIM* is a mean, *ASR* the share of images with an SSIM of at least 0.5, *loss* a median. *Loss at the truth* is what an attack's loss would be at the client's own image and noise; *stuck* is the share of victims whose
# search ended at more than twice that. *Noise recovered* is the correlation of the noise that was found with the client's. The other networks (folded):

# %% tags=["hide-cell"]
tables.show(
    first[first["network"] != shown[-1]],
    columns={"network": "network", "method": "attack"} | scores,
    caption=f"Attacks on the other networks: {about[steps]}. {expectation} {in_parentheses}",
)

# %% tags=["hide-input"]
as_asr = {"asr": "value", "asr_low": "low", "asr_high": "high"}
figure = plots.intervals(
    first.rename(columns={"network": "label"} | as_asr),
    xlabel="ASR %, with 95 % intervals",
)
alt = "One line per network and one point per attack. Without a bottleneck all lie near 100; behind the bottlenecks IG, Ignore, expectation and joint with the noise redrawn lie near 0, and the searches for the noise near 100 with the noise known."
glue("fresh", plots.picture(figure, alt), display=False)
last = {
    n: experiment
    for (s, n, i), experiment in fresh.items()
    if (s, i) == (shown[-1], 0)
}
pictures = {n: results[c].images("reconstruction") for n, c in last.items()}
fewest = min(map(len, pictures.values()))
originals = results[last["joint"]].images("truth")[:fewest]
rows = {n: images[:fewest] for n, images in pictures.items()}
figure = plots.reconstructions(
    originals, rows, columns=examples, scaling=scaling
)
alt = f"Rows of small images behind {shown[-1]}: the originals, and what each attack found. IG, Ignore, expectation and joint with the noise redrawn give blotches, the two forms of joint and the attack that knows the noise the pictures."
glue("fresh-pictures", plots.picture(figure, alt), display=False)
published = "Ignore" if "Ignore" in last else "IG"
titles = {published: f"“protected”: {published}", "joint": "recovered: joint"}
figure = plots.reconstructions(
    results[last["joint"]].images("truth"),
    {title: pictures[name] for name, title in titles.items()},
    columns=4,
    scaling=scaling,
)
alt = (
    "Three rows of small images: the originals; below them what the published attack finds behind the bottleneck, "
    "blotches without likeness; and what the search for the noise recovers."
)
glue("recovered", plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} fresh
# :name: fig-breaking-fresh
#
# Images found by each attack, with 95 % intervals: {glue:text}`about-fresh`.
# ```

# %% tags=["hide-input"]
lines = [
    f"- {network}: Ignore {said(method='Ignore')} %, `joint` {said(method='joint')} %, with the noise redrawn {said(method='joint, noise redrawn')} %, layer by layer {said(method='joint, layer by layer')} %, told the noise "
    f"{said(method='noise known')} %; recovered noise correlates with the client's by {tables.quote(first, 'noise_correlation', network=network, method='joint')}"
    for network in shown
    for said in [partial(tables.quote, first, "asr_text", network=network)]
    if setups[network].bottlenecks
]
Markdown(
    f"Images found in this run (profile {profile}, 95 % intervals in parentheses):\n\n"
    + "\n".join(lines)
)

# %% [markdown]
# In the published run (profile `cpu`) it is the search for the noise that changes the result. Behind the CVB, IG, Ignore and the expectation find none of the images, as the paper says of Ignore; `joint` finds nearly all, behind
# PRECODE as well. With all else as in `joint` (objective, steps, schedule, prior) and the noise drawn anew, {glue:text}`redrawn-cvb` % are found behind the CVB and {glue:text}`redrawn-precode` % behind PRECODE. The noise comes along, the CVB's {glue:text}`noise-count` numbers less well than the {glue:text}`precode-count` of PRECODE.
#
# The oracle, which is told the noise, finds no more: the intervals overlap. So on fresh weights no cost of a hidden $\varepsilon$ to the attacker can be seen here. It
# did cost the published attacks nearly everything: they match gradients that another draw has shaped, or leave out those behind the decoder. With Ignore's mask `joint` finds neither
# image nor noise (see the variants below). So it is the "stochastic" gradients that give the noise away.
#
# Two columns keep us honest. All searches that redraw the noise are stuck: their median losses are {glue:text}`stuck-times` times that at the truth. But `joint` is stuck for {glue:text}`stuck-joint` % of the victims as well: it succeeds
# without arriving, so that more steps or restarts may find more.
#
# ```{glue:figure} fresh-pictures
# :name: fig-breaking-pictures
#
# What each attack makes of the first images of the first model, SSIM below each: {glue:text}`recovered-network`; {glue:text}`about-fresh`.
# ```
#
# ## Where, how wide, how strong
#
# The grid: the share of images found by three attacks, and how much of the noise `joint` recovers.

# %% tags=["hide-input"]
grid_table = tables.attack_table(
    results.frame(placed, scaling=scaling, label=("network", "method", "i")),
    ["network", "method"],
)
found = grid_table.pivot(index="network", columns="method", values="asr_text")
joint_rows = grid_table[grid_table["method"] == "joint"].set_index("network")
found = found.join(joint_rows[["ssim_text", "noise_correlation", "stuck"]])
found = found.reindex(dict.fromkeys(grid_table["network"])).reset_index()
columns = {
    "network": "network",
    "Ignore": "ASR %, Ignore",
    "joint": "ASR %, joint",
    "noise known": "ASR %, noise known",
    "ssim_text": "SSIM, joint",
    "stuck": "stuck %, joint",
    "noise_correlation": "noise recovered (r)",
}
tables.show(
    found[:10],
    columns=columns,
    caption=f"Positions, sizes and KL terms: {about[grid_steps]}. {in_parentheses}",
)

# %% [markdown]
# Every attack on every setting, with its losses (folded):

# %% tags=["hide-cell"]
tables.show(
    grid_table,
    columns={"network": "network", "method": "attack"} | scores,
    caption=f"Positions, sizes and KL terms, attack by attack: {about[grid_steps]}. {in_parentheses}",
)

# %% tags=["hide-input"]
as_ssim = {"ssim": "value", "ssim_low": "low", "ssim_high": "high"}
figure = plots.intervals(
    grid_table.rename(columns={"network": "label"} | as_ssim),
    xlabel="mean SSIM, with 95 % intervals",
    threshold=0.5,
)
alt = "One line per setting with the mean SSIM of Ignore, joint and the attack that knows the noise. Mostly joint lies beside the last and above 0.5; with kernels of one pixel, a single kernel and three bottlenecks it lies below."
glue("grid", plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} grid
# :name: fig-breaking-grid
#
# Mean SSIM by setting and attack, with 95 % intervals; the dotted line marks an SSIM of 0.5, from which an image counts as found: {glue:text}`about-grid`.
# ```

# %% tags=["hide-input"]
resisting = joint_rows[joint_rows["asr"] < 50]
lines = [
    f"- {row.Index}: `joint` {row.asr_text} %, at an SSIM of {row.ssim:.2f}; Ignore {said(method='Ignore')} %, told the noise {said(method='noise known')} %; "
    f"the noise that `joint` finds correlates by {row.noise_correlation:.2f}"
    for row in resisting.itertuples()
    for said in [
        partial(tables.quote, grid_table, "asr_text", network=row.Index)
    ]
]
Markdown(
    f"Settings in which `joint` finds less than half in this run (profile {profile}):\n\n"
    + ("\n".join(lines) or "- none of these")
)

# %% [markdown]
# In the published run PRECODE is broken at every position and width of the grid, and the CVB with kernels of five pixels and half as many kernels as channels ($s=1/2$) at every single position: {glue:text}`grid-first` % at the first, {glue:text}`grid-second` % at the second, {glue:text}`grid-third` % at the
# third, where Ignore alone finds {glue:text}`grid-third-ignore` %. On fresh weights the form of the KL term makes no difference that shows.
#
# Three settings resist `joint`: kernels of one pixel, a bottleneck of a single kernel ($s = 1/16$), and bottlenecks at all three positions. None of their {glue:text}`grid-images` images each is found by it. That is not the same as nothing
# being found: at all three positions *Ignore* finds {glue:text}`grid-all-ignore` %, more than `joint` (the intervals overlap), and there the oracle, which knows the noise, finds {glue:text}`grid-all-known` %. Knowing the noise tells the three apart. With kernels of one pixel {glue:text}`grid-pixel-known` % are found then, so there it is the noise that
# protects. How well it is recovered does not say so: the correlation is {glue:text}`grid-pixel-r`, and with kernels of five pixels, where `joint` finds nearly all, it is {glue:text}`grid-first-r`. At three positions and with the single
# kernel even the oracle finds a minority: these networks' gradients seem to say less about the
# image, noise or not. At three positions, moreover, the search ends *below* the loss of the truth, as the oracle does: another, smoother
# image explains the gradient as well (the loss has the prior in it), and an attacker would not know. For the paper's choice, `joint` finds as many as the oracle, within the intervals.
#
# ## Variants
#
# Each row changes one part of `joint`, or sends several updates of the same image:

# %% tags=["experiment"]
joint, layerwise = ATTACKS["joint"], ATTACKS["layerwise"]
forms = {
    "as above": joint,
    "prior ½‖ε‖²": joint.replace(noise_prior="map"),
    "z = μ + σε is the unknown": joint.replace(noise_form="z"),
    "layers weighted by their variance over ε": joint.replace(
        weighting="variance"
    ),
    "layer by layer": layerwise,
    "Ignore's layers only": joint.replace(layers="before-decoder"),
}
ours = {i: small[parse(networks[-1]).label, "joint", i] for i in range(seeds)}
variants = {
    (name, i): replace(experiment, attack=form.replace(max_steps=grid_steps))
    for name, form in forms.items()
    for i, experiment in ours.items()
} | {
    (f"{word} updates of the same image", i): replace(experiment, updates=count)
    for word, count in {"two": 2, "four": 4}.items()
    for i, experiment in ours.items()
}
experiments.append(variants)

# %% tags=["hide-input"]
results = run(experiments, store)
variants_table = tables.attack_table(
    results.frame(variants, scaling=scaling, label=("variant", "i")), "variant"
)
tables.show(
    variants_table,
    columns={"variant": "joint"} | scores,
    caption=f"Variants of joint on {shown[-1]}: {about[grid_steps]}. {in_parentheses}",
)

# %% [markdown]
# In the published run the choices in the formula matter little for the success rate: but for the mask, all its intervals overlap. The other prior finds the noise better ({glue:text}`variant-prior-r`) and the image no better. In mean SSIM the layer-by-layer form
# is behind the others, the mask aside, on fresh weights, by more than the intervals, and taking $z = \mu + \sigma\varepsilon$ for the unknown is ahead, by less. One choice matters a great deal: joined with Ignore's mask, the search finds nothing. The gradients behind the
# decoder are what pins the noise down.
#
# A client that sends several gradients of the same image under the same weights helps the attacker. Each brings unknown noise of its own, but the image is shared: with
# two updates {glue:text}`variant-two` % are found ({glue:text}`variant-one` % with one; the intervals overlap), and with four the mean SSIM is {glue:text}`variant-four-ssim`, against {glue:text}`variant-one-ssim` with one.
#
# ## Other image sets
#
# Each with the CVB that the paper chose for it (Tables X and XII).

# %% tags=["experiment"]
from gleak_book import paper_rows

elsewhere = {}
for images_of in sets:
    name = images_of.removesuffix("_victims")  # a set of victims only
    printed = paper_rows.read("X", "XII", dataset=name, model=model)
    cvbs = [row.setup() for row in printed if row.defense == "cvb"]
    chosen = (cvbs or [parse(networks[-1])])[0]
    for method in ("Ignore", "joint"):
        for i in range(seeds):
            experiment = small[parse(networks[-1]).label, method, i]
            training = replace(
                experiment.training,
                dataset=images_of,
                bottlenecks=chosen.bottlenecks,
            )
            other = replace(experiment, training=training)
            elsewhere[images_of, method, i] = other
experiments.append(elsewhere)

# %% tags=["hide-input"]
by = ["images", "method"]
sets_table = pandas.DataFrame(columns=by)
if elsewhere:
    results = run(experiments, store)
    label = (*by, "i")
    found = results.frame(elsewhere, scaling=scaling, label=label)
    sets_table = tables.attack_table(found, by).drop(columns="psnr_std")
    found = results.frame(elsewhere, scaling="none", label=label)
    medians = found.groupby(by, sort=False)["psnr"].median()
    sets_table["psnr"] = medians.to_numpy()
    columns = {"images": "images", "method": "attack"}
    columns |= {"psnr": "PSNR dB (median, as they are)"} | scores
    display(
        tables.show(
            sets_table,
            columns={k: v for k, v in columns.items() if "loss" not in k},
            digits={"psnr": 1},
            caption=f"Image sets: {about[grid_steps].replace(dataset, 'each')}; a name with _victims has the paper's 128 images. PSNR of images as they are. {in_parentheses}",
        )
    )

# %% [markdown]
# In the published run Ignore finds nothing on any of them. `joint` finds {glue:text}`sets-xray` % of the X-rays (`pneumoniamnist`), {glue:text}`sets-digits` % of MNIST's digits, {glue:text}`sets-blood` % of the blood cells, {glue:text}`sets-derma` % of the skin lesions (`dermamnist`) and {glue:text}`sets-retina` % of the retinas.
# The last three sets are those on which it is stuck on more than nine victims of ten; on the blood cells it succeeds all the same. Of the skin lesions the PSNR is that of the digits and blood cells, where far
# more images pass the threshold, perhaps because on smooth images the same error costs more SSIM. The retinas' PSNR is lower, too. The settings of `joint` were tuned on other CIFAR-10 images, and
# on no other set.
#
# ## After training
#
# A server attacks when it likes, and the weights that it sends are trained ones most of the time. Training moves $\mu$ and $\sigma$, which is measured first:

# %% tags=["experiment"]
from gleak_lib.experiments import NoiseSensitivityExperiment

ends = {parse(text).label: [0, rounds[-1]] for text in compared}
ends |= {parse(text).label: [0, *rounds] for text in trained}
noise_of = {
    (network, r, i): NoiseSensitivityExperiment(
        trainings[network, i],
        r,
        grid_victims,
        victim_seed=victim_seed + i,
        seed=seed + i,
    )
    for network, some in ends.items()
    if setups[network].bottlenecks
    for r in dict.fromkeys(some)
    for i in range(seeds)
}
experiments.append(noise_of)

# %% tags=["hide-input"]
by = ["network", "rounds"]
noise_table = pandas.DataFrame(columns=by)
if noise_of:
    results = run(experiments, store)
    measured = results.frame(noise_of, label=(*by, "i"))
    noise_table = measured.groupby(by, sort=False)[
        ["sigma", "mu", "similarity"]
    ].mean()
    noise_table["ratio"] = noise_table["mu"] / noise_table["sigma"]
    noise_table = noise_table.reset_index()
    display(
        tables.show(
            noise_table,
            columns={
                "network": "network",
                "rounds": "rounds",
                "sigma": "mean σ",
                "mu": "RMS μ",
                "ratio": "RMS μ / mean σ",
                "similarity": "similarity of gradients",
            },
            digits={"sigma": 3, "mu": 2, "ratio": 1, "similarity": 2},
            caption=f"What training makes of the noise: means over {seeds} models, {grid_victims} images from {dataset} each, profile {profile}. RMS: root mean square. Similarity: the cosine of an image's gradients under two draws of noise.",
        )
    )

# %% [markdown]
# In the published run one round suffices: with the KL term of the paper's public code, $\sigma$ of the CVB falls from {glue:text}`sigma-fresh` to {glue:text}`sigma-one` and the gradients of an image under two draws of
# noise have a cosine similarity of {glue:text}`similar-one`. After {glue:text}`rounds-last` rounds it is {glue:text}`sigma-last`, near the {glue:text}`sigma-least` that is the least its form allows ({doc}`04_cvb_hyperparameters`), and the gradients agree almost completely. The noise is still drawn, but it changes hardly anything. The exact KL term takes
# $\sigma$ up to {glue:text}`sigma-exact`, and still the gradients grow more alike. PRECODE, which has the exact term too but a tenth of its weight, ends between: {glue:text}`sigma-precode`, and $\mu$ grows to {glue:text}`mu-precode`.
#
# The attacks on these weights: IG, and the two that let each layer's cosine count alike, once with the noise drawn anew and once with it searched for. As yardsticks one is told the noise, and in another the clients draw none.

# %% tags=["experiment"]
from gleak_lib.attacks import Resample

told = ATTACKS["oracle"].replace(distance="layerwise", priors=layerwise.priors)
late = {
    "IG": ATTACKS["ig"].replace(drop_after=plateau),
    "IG, layer by layer": layerwise.replace(noise=Resample()),
    "joint, layer by layer": layerwise,
    "noise known, layer by layer": told,
    "no noise at all": told,
}
plain = list(late)[:2]  # without a bottleneck there is no noise
asked = [(parse(text).label, r) for r in rounds for text in trained]
asked += [(parse(text).label, rounds[-1]) for text in compared]
met = {
    (network, r, name): attack.replace(max_steps=trained_steps)
    for network, r in asked
    for name, attack in late.items()
    if setups[network].bottlenecks or name in plain
    if name != "no noise at all" or r == rounds[-1]
}

# %% tags=["experiment"]
attacked = {
    (network, r, name, i): replace(
        small[network, "joint", i],
        training=trainings[network, i],
        rounds=r,
        attack=attack,
        share_noise=late[name] is told,
        noise_scale=0.0 if name == "no noise at all" else 1.0,
    )
    for (network, r, name), attack in met.items()
    for i in range(seeds)
}
experiments.append(attacked)

# %% tags=["hide-input"]
results = run(experiments, store)
by = ["network", "rounds", "method"]
trained_table = tables.attack_table(
    results.frame(attacked, scaling=scaling, label=(*by, "i")), by
)
found = trained_table.pivot(index=by[:2], columns="method", values="asr_text")
found = found.reindex(asked).reset_index()
end = rounds[-1]
after = f"{grid_victims * seeds} victims from {dataset} on {seeds} models ({grid_victims} each), {trained_steps:,} steps, {scaled}, profile {profile}"
tables.show(
    found[:10],
    columns={"network": "network", "rounds": "rounds"}
    | {name: name for name in late if name in found},
    caption=f"ASR % on trained weights, by attack: {after}. {in_parentheses}",
)

# %% [markdown]
# With SSIM, losses and the recovered noise (folded):

# %% tags=["hide-cell"]
tables.show(
    trained_table,
    columns={"network": "network", "rounds": "rounds", "method": "attack"}
    | scores,
    caption=f"Attacks on trained weights: {after}. {in_parentheses}",
)

# %% tags=["hide-input"]
lines = trained_table.rename(columns=as_asr)
lines["label"] = [
    f"{row.network}\nafter {row.rounds} round{'s' * (row.rounds > 1)}"
    for row in lines.itertuples()
]
places = list(dict.fromkeys(lines["network"]))
lines["place"] = [places.index(network) for network in lines["network"]]
figure = plots.intervals(
    lines.sort_values(["place", "rounds"], kind="stable"),
    xlabel="ASR % on trained weights, with 95 % intervals",
)
alt = "One line per network and round and one point per attack. The network without a bottleneck lies near 90. The CVB falls under IG from above 60 after one round to near 0 after twenty, where the layer-by-layer attacks rise to about 70; with the exact KL term joint stays below 10."
glue("trained", plots.picture(figure, alt), display=False)
for name, texts in {"trained": trained, "compared": compared}.items():
    labels_ = [parse(text).label for text in texts]
    names = dict(zip(labels_, short(labels_), strict=True))
    those = {
        f"{names[network]}: {method}": results[experiment]
        for (network, r, method, i), experiment in attacked.items()
        if network in names and (r, i) == (end, 0)
        if method != "no noise at all"
    }
    if those:
        originals = next(iter(those.values())).images("truth")
        rows = {n: one.images("reconstruction") for n, one in those.items()}
        figure = plots.reconstructions(
            originals, rows, columns=examples, scaling=scaling
        )
        alt = f"Rows of small images, weights after {end} rounds: the originals, and below them what was found by {'; '.join(rows)}."
        glue(f"{name}-pictures", plots.picture(figure, alt), display=False)

# %% [markdown]
# ```{glue:figure} trained
# :name: fig-breaking-trained
#
# Images found on trained weights, with 95 % intervals: {glue:text}`about-trained`.
# ```
#
# Four things can be read off the published run.
#
# **After one round the CVB is open to plain IG.** The attack that found nothing on fresh weights now finds {glue:text}`late-one-ig` % of the images, probably because hardly any noise is left. Searching
# for the noise even hurts here: {glue:text}`late-one-joint` %, where the same attack with the noise redrawn finds {glue:text}`late-one-redrawn` %. Its loss ends below even that of the attack that is told the noise, so that the search seems to explain with noise what is wrong with the image.
#
# **After {glue:text}`rounds-last` rounds IG fails, but not because of the noise.** It finds {glue:text}`late-ig` %. The form in which every layer's cosine counts alike, with a stronger image prior, smaller steps and a fixed schedule,
# finds {glue:text}`late-joint` %, whether it redraws the noise or searches for it. Knowing the noise gives {glue:text}`late-known` %, and a client without any noise {glue:text}`late-silent` %, within the intervals. So what stopped IG
# is its distance, its prior or how it searches; which of these is not separated here (our guess is the distance: trained layers' gradients differ in length, and the cosine over all of them looks at the longest). IG is stuck for
# {glue:text}`late-stuck` % of the victims. A failed optimizer is no privacy.
#
# **PRECODE keeps some of its noise, and loses it to the search:** {glue:text}`late-precode-ig` % with IG, and layer by layer {glue:text}`late-precode-redrawn` % with the noise drawn anew, {glue:text}`late-precode-joint` % with a search for it, {glue:text}`late-precode-known` % with the noise known, {glue:text}`late-precode-silent` % without noise.
# From the second of these to the third the intervals overlap; those of the mean SSIM, {glue:text}`late-precode-redrawn-ssim` and {glue:text}`late-precode-joint-ssim`, do not.
#
# **The exact KL term does protect against these attacks, at a price.** `joint` finds {glue:text}`late-exact-joint` %, with the noise known it is {glue:text}`late-exact-known` %, and without noise {glue:text}`late-exact-silent` %. So there are two effects. The trained
# network itself takes the {glue:text}`late-none-ig` % of the one without bottleneck down to {glue:text}`late-exact-silent` %: its gradients tell less even when nothing is random. The noise takes these down to {glue:text}`late-exact-joint` %;
# the search finds it less well than on fresh weights (correlation {glue:text}`late-exact-r`, layer by layer), and here the intervals still touch. What it costs in accuracy, together with a floor under $\sigma$, stands in {doc}`What stands <09_what_stands>`.
#
# Without a bottleneck {glue:text}`late-none-ig` % are found on weights as old as these, by either distance. The noise table shows means over models, and losses are medians over victims, so that differences between models and between victims cannot be seen; the intervals count
# victims as independent, although those of one model share it.
#
# ```{glue:figure} trained-pictures
# :name: fig-breaking-trained-pictures
#
# What the attacks make of the first images of the first model behind {glue:text}`trained-networks` after {glue:text}`rounds-last` rounds, SSIM below each: {glue:text}`about-trained`.
# ```
#
# ```{glue:figure} compared-pictures
# :name: fig-breaking-compared-pictures
#
# The same images, from {glue:text}`compared-networks`.
# ```
#
# (vit-closed-form)=
# ## A vision transformer needs no search
#
# A vision transformer cuts the image into $N$ patches $x_n$, embeds each by one matrix, and adds a learned position embedding. With one image
# in the update, the gradient of that position embedding *is* the error signal at each patch, $\Delta$ ($N \times F$), and the
# gradient of the patch embedding is $G = \Delta^\top X$. Both are shared. So $X$ follows by least squares, without labels, without a single step,
# and whatever noise a bottleneck adds behind the embedding is already in $\Delta$. The leak through the position embedding is known from
# {cite:t}`lu2022april`; that a variational bottleneck does not touch it is what is added here. Clients may also disturb what they share:

# %% tags=["experiment"]
from gleak_lib.defenses import (
    NO_DEFENSE,
    Clip,
    Compression,
    Gaussian,
    Quantize,
)

disturbed = {
    "as they are": NO_DEFENSE,
    "Gaussian noise 1e-4": Gaussian(std=1e-4),
    "Gaussian noise 1e-3": Gaussian(std=1e-3),
    "quantized to 8 bits": Quantize(bits=8),
    "compressed, p=0.9": Compression(p=0.9),
    "clipped to length 1": Clip(bound=1.0),
}

# %% tags=["experiment"]
patched = {}
for text in patch_networks:
    for r in patch_rounds:
        many = f"weights after {r} rounds on {patch_training_set}"
        for name, defense in (
            disturbed.items() if not r else [(many, NO_DEFENSE)]
        ):
            for i in range(seeds):
                training = TrainingExperiment(
                    patch_training_set if r else dataset,
                    "vit",
                    bottlenecks=parse(text).bottlenecks,
                    protocol=Protocol(rounds=r),
                    seed=seed + i,
                )
                patched[parse(text).label, name, i] = AttackExperiment(
                    training,
                    r,
                    ATTACKS["patches"],
                    victims,
                    victim_seed=victim_seed + i,
                    seed=seed + i,
                    defense=defense,
                )
experiments.append(patched)

# %% tags=["hide-input"]
results = run(experiments, store)
by = ["network", "shared"]
label = (*by, "i")
patch_table = tables.attack_table(
    results.frame(patched, scaling=scaling, label=label), by
).drop(columns="psnr_std")
found = results.frame(patched, scaling="none", label=label)
patch_table["psnr"] = found.groupby(by, sort=False)["psnr"].median().to_numpy()
on_vit = f"ViT, {victims * seeds} victims from {dataset} (in a row with training, from {patch_training_set}) on {seeds} models, weights fresh unless the row says otherwise, noise by its standard deviation, {scaled}, profile {profile}"
found = patch_table.pivot(index="shared", columns="network", values="asr_text")
places = dict.fromkeys(patch_table["network"])
tables.show(
    found.reindex(dict.fromkeys(patch_table["shared"])).reset_index(),
    columns={"shared": "shared gradients"} | {n: f"ASR %, {n}" for n in places},
    caption=f"The closed form by what clients share: {on_vit}. {in_parentheses}",
)

# %% [markdown]
# With PSNR and SSIM (folded):

# %% tags=["hide-cell"]
tables.show(
    patch_table,
    columns={
        "network": "network",
        "shared": "shared gradients",
        "psnr": "PSNR dB (median)",
        "ssim_text": "SSIM",
        "asr_text": "ASR %",
    },
    digits={"psnr": 1},
    caption=f"The closed form in full: {on_vit}; PSNR of images as they are. {in_parentheses}",
)

# %% [markdown]
# In the published run every image comes back, to the precision of float32, from fresh weights and after {glue:text}`patch-after`, through PRECODE and through the CVB. Clipping only
# scales $G$ and $\Delta$ alike. What hurts is what disturbs $\Delta$: behind a bottleneck noise of 1e-4 and eight bits still leave nearly perfect images, and noise of
# 1e-3 images of which most are found; compression to a tenth leaves {glue:text}`patch-precode` % behind PRECODE and {glue:text}`patch-cvb` % behind the CVB. By its mean SSIM the plain transformer is the *least* exposed of the
# three to every disturbance but clipping (a likely reason, not measured here: its patches' error signals are the most alike, so that least squares amplify the noise most). So in this run a bottleneck
# behind the embedding does not only fail to protect; it makes the leak more robust.
#
# Of a batch the two gradients are sums over its images, one equation for several unknowns, and the closed form refuses them.
#
# ## Larger networks
#
# The same on larger networks, as far as two cores allow: in {glue:text}`larger-steps` steps, where the paper's attack takes up to 20,000. The
# prior's weight for ResNet-18, 0.1, is the one that {doc}`Other architectures <06_other_architectures>` found best *without* a bottleneck, and all three attacks get it; the learning rates of `joint` were set on four other images.

# %% tags=["experiment"]
larger = {}
given = (architectures, architecture_networks, architecture_victims)
sized = list(zip(*given, architecture_steps, strict=True))
for name, text, count, most in sized:
    tuned = {"tv": 0.1} if name == "resnet18" else {}
    fast = {"lr": 1.0, "noise_lr": 0.2} if tuned else {}
    tenth = {"drop_after": max(1, most // 10)}
    for method, own in {"IG": tenth, "Ignore": tenth, "joint": fast}.items():
        attack = attackers[method].replace(max_steps=most, **tuned, **own)
        setup = parse("none" if method == "IG" else text)
        for i in range(seeds):
            experiment = TrainingExperiment(
                dataset, name, (), setup.bottlenecks, seed=seed + i
            )
            larger[name, setup.label, method, i] = AttackExperiment(
                experiment, 0, attack, count, 1, victim_seed + i, seed=seed + i
            )
experiments.append(larger)

# %% tags=["hide-input"]
by = ["model", "network", "method"]
larger_table = pandas.DataFrame(columns=by)
if larger:
    results = run(experiments, store)
    found = results.frame(larger, scaling=scaling, label=(*by, "i"))
    larger_table = tables.attack_table(found, by)
    larger_table["row"] = larger_table[by].agg(", ".join, axis=1)
    each = "; ".join(
        f"{name}: {count} victims on each, {most} steps"
        for name, _, count, most in sized
    )
    display(
        tables.show(
            larger_table,
            columns={"row": "model, network, attack"} | scores,
            caption=f"Larger networks: {dataset}, fresh weights, {seeds} models ({each}), {scaled}, profile {profile}. {in_parentheses}",
        )
    )

# %% [markdown]
# In the published run `joint` finds {glue:text}`larger-vit-joint` % of the images behind the transformer's CVB, though stuck on all of them; Ignore {glue:text}`larger-vit-ignore` %. (IG on the plain transformer is no yardstick
# here: with the prior's weight of the paper's text, 0.01, its loss ends *below* that of the truth, in an image that is too smooth.)
#
# ResNet-18 is hard for every attack here in so few steps. Without a bottleneck IG finds {glue:text}`larger-resnet-ig` %. Behind the CVB Ignore finds {glue:text}`larger-resnet-ignore` %, and `joint` {glue:text}`larger-resnet-joint` %.
# It is stuck on every victim, above the loss of the truth. So the CVB does not bring this network's ASR to zero either, and how much it protects cannot be told from {glue:text}`resnet-steps` steps.
#
# ## Harder for the attacker
#
# One image, a known label and 32 × 32 pixels are what the paper grants. How much of that do the attacks need? Once more, each row changes one thing of `joint` on {glue:text}`recovered-network`:

# %% tags=["experiment"]
harder = {}
for i, experiment in ours.items():
    harder["one image of 32 × 32, label known", i] = experiment
    inferred = replace(experiment, share_labels=False)
    harder["label read off the gradient", i] = inferred
for batch in batch_sizes:
    for name, more in {
        "joint": "",
        "joint, layer by layer": ", layer by layer",
    }.items():
        for i in range(seeds):
            experiment = small[parse(networks[-1]).label, name, i]
            some = max(1, grid_victims // batch)
            experiment = replace(experiment, victims=some, batch_size=batch)
            harder[f"batches of {batch}{more}", i] = experiment
for size in image_sizes:
    for i, experiment in ours.items():
        resized = replace(experiment.training, dataset=f"{dataset}@{size}")
        experiment = replace(experiment, training=resized)
        harder[f"images of {size} × {size}", i] = experiment
experiments.append(harder)

# %% tags=["hide-input"]
results = run(experiments, store)
harder_table = tables.attack_table(
    results.frame(harder, scaling=scaling, label=("what", "i")), "what"
)
tables.show(
    harder_table,
    columns={"what": "joint"} | scores,
    caption=f"Joint where it is harder, on {shown[-1]}: {about[grid_steps]}. {in_parentheses[:-1]}, those of batches over the batches.",
)

# %% tags=["hide-input"]
inferred = [
    results[experiment].figures["label_accuracy"]
    for (what, _), experiment in harder.items()
    if not experiment.share_labels
]
share = f"{100 * min(inferred):.0f}" if inferred else "–"
model_of = partial(models.build, model, num_classes=10, seed=0)
one = results[last["joint"]].images("truth")[0]
shapes = {
    label: model_of(
        input_shape=tuple(one.shape), bottlenecks=setup.bottlenecks
    ).noise_shapes
    for label, setup in setups.items()
    if setup.batch_size == 1
}
counts = {
    label: sum(torch.Size(shape).numel() for shape in several)
    for label, several in shapes.items()
}
maps = [" × ".join(map(str, shape)) for shape in shapes.get(shown[-1], ())]
count = counts.get(shown[-1], 0)
few, many = min(batch_sizes), max(batch_sizes)
cvb, precode = "CVB P=1, k=5, s=1/2, β=1e-1", "PRECODE P=1, K=8"
redrawn = first[
    first["method"].isin(
        ["IG", "Ignore", "expectation", "joint, noise redrawn"]
    )
    & first["network"].map(lambda n: bool(setups[n].bottlenecks))
]
times = redrawn["loss"] / redrawn["loss_at_truth"]
entries = first.loc[first["network"] == shown[-1], "entries"].iloc[-1]
at = {n: cvb.replace("P=1", f"P={n}") for n in ("2", "3", "1+2+3")}
of_pixel, exact = cvb.replace("k=5", "k=1"), f"{cvb}, exact KL"
of_vit, layered = cvb.replace("k=5", "k=3"), "joint, layer by layer"
known, silent = "noise known, layer by layer", "no noise at all"
in_noise = partial(tables.quote, noise_table)
spent = dict(zip(architectures, architecture_steps, strict=True))
limits = sorted({grid_steps, steps, trained_steps})
of_resnet = cvb.replace("1e-1", "5e-5")
large = " × ".join(f"{n}" for n in image_sizes[:1] * 2)
numbers = {
    "recovered-network": shown[-1],
    "recovered-dataset": dataset,
    "recovered-profile": profile,
    "recovered-images": f"{victims * seeds}",
    "recovered-models": f"{seeds} model{'s' * (seeds > 1)}",
    "noise-shape": " + ".join(maps),
    "noise-count": f"{count:,}",
    "pixel-count": f"{one.numel():,}",
    "unknown-count": f"{count + one.numel():,}",
    "entry-count": f"{entries:,}",
    "stuck-times": f"{times.min():.0f} to {times.max():.0f}",
    "about-fresh": f"{about[steps]}. {expectation.removesuffix('.')}",
    "about-grid": about[grid_steps],
    "about-trained": after,
    "rounds-last": f"{end}",
    "about-steps": " to ".join(f"{n:,}" for n in (limits[0], limits[-1])),
    "grid-images": f"{grid_victims * seeds}",
    "sigma-fresh": in_noise("sigma", 2, network=cvb, rounds=0),
    "sigma-one": in_noise("sigma", 2, network=cvb, rounds=1),
    "similar-one": in_noise("similarity", 2, network=cvb, rounds=1),
    "sigma-last": in_noise("sigma", 3, network=cvb, rounds=end),
    "sigma-least": f"{torch.nn.functional.softplus(torch.tensor(-5.0)):.3f}",
    "sigma-exact": in_noise("sigma", 2, network=exact, rounds=end),
    "sigma-precode": in_noise("sigma", 2, network=precode, rounds=end),
    "mu-precode": in_noise("mu", 2, network=precode, rounds=end),
    "trained-networks": " and ".join(parse(t).label for t in trained),
    "compared-networks": "; ".join(parse(t).label for t in compared),
    "patch-after": f"{patch_rounds[-1]} rounds of training on {patch_training_set}",
    "larger-steps": " and ".join(dict.fromkeys(map(str, spent.values())))
    or "–",
    "resnet-steps": f"{spent.get('resnet18', '–')}",
    "expectation-draws": f"{attackers['expectation'].noise.samples}",
    "precode-count": f"{counts.get(precode, '–')}",
    "batch-few": f"{few}",
    "batch-many": f"{many}",
    "labels-right": share,
    "large-size": large,
}
quoted = {  # by the columns that come first in each table
    "recovered-published": (first, shown[-1], published),
    "recovered-joint": (first, shown[-1], "joint"),
    "redrawn-cvb": (first, cvb, "joint, noise redrawn"),
    "redrawn-precode": (first, precode, "joint, noise redrawn"),
    "grid-first": (grid_table, cvb, "joint"),
    "grid-second": (grid_table, at["2"], "joint"),
    "grid-third": (grid_table, at["3"], "joint"),
    "grid-third-ignore": (grid_table, at["3"], "Ignore"),
    "grid-all-ignore": (grid_table, at["1+2+3"], "Ignore"),
    "grid-all-known": (grid_table, at["1+2+3"], "noise known"),
    "grid-pixel-known": (grid_table, of_pixel, "noise known"),
    "variant-one": (variants_table, "as above"),
    "variant-two": (variants_table, "two updates of the same image"),
    "sets-xray": (sets_table, "pneumoniamnist", "joint"),
    "sets-digits": (sets_table, "mnist", "joint"),
    "sets-blood": (sets_table, "bloodmnist_victims", "joint"),
    "sets-derma": (sets_table, "dermamnist_victims", "joint"),
    "sets-retina": (sets_table, "retinamnist", "joint"),
    "late-one-ig": (trained_table, cvb, 1, "IG"),
    "late-one-joint": (trained_table, cvb, 1, layered),
    "late-one-redrawn": (trained_table, cvb, 1, "IG, layer by layer"),
    "late-none-ig": (trained_table, "none", end, "IG"),
    "patch-precode": (patch_table, precode, "compressed, p=0.9"),
    "patch-cvb": (patch_table, of_vit, "compressed, p=0.9"),
    "larger-vit-joint": (larger_table, "vit", of_vit, "joint"),
    "larger-vit-ignore": (larger_table, "vit", of_vit, "Ignore"),
    "larger-resnet-ig": (larger_table, "resnet18", "none", "IG"),
    "larger-resnet-ignore": (larger_table, "resnet18", of_resnet, "Ignore"),
    "larger-resnet-joint": (larger_table, "resnet18", of_resnet, "joint"),
    "harder-few": (harder_table, f"batches of {few}"),
    "harder-few-layered": (harder_table, f"batches of {few}, layer by layer"),
    "harder-many": (harder_table, f"batches of {many}"),
    "harder-many-layered": (harder_table, f"batches of {many}, layer by layer"),
    "harder-large": (harder_table, f"images of {large}"),
}
means = {"ig": "IG", "redrawn": "IG, layer by layer", "joint": layered}
means |= {"known": known, "silent": silent}
for which, of in {"": cvb, "precode-": precode, "exact-": exact}.items():
    for name, method in means.items():
        quoted[f"late-{which}{name}"] = trained_table, of, end, method
recovered = {
    "grid-pixel-r": (grid_table, of_pixel, "joint"),
    "grid-first-r": (grid_table, cvb, "joint"),
    "late-exact-r": (trained_table, exact, end, layered),
    "variant-prior-r": (variants_table, "prior ½‖ε‖²"),
}
in_ssim = {
    "variant-one-ssim": quoted["variant-one"],
    "variant-four-ssim": (variants_table, "four updates of the same image"),
    "late-precode-redrawn-ssim": quoted["late-precode-redrawn"],
    "late-precode-joint-ssim": quoted["late-precode-joint"],
}
never_done = {
    "stuck-joint": (first, shown[-1], "joint"),
    "late-stuck": (trained_table, cvb, end, "IG"),
}
for column, rows in {
    "asr_text": quoted,
    "ssim_text": in_ssim,
    "noise_correlation": recovered,
    "stuck": never_done,
}.items():
    numbers |= {
        key: tables.quote(table, column, **dict(zip(table, row, strict=False)))
        for key, (table, *row) in rows.items()
    }
for key, text in numbers.items():
    glue(key, text, display=False)
Markdown(f"All experiments of this page: {tables.note(results, profile)}.")

# %% [markdown]
# In the published run the label costs nothing: {glue:text}`labels-right` % were read off the gradients without an error. Batches cost a great deal. With {glue:text}`batch-few` images in an
# update {glue:text}`harder-few` % are still found, layer by layer {glue:text}`harder-few-layered` %; with {glue:text}`batch-many` {glue:text}`harder-many` % and {glue:text}`harder-many-layered` %, where without a bottleneck {glue:text}`09_what_stands.ipynb::range-small:s` % are, with 800 steps of IG and with four times as many layer by layer ({doc}`What stands <09_what_stands>`, where the longer attack finds hardly more behind the CVB). Larger images have more
# unknowns: at {glue:text}`large-size` pixels and the same number of steps `joint` finds {glue:text}`harder-large` %. In all of these rows most searches are stuck, so that more steps
# or better attacks may find more. They are limits of our attack, and no proof that the bottleneck holds.
#
# ## Limits
#
# - Not measured: ResNet-18 with more than {glue:text}`resnet-steps` steps, of which each takes many times as long as the CNN's ({doc}`Speed <12_benchmarks>`), or on trained weights; more than {glue:text}`rounds-last` rounds; and what clients send after several local steps, which is no gradient anymore
#   ({cite:t}`dimitrov2022fedavg` attack that).
# - Three settings resisted `joint` on fresh weights: kernels of one pixel, a single kernel, and bottlenecks at all three positions. In the first it is the noise that protects, in the others
#   the gradient seems to say little besides; and at all three positions Ignore finds {glue:text}`grid-all-ignore` %, so that "resist" is about one attack. A bottleneck *can* hide an image from our search, if the search cannot solve for it; we know of no proof of
#   which bottlenecks those are, and a better search may have more luck.
# - The intervals count images as independent; those of one model share its weights. Victims are drawn from all training images, so that some are of the tenth that each client keeps for validation.
#
# ## Take-away
#
# "ASR 0 %" is a statement about attacks that draw the noise anew: against a server that searches for it, with nothing that the paper does not grant, the CVB as recommended hid hardly any CIFAR-10 image of an untrained CNN, PRECODE hid few (the CVB hid more elsewhere: {glue:text}`sets-retina` % of the retinas were found), and on a
# transformer there is not even anything to search for. Training takes the CVB's noise away, and IG with another distance, prior and schedule finds most images; of the bottlenecks trained here only the one with the exact KL term at the CVB's weight kept
# its noise. What that is worth next to other defenses, and at what cost, is the question of {doc}`What stands <09_what_stands>`.
#
# ## Exercises
#
# **1.** In the attack by hand, take Ignore's mask into `joint`: `ATTACKS["joint"].replace(layers="before-decoder")`. What becomes of the digits, and why?
#
# ```{admonition} Solution
# :class: dropdown
# They are lost, as in the table of variants: before the decoder the noise leaves its trace only in what is back-propagated, and that does not pin it down. The gradients that the paper calls stochastic are those that give the noise away.
# ```
#
# **2.** Attack another bottleneck, other images.
#
# ````{admonition} Solution
# :class: dropdown
# ```bash
# gleak run 08_breaking_the_bottleneck --profile quick -p networks "['none', 'precode(2, k=16)']" --output tryout
# gleak run 08_breaking_the_bottleneck --profile quick -p grid "['cvb(1, kernel_size=3, scale=1, beta=1e-2, kl=\"exact\")', 'cvb(1) + cvb(2)']" --output tryout
# gleak run 08_breaking_the_bottleneck --profile cpu -p dataset fashionmnist -p sets "[]"
# ```
# The last replaces the chapter in your copy.
# ````
