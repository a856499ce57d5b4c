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
# first position {cite:t}`scheliga2023cvb` report an attack success rate (ASR) of 0 %.
#
# But the noise is not lost. The client drew one $\varepsilon$, and *that* one shaped every gradient behind the decoder. This chapter treats it as what it is to
# the server: a further unknown. It searches for the image and the noise together, on fresh weights and on trained ones, measures how much of the
# noise it finds, and asks what it is that protects a bottleneck where something does. These attacks are this book's own; the nearest relative is
# the one that recovers dropout masks {cite:p}`scheliga2023dropout`.

# %% tags=["parameters"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
model: str = "cnn"  # of all tables but those of larger models
networks: list[str] = ["none", "cvb 1 5 1/2 1e-1"]  # of the first table
grid: list[str] = ["cvb 1 5 1/2 1e-1", "precode 1 8"]  # positions, sizes
trained: list[str] = ["cvb 1 5 1/2 1e-1"]  # attacked after `rounds`
compared: list[str] = ["none"]  # attacked after the last of `rounds`
rounds: list[int] = [2]  # rounds of training after which to attack
training_rounds: int = 2  # federated rounds
trained_steps: int = 100  # of attacks on trained weights
sets: list[str] = []  # further image sets, fresh weights
architectures: list[str] = []  # larger models, fresh weights
architecture_networks: list[str] = []  # the bottleneck of each
architecture_victims: list[int] = []  # victims of each
architecture_steps: list[int] = []  # steps on each
patch_networks: list[str] = ["cvb 1 3 1/2 1e-1"]  # on a ViT
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
from gleak_lib import plots
from gleak_lib.experiments import open_store, parameters, run, tables
from gleak_lib.experiments.plans import breaking as plan
from gleak_lib.experiments.plans import breaking_report as report
from IPython.display import Markdown, display

settings = parameters.check("08_breaking_the_bottleneck", globals())
cells = plan.cells(**settings)
store = open_store(profile)
found = dict(zip(cells, run(cells, store), strict=True))
Markdown(tables.note(found.values(), profile))

# %% [markdown]
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
# The attacks of this chapter stay inside that: the same server, the same knowledge, one image, known labels, the weights that the server
# sent. What they add is the question which noise would explain the gradient. Two things differ from the paper's attack. They match *all* gradients, the
# stochastic ones included. And they take 1,000 to 2,000 steps with a fixed schedule instead of up to 20,000.
# Their settings were chosen on other draws of CIFAR-10 images: those of `joint` on fresh weights, those of the layer-by-layer form on eight images and weights of which one set, the
# first model's, is attacked here as well.
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

# %%
first = report.first_table(settings, found)
columns = {"label": "network", "method": "attack"} | report.SCORES
tables.show(
    first,
    columns=columns | report.OPTIMISED | report.RECOVERED,
    digits={"stuck": 0},
    caption=report.caption(settings, victims, steps)
    + f" Expectation: {grid_victims} victims each, {grid_steps:,} steps.",
)

# %%
plots.intervals(report.for_plot(first), xlabel="ASR %, with 95 % intervals")

# %% [markdown]
# In the published run the picture turns over. Behind the CVB, IG, Ignore and the expectation find none of the images, as the paper says. `joint` finds 96 % of
# them (86 to 99), with a mean SSIM of 0.81. Behind PRECODE it is 92 %, and layer by layer all 48. The noise comes along: what was
# recovered correlates with the client's own by 0.84 for the CVB's 1,568 numbers, and by 0.98 for the eight of PRECODE.
#
# The oracle, which is told the noise, finds no more (90 and 88 %). So on fresh weights a hidden $\varepsilon$ costs the attacker nothing that can be seen here. It
# did cost the published attacks everything: they match gradients that another draw has shaped, or leave out those that
# tell most. It is the "stochastic" gradients that give the noise away.
#
# Two columns keep us honest. *Loss at the truth* is what an attack's loss would be at the client's own image and noise. *Stuck* is the share of victims whose
# search ended at more than twice that. All searches that redraw the noise are stuck, by one to two orders of magnitude: no image
# explains a gradient under somebody else's noise. But `joint` is stuck for two thirds as well, a little above its best. It succeeds
# without arriving, and more steps or restarts would find more.

# %%
originals, pictures = report.pictures(plan.first(settings)[-1:], found)
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %% [markdown]
# ## Where, how wide, how strong

# %%
grid_table = report.grid_table(settings, found)
tables.show(
    grid_table,
    columns=columns | report.OPTIMISED | report.RECOVERED,
    digits={"stuck": 0},
    caption=report.caption(settings, grid_victims, grid_steps),
)

# %%
plots.intervals(
    report.for_plot(grid_table, "ssim"),
    xlabel="mean SSIM, with 95 % intervals",
    threshold=0.5,
)

# %% [markdown]
# In the published run PRECODE falls at every position and width (97 to 100 %), and the CVB of five pixels at every single one: 92 % at the first, 86 at the second, 89 at the
# third, where Ignore alone finds as many. On fresh weights the form of the KL term makes no difference (89 %).
#
# Three settings resist `joint`: kernels of one pixel, a bottleneck of a single kernel ($s = 1/16$), and bottlenecks at all three positions. None of their images is found, at an SSIM
# below 0.3. Knowing the noise tells them apart. With kernels of one pixel 81 % are found then, so it is the noise that protects: the search finds
# most of it (0.83), and not enough. At three positions it is 36 %, and with the single kernel 19: these networks' gradients say less about the
# image, noise or not. At three positions, moreover, the search ends *below* the loss of the truth. It has found another image and
# other noise that explain the gradient as well, and an attacker would not know. For the paper's choice, `joint` does nearly as well as the oracle.
#
# ## Variants

# %%
tables.show(
    report.variants_table(settings, found),
    columns={"label": "joint"}
    | report.SCORES
    | report.OPTIMISED
    | report.RECOVERED,
    digits={"stuck": 0},
    caption=report.caption(settings, grid_victims, grid_steps),
)

# %% [markdown]
# In the published run the choices in the formula matter little: the other prior finds the noise better (0.92) and the image no better, and taking $z$ for the unknown or weighting the layers
# gives a little more. All intervals overlap. One choice matters: joined with Ignore's mask, the search finds nothing. The gradients behind the
# decoder are what pins the noise down.
#
# A client that sends several gradients of the same image under the same weights helps the attacker. Each brings unknown noise of its own, but the image is shared: with
# two updates, all 36 are found.
#
# ## Other image sets
#
# Each with the CVB that the paper chose for it (Tables X and XII).

# %%
if sets:
    display(
        tables.show(
            report.sets_table(settings, found),
            columns={
                "label": "images",
                "network": "network",
                "method": "attack",
            }
            | report.SCORES
            | report.RECOVERED,
            caption=report.caption(
                settings | {"dataset": "fresh weights"},
                grid_victims,
                grid_steps,
            ),
        )
    )

# %% [markdown]
# In the published run Ignore finds nothing on any of them. `joint` finds all of the X-rays, nearly all digits (97 %), 89 % of the blood cells, 61 % of the skin lesions and 36 % of the retinas.
# On the last two it is stuck on more than nine victims of ten, and their smooth images have to be found to a finer
# degree to reach the same SSIM: the reconstructions of skin lesions have a PSNR of 22 dB, as good as the others'. The settings of `joint` were tuned on other CIFAR-10 images, and
# on no other set.
#
# ## After training
#
# A server attacks when it likes, and the weights that it sends are trained ones most of the time. Training moves $\mu$ and $\sigma$:

# %%
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
# noise agree by 0.96; after 20 rounds it is 0.014, and they agree by 0.997. The noise is still drawn, but it no longer decides anything. The exact KL term keeps
# $\sigma$ at 0.89. PRECODE, which has that term too but a tenth of its weight, ends between: 0.26, and $\mu$ grows to 0.88.

# %%
late = report.trained_table(settings, found)
tables.show(
    late,
    columns={"label": "network", "rounds": "rounds", "method": "attack"}
    | report.SCORES
    | report.OPTIMISED
    | report.RECOVERED,
    digits={"stuck": 0},
    caption=report.caption(settings, grid_victims, trained_steps),
)

# %%
plots.intervals(
    report.trained_plot(late),
    xlabel="ASR % on trained weights, with 95 % intervals",
)

# %% [markdown]
# Four things can be read off the published run.
#
# **After one round the CVB is open to plain IG.** The attack that found nothing on fresh weights now finds 64 % of the images (48 to 78), because hardly any noise is left. Searching
# for the noise even hurts here (19 %): where the noise has little effect, it becomes a way to explain away what is wrong with the image, and the loss ends
# *below* that of the truth.
#
# **After 20 rounds IG fails, but not because of the noise.** It finds 3 %. The same attack with every layer's cosine counting alike and a stronger image prior
# finds 69 % (53 to 82), whether it redraws the noise or searches for it. Knowing the noise gives 75 %, and a client without any noise 83 %. So what stopped IG
# is its distance and its prior (our guess: trained layers' gradients differ in length, and the cosine over all of them looks at the longest). IG is stuck for
# every victim. A failed optimiser is no privacy.
#
# **PRECODE keeps some of its noise, and loses it to the search:** 25 % with IG, 58 % (42 to 73) with `joint` layer by layer, 61 % with the noise known, 67 % without noise.
#
# **The exact KL term does protect, at a price.** `joint` finds 8 % (3 to 22), with the noise known it is 36 %, and without noise 33 %. So there are two steps. From the 92 % of
# the network without bottleneck down to 33 is the network's own: its gradients tell less even when nothing is random. From there to 8 is the noise, which
# the search no longer finds well enough (correlation 0.66). What it costs in accuracy stands in {doc}`What stands <09_what_stands>`.
#
# Without a bottleneck 92 % are found on weights as old as these, by either distance. The medians of the noise tables and of the losses hide that models differ; intervals count
# victims as if they were independent, while twelve each share a model.

# %%
lines = plan.trained(settings)[max(rounds)]
originals, pictures = report.pictures(lines, found)
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %% [markdown]
# ## A vision transformer needs no search
#
# A vision transformer cuts the image into $P$ patches $x_p$, embeds each by one matrix, and adds a learnt position embedding. With one image
# in the update, the gradient of that position embedding *is* the error signal at each patch, $\Delta$ ($P \times F$), and the
# gradient of the patch embedding is $G = \Delta^\top X$. Both are shared. So $X$ follows by least squares, without labels, without a single step,
# and whatever noise a bottleneck adds behind the embedding is already in $\Delta$. The leak through the position embedding is known from
# {cite:t}`lu2022april`; that a variational bottleneck does not touch it is what is added here.

# %%
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
# In the published run every image comes back, to the last digit that float32 holds (134 to 154 dB), from fresh and from trained weights, through PRECODE and through the CVB. Clipping only
# scales $G$ and $\Delta$ alike. What hurts is what disturbs $\Delta$: noise of 1e-4 leaves 39 dB behind the CVB and 46 dB behind PRECODE, noise of
# 1e-3 leaves 19 and 26 dB, where most images can still be recognised, eight bits leave 47 and 56 dB; compression to a tenth destroys it. The plain transformer is the *least* exposed of the
# three (19 dB at 1e-4): its patches' error signals are the most alike, so that least squares amplify the noise most. A bottleneck
# behind the embedding does not only fail to protect; it makes the leak more robust.
#
# Of a batch the two gradients are sums over its images, one equation for several unknowns, and the closed form refuses them.
#
# ## Larger networks
#
# Searching works on them, too, as far as two cores allow. ResNet-18 gets 300 steps and a transformer as many, where the paper's attack takes up to 20,000. The
# prior's weight for ResNet-18, 0.1, is the one that {doc}`Other architectures <06_other_architectures>` found best *without* a bottleneck, and all three attacks get it; the learning rates of `joint` were set on four other images.

# %%
if architectures:
    display(
        tables.show(
            report.architectures_table(settings, found),
            columns=columns | report.OPTIMISED | report.RECOVERED,
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
# In the published run `joint` finds all 33 images behind the transformer's CVB, with an SSIM of 0.89; Ignore finds none. (IG on the plain transformer is no yardstick
# here: with the paper's weight of the prior its loss ends *below* that of the truth, in an image that is too smooth.)
#
# ResNet-18 is hard for everybody in so few steps. Without a bottleneck IG finds 27 % (15 to 44). Behind the CVB Ignore finds none, at an SSIM of 0.08, and `joint` 12 % (5 to 27), at
# 0.34. It is stuck on every victim, far above the loss of the truth. So the CVB does not bring this network's ASR to zero either, and how much it protects cannot be told from 300 steps.
#
# ## The limits of these attacks
#
# One image, a known label and 32 × 32 pixels are what the paper grants. How much of that do the attacks need?

# %%
limits = report.limits_table(settings, found)
tables.show(
    limits,
    columns={"label": "joint on the last network above"}
    | report.SCORES
    | {"labels": "labels right %"}
    | report.OPTIMISED
    | report.RECOVERED,
    digits={"stuck": 0, "labels": 0},
    caption=report.caption(settings, grid_victims, grid_steps),
)

# %% [markdown]
# The label costs nothing: it was read off the gradient without an error, noise or not. Batches cost a great deal. With two images in an
# update 56 % are still found, with four 3 % at best, where without a bottleneck about two thirds are still found ({doc}`What stands <09_what_stands>`). Larger images have more
# unknowns: at 48 × 48 pixels and the same number of steps `joint` finds 11 %. In all of these rows the searches are stuck, nearly every one, so that more steps
# or better attacks may find more. They are limits of our attack, and no proof that the bottleneck holds.
#
# Not measured here: ResNet-18 with more than 300 steps, one of which takes as long as fifty of the CNN's ({doc}`Speed <12_benchmarks>`), or on trained weights; more than 20 rounds; and what clients send after several local steps, which is no gradient any more.
#
# ## What follows
#
# "ASR 0 %" is a statement about attacks that draw the noise anew. Against a server that searches for it, and that needs nothing that the paper does not grant it,
# the CVB as recommended hides hardly any image of an untrained CNN, PRECODE none to speak of, and on a transformer there is not even
# anything to search for.
#
# On trained weights the noise as published is gone after a round. What is left is a network that is harder to invert, and it took no more than another distance and a stronger prior to
# invert it. Only the exact KL term keeps the noise alive.
#
# Three networks did resist with fresh weights: kernels of one pixel, a single kernel, and bottlenecks at all three positions. In the first it is the noise that protects, in the others it is
# half the noise and half a gradient that says little. So a bottleneck *can* hide an image from our search, if the search cannot solve for it; nobody has a proof of
# which bottlenecks those are, and a better search may have more luck. What that is worth next to
# other defences, and at what cost, is the question of {doc}`What stands <09_what_stands>`.
#
# ## Try it
#
# Another bottleneck, other images, more steps:
#
# ```console
# gleak run 08_breaking_the_bottleneck --profile quick -p networks "['none', 'precode 2 16']" --output tryout
# gleak run 08_breaking_the_bottleneck --profile quick -p grid "['cvb 1 3 1 1e-2 exact', 'cvb 1+2 5 1/2 1e-1']" --output tryout
# gleak run 08_breaking_the_bottleneck --profile cpu -p dataset fashionmnist -p sets "[]"
# ```
