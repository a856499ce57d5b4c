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
# PRECODE and the CVB put noise into a network, and with it into its gradients. An attacker who draws noise of their own cannot match
# them, and one who looks only at what stands before the noise has little to match. So far so good: with the CVB at the
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

# %% tags=["remove-input"]
from functools import partial

from gleak_lib import plots
from gleak_lib.chapters import open_store, parameters
from gleak_lib.experiments import run, tables
from IPython.display import Markdown, display
from myst_nb import glue

from gleak_book import breaking_report as report

settings = parameters.check("08_breaking_the_bottleneck", globals())

# %% tags=["experiment", "hide-cell"]
from gleak_book import breaking as plan

experiments = plan.cells(**settings)

# %% tags=["remove-input"]
store = open_store(profile)
found = dict(zip(experiments, run(experiments, store), strict=True))
Markdown(tables.note(found.values(), profile))

# %% tags=["hide-input"]
originals, rows, numbers = report.headline(settings, found)
recovered = plots.picture(
    plots.reconstructions(originals, rows, columns=4, scaling=scaling),
    "Three rows of small images: the originals; below them what the published attack finds behind the bottleneck, "
    "blotches without likeness; and what the search for the noise recovers.",
)
glue("recovered", recovered, display=False)
for name, text in numbers.items():
    glue(f"recovered-{name}", text, display=False)

# %% [markdown]
# ```{glue:figure} recovered
# :name: fig-recovered
#
# Behind the {glue:text}`recovered-network`: originals, what the published attack makes of their gradients, and what a search for image and noise makes of the same
# gradients. The first images of the first model, none picked out; fresh weights, {glue:text}`recovered-dataset`, profile {glue:text}`recovered-profile`. Of {glue:text}`recovered-images` images on
# {glue:text}`recovered-models` the first finds {glue:text}`recovered-published` % and the second {glue:text}`recovered-joint` % (95 % intervals).
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
# The attacks of this chapter stay inside that, but for the section on its limits: the same server, the same knowledge, one image, known labels, the weights that the server
# sent. What they add is the question which noise would explain the gradient. Two things differ from the paper's attack. They match *all* gradients, the
# stochastic ones included. And they take 1,000 to 2,000 steps with a fixed schedule instead of up to 20,000.
# Their settings were chosen on CIFAR-10: those of `joint` on fresh weights and on images drawn apart from those below; those of the layer-by-layer form on eight images, also drawn apart, but in part on
# weights that are attacked here, the first model's.
#
# ## One unknown more
#
# With a CVB at $P=1$ of the CNN, the noise is a map of 8 × 14 × 14 = 1,568 numbers. Together with the 3,072 of the image that makes 4,640
# unknowns, and the client shares 72,490 gradient entries. Counting alone does not prove that they can be solved for, but nothing speaks against trying:
#
# $$ \min_{x', \varepsilon'} \; 1 - \cos\big(\nabla \mathcal{L}(F(x', \varepsilon'), y),\, G_C\big) + \lambda\, \mathrm{TV}(x')
#    + \gamma\, \Big|\tfrac{1}{d} \lVert \varepsilon' \rVert^2 - 1\Big|. $$
#
# The last term says that $d$ standard normal numbers have a mean square near one. The loss includes the KL term with its weight, which the server knows.

# %%
from gleak_lib.attacks import ATTACKS

ATTACKS["joint"]

# %% [markdown]
# | attack | the noise of the dummy's bottleneck | gradients that are matched |
# |---|---|---|
# | IG {cite:p}`geiping2020inverting` | drawn anew at each step | all |
# | Ignore {cite:p}`scheliga2023cvb` | drawn anew | before the first decoder |
# | expectation | four draws a step, their gradients averaged | before the first decoder |
# | **joint** | searched for, with the image | all |
# | joint, layer by layer | searched for | all, each tensor's cosine counting alike |
# | noise known | told by an oracle: no attack, but a yardstick for `joint` (no bound, since its search can fail as well) | all |
#
# ## Fresh weights

# %% tags=["hide-input"]
first = report.first_table(settings, found)
columns = {"label": "network", "method": "attack"} | report.SCORES
tables.show(
    first,
    columns=columns | report.OPTIMIZED | report.RECOVERED,
    digits={"stuck": 0},
    caption=report.caption(settings, victims, steps)
    + f" Expectation: {grid_victims} victims each, {grid_steps:,} steps.",
)

# %% tags=["hide-input"]
plots.intervals(report.for_plot(first), xlabel="ASR %, with 95 % intervals")

# %% tags=["remove-input"]
lines = [
    f"- {network}: Ignore {said(method='Ignore')} %, `joint` {said(method='joint')} %, layer by layer {said(method='joint, layer by layer')} %, told the noise "
    f"{said(method='noise known')} %; recovered noise correlates with the client's by {tables.quote(first, 'noise_correlation', label=network, method='joint')}"
    for network in first["label"].unique()
    for said in [partial(tables.quote, first, "asr_text", label=network)]
    if network != "none"
]
Markdown(
    f"Images found in this run (profile {profile}, 95 % intervals in brackets):\n\n"
    + "\n".join(lines)
)

# %% [markdown]
# In the published run the search for the noise changes the result. Behind the CVB, IG, Ignore and the expectation find none of the images, as the paper says of the first two; `joint` finds nearly all, behind
# PRECODE as well. The noise comes along, the CVB's 1,568 numbers less well than the eight of PRECODE.
#
# The oracle, which is told the noise, finds no more: the intervals overlap. So on fresh weights no cost of a hidden $\varepsilon$ to the attacker can be seen here. It
# did cost the published attacks nearly everything: they match gradients that another draw has shaped, or leave out those behind the decoder. With Ignore's mask `joint` finds neither
# image nor noise (see the variants below). So it is the "stochastic" gradients that give the noise away.
#
# Two columns keep us honest. *Loss at the truth* is what an attack's loss would be at the client's own image and noise. *Stuck* is the share of victims whose
# search ended at more than twice that. All searches that redraw the noise are stuck: their median losses are about 18 to 80 times that at the truth. But `joint` is stuck for two thirds as well: it succeeds
# without arriving, so that more steps or restarts may find more.

# %% tags=["hide-input"]
originals, pictures = report.pictures(plan.first(settings)[-1:], found)
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %% [markdown]
# ## Where, how wide, how strong

# %% tags=["hide-input"]
grid_table = report.grid_table(settings, found)
tables.show(
    grid_table,
    columns=columns | report.OPTIMIZED | report.RECOVERED,
    digits={"stuck": 0},
    caption=report.caption(settings, grid_victims, grid_steps),
)

# %% tags=["hide-input"]
plots.intervals(
    report.for_plot(grid_table, "ssim"),
    xlabel="mean SSIM, with 95 % intervals",
    threshold=0.5,
)

# %% tags=["remove-input"]
resisting = grid_table[
    (grid_table["method"] == "joint") & (grid_table["asr"] < 50)
]
lines = [
    f"- {row.label}: `joint` {row.asr_text} %, at an SSIM of {row.ssim:.2f}; Ignore {said(method='Ignore')} %, told the noise {said(method='noise known')} %; "
    f"the noise that `joint` finds correlates by {row.noise_correlation:.2f}"
    for row in resisting.itertuples()
    for said in [partial(tables.quote, grid_table, "asr_text", label=row.label)]
]
Markdown(
    f"Settings of which `joint` finds less than half in this run (profile {profile}):\n\n"
    + ("\n".join(lines) or "- none of these")
)

# %% [markdown]
# In the published run PRECODE is broken at every position and width of the grid, and the CVB with kernels of five pixels at every single position: 92 % at the first, 86 at the second, 89 at the
# third, where Ignore alone finds 86. On fresh weights the form of the KL term makes no difference that shows.
#
# Three settings resist `joint`: kernels of one pixel, a bottleneck of a single kernel ($s = 1/16$), and bottlenecks at all three positions. None of their 36 images is found by it. That is not the same as nothing
# being found: at all three positions *Ignore* finds 11 %, more than `joint` (the intervals overlap), and there the oracle, which knows the noise, finds a third. Knowing the noise tells the three apart. With kernels of one pixel 81 % are found then, so there it is the noise that
# protects. How well it is recovered does not say so: the correlation is 0.83, and with kernels of five pixels, where `joint` finds nearly all, it is 0.84. At three positions and with the single
# kernel even the oracle finds a minority: these networks' gradients seem to say less about the
# image, noise or not. At three positions, moreover, the search ends *below* the loss of the truth. It has found another image and
# other noise that explain the gradient as well, and an attacker would not know. For the paper's choice, `joint` finds as many as the oracle, within the intervals.
#
# ## Variants

# %% tags=["hide-input"]
tables.show(
    report.variants_table(settings, found),
    columns={"label": "joint"}
    | report.SCORES
    | report.OPTIMIZED
    | report.RECOVERED,
    digits={"stuck": 0},
    caption=report.caption(settings, grid_victims, grid_steps),
)

# %% [markdown]
# In the published run the choices in the formula matter little for the success rate: but for the mask, all its intervals overlap. The other prior finds the noise better (0.92) and the image no better. In mean SSIM the layer-by-layer form
# is behind the others on fresh weights, by more than the intervals, and taking $z$ for the unknown is ahead, by less. One choice matters a great deal: joined with Ignore's mask, the search finds nothing. The gradients behind the
# decoder are what pins the noise down.
#
# A client that sends several gradients of the same image under the same weights helps the attacker. Each brings unknown noise of its own, but the image is shared: with
# two updates, all 36 are found (92 % with one; the intervals overlap).
#
# ## Other image sets
#
# Each with the CVB that the paper chose for it (Tables X and XII).

# %% tags=["hide-input"]
if sets:
    sets_table = report.sets_table(settings, found)
    display(
        tables.show(
            sets_table,
            columns={
                "label": "images",
                "method": "attack",
                "psnr": "PSNR dB (median)",
            }
            | report.SCORES
            | {"stuck": "stuck %"}
            | report.RECOVERED,
            digits={"psnr": 1, "stuck": 0},
            caption=report.caption(
                settings | {"dataset": "fresh weights"},
                grid_victims,
                grid_steps,
            ),
        )
    )

# %% [markdown]
# In the published run Ignore finds nothing on any of them. `joint` finds all of the X-rays, nearly all digits, most blood cells, 61 % of the skin lesions and 36 % of the retinas.
# The last three sets are those on which it is stuck on more than nine victims of ten; on the blood cells it succeeds all the same. Of the skin lesions the PSNR is that of the digits and blood cells, where far
# more images pass the threshold, perhaps because on smooth images the same error costs more SSIM. The retinas' PSNR is lower, too. The settings of `joint` were tuned on other CIFAR-10 images, and
# on no other set.
#
# ## After training
#
# A server attacks when it likes, and the weights that it sends are trained ones most of the time. Training moves $\mu$ and $\sigma$:

# %% tags=["hide-input"]
tables.show(
    report.noise_table(settings, found),
    columns={
        "label": "network",
        "rounds": "rounds",
        "sigma": "mean σ",
        "mu": "RMS μ",
        "ratio": "RMS μ / mean σ",
        "similarity": "similarity of gradients under other noise",
    },
    digits={"sigma": 3, "mu": 2, "ratio": 1, "similarity": 2},
    caption=f"Profile {profile}, {dataset}: means over {seeds} models.",
)

# %% [markdown]
# In the published run one round suffices: with the KL term of the paper's public code, $\sigma$ of the CVB falls from 0.68 to 0.10 and the gradients of an image under two draws of
# noise agree by 0.96. After 20 rounds it is 0.014, near the 0.007 that is the least its form allows ({doc}`04_cvb_hyperparameters`), and the gradients agree almost completely. The noise is still drawn, but it changes hardly anything. The exact KL term keeps
# $\sigma$ at 0.89. PRECODE, which has the exact term too but a tenth of its weight, ends between: 0.26, and $\mu$ grows to 0.88.

# %% tags=["hide-input"]
late = report.trained_table(settings, found)
tables.show(
    late,
    columns={"label": "network", "rounds": "rounds", "method": "attack"}
    | report.SCORES
    | report.OPTIMIZED
    | report.RECOVERED,
    digits={"stuck": 0},
    caption=report.caption(settings, grid_victims, trained_steps),
)

# %% tags=["hide-input"]
plots.intervals(
    report.trained_plot(late),
    xlabel="ASR % on trained weights, with 95 % intervals",
)

# %% [markdown]
# Four things can be read off the published run.
#
# **After one round the CVB is open to plain IG.** The attack that found nothing on fresh weights now finds 64 % of the images (48 to 78), because hardly any noise is left. Searching
# for the noise even hurts here (19 %): the loss ends *below* that of the truth, so that the search explains with noise what is wrong with the image.
#
# **After 20 rounds IG fails, but not because of the noise.** It finds one image of 36. The same attack with every layer's cosine counting alike and a stronger image prior
# finds 69 % (53 to 82), whether it redraws the noise or searches for it. Knowing the noise gives 75 %, and a client without any noise 83 %, within the intervals. So what stopped IG
# is its distance and its prior (our guess: trained layers' gradients differ in length, and the cosine over all of them looks at the longest). IG is stuck for
# every victim. A failed optimizer is no privacy.
#
# **PRECODE keeps some of its noise, and loses it to the search:** 25 % with IG, 58 % (42 to 73) with `joint` layer by layer, 61 % with the noise known, 67 % without noise.
#
# **The exact KL term does protect, at a price.** `joint` finds 8 % (3 to 22), with the noise known it is 36 %, and without noise 33 %. So there are two effects. The trained
# network itself takes the 92 % of the one without bottleneck down to 33: its gradients tell less even when nothing is random. The noise takes these down to 8;
# the search finds it less well (correlation 0.66), and here the intervals still touch. What it costs in accuracy stands in {doc}`What stands <09_what_stands>`.
#
# Without a bottleneck 92 % are found on weights as old as these, by either distance. The noise table shows means over models, and losses are medians over victims, so that differences between models and between victims cannot be seen; the intervals count
# victims as independent, although twelve each share a model.

# %% tags=["hide-input"]
lines = plan.trained(settings)[max(rounds)]
originals, pictures = report.pictures(lines, found)
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %% [markdown]
# (vit-closed-form)=
# ## A vision transformer needs no search
#
# A vision transformer cuts the image into $P$ patches $x_p$, embeds each by one matrix, and adds a learned position embedding. With one image
# in the update, the gradient of that position embedding *is* the error signal at each patch, $\Delta$ ($P \times F$), and the
# gradient of the patch embedding is $G = \Delta^\top X$. Both are shared. So $X$ follows by least squares, without labels, without a single step,
# and whatever noise a bottleneck adds behind the embedding is already in $\Delta$. The leak through the position embedding is known from
# {cite:t}`lu2022april`; that a variational bottleneck does not touch it is what is added here.

# %% tags=["hide-input"]
tables.show(
    report.patches_table(settings, found),
    columns={
        "label": "network",
        "shared": "shared gradients",
        "psnr": "PSNR dB (median)",
    }
    | report.SCORES,
    digits={"psnr": 1},
    caption=f"Profile {profile}, ViT: {victims * seeds} victims on {seeds} models. In brackets 95 % intervals.",
)

# %% [markdown]
# In the published run every image comes back, to the precision of float32, from fresh weights and after two rounds of training on Retina, through PRECODE and through the CVB. Clipping only
# scales $G$ and $\Delta$ alike. What hurts is what disturbs $\Delta$: behind a bottleneck noise of 1e-4 and eight bits still leave nearly perfect images, and noise of
# 1e-3 images of which most are found; compression to a tenth leaves 2 % behind PRECODE and none behind the CVB. The plain transformer is the *least* exposed of the
# three to every disturbance but clipping (a likely reason, not measured here: its patches' error signals are the most alike, so that least squares amplify the noise most). So in this run a bottleneck
# behind the embedding does not only fail to protect; it makes the leak more robust.
#
# Of a batch the two gradients are sums over its images, one equation for several unknowns, and the closed form refuses them.
#
# ## Larger networks
#
# Searching works on them, too, as far as two cores allow. ResNet-18 gets 300 steps and a transformer as many, where the paper's attack takes up to 20,000. The
# prior's weight for ResNet-18, 0.1, is the one that {doc}`Other architectures <06_other_architectures>` found best *without* a bottleneck, and all three attacks get it; the learning rates of `joint` were set on four other images.

# %% tags=["hide-input"]
if architectures:
    display(
        tables.show(
            report.architectures_table(settings, found),
            columns=columns | report.OPTIMIZED | report.RECOVERED,
            digits={"stuck": 0},
            caption=f"Profile {profile}, {dataset}, {seeds} models each. "
            + "; ".join(
                f"{name}: {number} victims a model, {most} steps"
                for name, number, most in zip(
                    architectures,
                    architecture_victims,
                    architecture_steps,
                    strict=True,
                )
            ),
        )
    )

# %% [markdown]
# In the published run `joint` finds all 33 images behind the transformer's CVB; Ignore finds none. (IG on the plain transformer is no yardstick
# here: with the prior's weight of the paper's text, 0.01, its loss ends *below* that of the truth, in an image that is too smooth.)
#
# ResNet-18 is hard for every attack here in so few steps. Without a bottleneck IG finds about a quarter. Behind the CVB Ignore finds none, and `joint` four images of 33.
# It is stuck on every victim, above the loss of the truth. So the CVB does not bring this network's ASR to zero either, and how much it protects cannot be told from 300 steps.
#
# ## The limits of these attacks
#
# One image, a known label and 32 × 32 pixels are what the paper grants. How much of that do the attacks need?

# %% tags=["hide-input"]
limits = report.limits_table(settings, found)
tables.show(
    limits,
    columns={"label": "joint on the last network above"}
    | report.SCORES
    | {"labels": "labels right %"}
    | report.OPTIMIZED
    | report.RECOVERED,
    digits={"stuck": 0, "labels": 0},
    caption=report.caption(settings, grid_victims, grid_steps),
)

# %% [markdown]
# In the published run the label costs nothing: it was read off the gradient of all 36 images without an error. Batches cost a great deal. With two images in an
# update about half are still found, with four one image of 36 at best, where without a bottleneck about 60 % are ({doc}`What stands <09_what_stands>`). Larger images have more
# unknowns: at 48 × 48 pixels and the same number of steps `joint` finds 11 %. In all of these rows most searches are stuck, so that more steps
# or better attacks may find more. They are limits of our attack, and no proof that the bottleneck holds.
#
# Not measured here: ResNet-18 with more than 300 steps, of which each takes many times as long as the CNN's ({doc}`Speed <12_benchmarks>`), or on trained weights; more than 20 rounds; and what clients send after several local steps, which is no gradient any more
# ({cite:t}`dimitrov2022fedavg` attack that).
#
# ## What follows
#
# "ASR 0 %" is a statement about attacks that draw the noise anew. Against a server that searches for it, and that needs nothing that the paper does not grant it,
# the CVB as recommended hid hardly any image of an untrained CNN here, PRECODE none to speak of, and on a transformer with one image in an update there is not even
# anything to search for.
#
# On trained weights the CVB's noise as its code trains it is nearly gone after a round. What is left is a network that is harder to invert, and it took no more than another distance and a stronger prior to
# find most images. Of the bottlenecks trained here only the one with the exact KL term at the CVB's weight kept its noise.
#
# Three networks resisted `joint` with fresh weights: kernels of one pixel, a single kernel, and bottlenecks at all three positions. In the first it is the noise that protects, in the others
# a gradient that says little besides; and at all three positions Ignore finds one image in nine, so that "resist" is about one attack. A bottleneck *can* hide an image from our search, if the search cannot solve for it; we know of no proof of
# which bottlenecks those are, and a better search may have more luck. What that is worth next to
# other defenses, and at what cost, is the question of {doc}`What stands <09_what_stands>`.
#
# ## Try it
#
# Another bottleneck, other images, more steps:
#
# ```console
# gleak run 08_breaking_the_bottleneck --profile quick -p networks "['none', 'precode(2, k=16)']" --output tryout
# gleak run 08_breaking_the_bottleneck --profile quick -p grid "['cvb(1, kernel_size=3, scale=1, beta=1e-2, kl=\"exact\")', 'cvb(1) + cvb(2)']" --output tryout
# gleak run 08_breaking_the_bottleneck --profile cpu -p dataset fashionmnist -p sets "[]"
# ```
