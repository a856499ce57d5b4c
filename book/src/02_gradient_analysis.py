# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Gradient analysis
#
# A gradient inversion attack changes a dummy image until its gradient looks like the one that the client sent. This chapter watches it
# at work: not the image, but the gradients, layer by layer and step by step. {cite:t}`scheliga2023cvb` did this
# for one image (their Section III-A, Figs. 5 and 6) to find out how PRECODE {cite:p}`scheliga2022precode` hides an image,
# and what they saw gave them the idea for an attack that gets around it. We repeat it on several images, and check
# each thing that they read off the pictures by counting.

# %% tags=["parameters", "hide-cell"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
model: str = "cnn"  # a model of gleak_lib.models.MODELS
network: str = "precode(3, 32)"  # its bottleneck, for instance cvb(1)
victims: int = 4  # attacked images
steps: int = 300  # attack steps, all of them run
tail: int = 60  # last steps, over which fluctuation is measured
plateau: int = 60  # steps without progress before lr falls
tv: float = 0.01  # weight of the total variation prior
rounds: list[int] = [0, 2]  # rounds after which to attack; 0: fresh
seed: int = 0  # of weights, dummies and noise
victim_seed: int = 0  # which images are attacked
images: int = 2  # images with curves of their own
scaling: str = "minmax"  # or none: images scored as they are

# %% tags=["remove-input"]
from gleak_lib import plots
from gleak_lib.chapters import open_store, parameters
from gleak_lib.experiments import run, tables
from IPython.display import Markdown

from gleak_book import figures

settings = parameters.check("02_gradient_analysis", globals())

# %% tags=["experiment", "hide-cell"]
from gleak_book import analysis

experiments = analysis.cells(**settings)

# %% tags=["remove-input"]
store = open_store(profile)
found = dict(zip(experiments, run(experiments, store), strict=True))
plain, ig, ignore = analysis.names(settings)
Markdown(analysis.note(settings, found))

# %% [markdown]
# ## Three attacks to watch
#
# The plain model is a small convolutional network (conv 1 to conv 3, then a linear classifier). PRECODE adds a bottleneck
# before the classifier: an *encoder* computes a mean $\mu$ and a standard deviation $\sigma$, a sample
# $b = \mu + \sigma \cdot \varepsilon$ is drawn, and a *decoder* turns it back into features. The attacks are
#
# 1. Inverting Gradients (IG, {cite:t}`geiping2020inverting`) on the plain model,
# 2. IG on the model with PRECODE,
# 3. *Ignore* on the model with PRECODE: IG that matches only the layers before the decoder.
#
# The attacker's noise $\varepsilon$ is drawn anew at each step; the client's is unknown. `invert` lets us look over the
# attacker's shoulder: it calls a function of ours before each step with the dummy and the noise that the step is about to use. It hands over nothing
# that the attack does not have, and the result is the same with it and without.

# %% [markdown]
# ## Two numbers on their way
#
# A gradient has thousands of entries. Pick two of one layer (at random, among the larger half of the client's) and plot one against the other:
# each step of the attack is a point, dark at the beginning and bright at the end. The cross marks where the client's
# gradient is. First the plain model under IG, fresh weights, one row per image.

# %% tags=["hide-input"]
figures.tracks(
    analysis.entry_tracks(settings, found, rounds[0], plain),
    caption=analysis.caption(settings, rounds[0]),
)

# %% [markdown]
# The points start anywhere and close in on the cross: the dummy's gradient approaches the client's. Now the same with PRECODE, for the layers
# around the sampling:

# %% tags=["hide-input"]
figures.tracks(
    analysis.entry_tracks(settings, found, rounds[0], ig),
    caption=analysis.caption(settings, rounds[0]),
)

# %% [markdown]
# In the decoder and the classifier there is no path any more, only a cloud: early and late points lie mixed, and the steps between them are
# as long as the cloud is wide. The encoder's entries stand before the sampling. They move along a path and settle in one place, but away from the cross.

# %% [markdown]
# ## Layer by layer
#
# Two entries can mislead, so take all of a layer at once: the cosine similarity between the dummy's gradient of the layer and the client's.
# 1 means the same direction, 0 that they have nothing in common. Lines are medians over the victims, bands span the
# quartiles; the steps are on a log scale, because most happens early. Fresh weights again.

# %% tags=["hide-input"]
figures.similarities(
    analysis.curves(settings, found, rounds[0]),
    caption=analysis.caption(settings, rounds[0]),
)

# %% [markdown]
# The median over many images smooths what a single attack does from step to step. Here are the first images by themselves, from the same runs:

# %% tags=["hide-input"]
figures.similarities(
    analysis.image_curves(settings, found, rounds[0]),
    caption=analysis.caption(settings, rounds[0]),
)

# %% [markdown]
# And the median after some rounds of federated training:

# %% tags=["hide-input"]
figures.similarities(
    analysis.curves(settings, found, rounds[-1]),
    caption=analysis.caption(settings, rounds[-1]),
)

# %% [markdown]
# ## The same in numbers
#
# *Similarity* is the mean over the last steps and over the victims (± deviation between victims). *Fluctuation* is how far a single attack's similarity
# strays from its own mean in these steps (standard deviation, averaged over victims). *Change* is the typical difference
# between one step and the next. For independent noise it is $\sqrt{2} \approx 1.4$ times the fluctuation; a slow drift makes it far smaller.
#
# The next column asks what could be reached at all. It takes the *true* image and compares two of its gradients under different noise, as
# in {doc}`03_ignore_attack`. An attacker who had found the image would see this similarity. The last column is the length of the dummy's gradient,
# in units of the client's: a cosine does not see it.

# %% tags=["hide-input"]
tables.show(
    analysis.table(settings, found, rounds[0]),
    columns=analysis.COLUMNS,
    caption=analysis.caption(settings, rounds[0]),
    digits=analysis.DIGITS,
)

# %% tags=["hide-input"]
tables.show(
    analysis.table(settings, found, rounds[-1]),
    columns=analysis.COLUMNS,
    caption=analysis.caption(settings, rounds[-1]),
    digits=analysis.DIGITS,
)

# %% [markdown]
# ## What the paper reads off its figures
#
# Each row is a statement of {cite:t}`scheliga2023cvb` (Section III-A and B) in a form that can be true or false for one
# victim. The entries count the victims for which it holds; in brackets is what was measured, averaged over all victims.

# %% tags=["hide-input"]
tables.show(
    analysis.claims(settings, found),
    columns=analysis.claim_columns(settings),
    caption=analysis.caption(settings),
)

# %% [markdown]
# What follows was written for the published run (profile `cpu`, 16 images of CIFAR-10, one seed of the weights).
#
# **Fresh weights: the pictures are right.** Without a bottleneck the similarities rise towards 1, the later layers first. With PRECODE
# under IG, decoder and classifier fluctuate about four times as much as the layers before them (0.12 against 0.03), for every victim; the earlier
# layers are steadier and lower, and the first stays near 0. The *change* from step to step is 1.4 times the fluctuation in the decoder and the classifier: that is
# what fresh noise at each step does. Under Ignore the layers before the decoder climb. Two readings need more words, though.
#
# *0.7 to 0.8 is about what the true image would give.* The paper finds that Ignore reaches similarities between 0.7 and 0.8, and so do we on average over the
# victims: 0.71 to 0.81, layer by layer (single victims scatter more widely). But the *true* image under other noise gets no more than 0.79 to 0.80. So most of
# what is missing to 1 is the noise's doing. Conv 1 and the encoder are where the true image would be, conv 2 and conv 3 somewhat below.
#
# *Decoder and classifier do not stay as low as under IG.* In our runs they are higher under IG (0.45 and 0.59) than under Ignore (0.00 and 0.10), for all 16
# victims. And Ignore's values are those of the true image. It is IG's that are too high, and the next section asks how.
#
# **Trained weights: most of these readings fail.** After 20 federated rounds, IG gets the layers before the decoder up to 0.82 to 0.91, which is
# about what the true image has in the first layer and the encoder. The first layer is not near 0 but the highest of the four. Ignore ends no higher than IG. The paper does not say in this section which weights it
# used; its description fits the fresh ones.

# %% [markdown]
# ## A signal stronger than the noise
#
# How can IG reach a similarity in the decoder and the classifier that the true image itself does not have? Call $\lVert\mu\rVert / \lVert\sigma\rVert$ the *signal*:
# how large the part of the code that comes from the image is, compared with the noise. The table gives its median over the victims.
#
# On fresh weights the true image has a signal of 0.03. Its code is almost pure noise, and so are the gradients behind it. IG must match these gradients too,
# and the dummy that it ends with has a signal of 0.86: an image whose code stands out from the noise. The *length* column says the
# same. The encoder's gradient is a product with the features that enter it, and it is 17 times as long as the client's; the cosine does not see it.
# In the pictures below these dummies look like colored noise. The paper explains IG's failure by dummy gradients in which the optimizer finds no consistent direction. Here
# it does find one: IG settles on an image with a strong signal, far from the original. Ignore does not match the gradients behind the noise, and its dummy's signal stays near that of
# the true image (0.04 against 0.03).
#
# After training the true image has a signal of 0.75, and IG's dummy hardly more (0.87). Then both attacks end alike,
# in similarity and in SSIM.

# %% tags=["hide-input"]
tables.show(
    analysis.outcome_table(settings, found),
    columns=analysis.OUTCOME,
    caption=analysis.caption(settings),
)

# %% [markdown]
# The first of these victims, and what each attack made of them, on fresh weights:

# %% tags=["hide-input"]
originals, pictures = analysis.pictures(settings, found, rounds[0])
plots.reconstructions(originals, pictures, scaling=scaling)

# %% [markdown]
# And on the trained ones:

# %% tags=["hide-input"]
originals, pictures = analysis.pictures(settings, found, rounds[-1])
plots.reconstructions(originals, pictures, scaling=scaling)

# %% [markdown]
# ## What to keep
#
# - On fresh weights, what stands behind the sampling fluctuates with every draw, for every image that we tried, and what stands before it can be matched nearly as well
#   as the true image would match (conv 2 and conv 3 stay below). This is what {doc}`03_ignore_attack` exploits.
# - A similarity has to be read against what the true image would have, not against 1.
# - PRECODE's effect on IG depends on the weights. At this position it was nearly complete on fresh ones and much weaker after 20 rounds. That is about an
#   attacker who draws the noise anew; one who searches for it finds more ({doc}`08_breaking_the_bottleneck`).
#
# All this is one architecture, one position of the bottleneck, one image set and one seed of the weights. Parameters of this chapter
# change each of them.
