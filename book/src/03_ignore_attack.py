# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The Ignore attack
#
# PRECODE {cite:p}`scheliga2022precode` puts a variational bottleneck into a network, so that its features, and with them the
# gradients, depend on noise that the server never sees. Inverting Gradients (IG,
# {cite:t}`geiping2020inverting`) then finds nothing. {cite:t}`scheliga2023cvb` ask *which* gradients the noise spoils,
# and answer with an attack that is almost embarrassingly simple: match only the others.
#
# This chapter follows that argument. It measures which gradients survive the sampling, attacks with every set of
# gradients of their Table I, and moves PRECODE from the end of the network to its beginning (their Table II and Fig. 7). It does so twice:
# on freshly initialised weights, and on weights that have seen some rounds of federated training.

# %% tags=["parameters"]
profile: str = "quick"  # quick, cpu or paper: where results are stored, and what the captions say
dataset: str = "digits"  # an image set that gleak_lib.datasets.load knows, or an archive of your own
model: str = "cnn"  # a model of gleak_lib.models.MODELS
bottleneck: str = "precode"  # precode or cvb
positions: list[int] = [3, 2, 1]  # feature stages behind which the bottleneck stands, one model each
sizes: list[int] = [32, 16, 8]  # PRECODE's k, or the CVB's kernel size, one a position
partial: list[int] = [3, 2]  # positions at which masks between IG and Ignore are tried, too
beta: float = 0.01  # weight of the KL term
victims: int = 8  # attacked images
steps: int = 300  # attack steps at most
tv: float = 0.01  # weight of the total variation prior
training_rounds: int = 2  # federated rounds
rounds: list[int] = [0, 2]  # weights that are attacked, after so many rounds; 0 means fresh ones
seeds: int = 1  # trained models, for the accuracy; the first is attacked
seed: int = 0  # of the first model, of dummies and of noise
victim_seed: int = 0  # which images are attacked
scaling: str = "minmax"  # minmax stretches each image before scoring, as the paper's code does; or none
examples: int = 8  # images in the figures, at most 8

# %% tags=["remove-input"]
from gleak_lib import plots
from gleak_lib.experiments import open_store, parameters, run, tables
from gleak_lib.experiments.plans import ignore

settings = parameters.check("03_ignore_attack", globals())
cells = ignore.cells(**settings)
store = open_store(profile)
found = dict(zip(cells, run(cells, store), strict=True))
tables.note(found.values(), profile)

# %% [markdown]
# ## Why sampling makes gradients stochastic
#
# A variational bottleneck maps features $z$ to a mean and a standard deviation, and hands on a sample,
#
# $$ b = \mu_E(z) + \sigma_E(z) \cdot \varepsilon, \qquad \varepsilon \sim \mathcal{N}(0, 1), \qquad \hat z = D(b). $$
#
# The client draws its $\varepsilon$ once and forgets it. The attacker, who computes the gradient of a dummy image, has to draw
# another. Everything behind the sample is computed from $b$: the decoder's weight gradient is an outer product with $b$ itself, and
# the layers after it see features that were made from it. What stands *before* the sample sees the noise too, but
# only through the back-propagated signal: its other factor, the layer's own input, is a function of the image alone.
#
# How much is left can be measured without attacking anything. Take the *true* image, compute its gradient under two
# independent draws of $\varepsilon$, and compare the two, group by group. A cosine similarity of 1 means that
# the noise does not matter; near 0 the two gradients have nothing in common, even though the image is the same. No
# attack that matches such gradients under noise of its own can do better than that.

# %%
similarity = ignore.similarity_table(settings, found)
plots.groups(similarity, value="similarity", ylabel="cosine similarity under other noise")

# %% [markdown]
# G1 to G4 are the gradients of the three convolutions and of the classifier, GE and GD those of the bottleneck's encoder and decoder;
# they stand in the order of the forward pass. The decoder is where the sampling strikes.

# %% [markdown]
# ## Which gradients to match
#
# IG minimises one minus the cosine similarity between the dummy's gradient and the observed one over *all* layers, plus a
# total variation prior. The *Ignore* attack is IG with a mask: it matches $[G^{(1)}, \dots, G^{(E)}]$, everything before the first decoder,
# and ignores the rest ({cite:t}`scheliga2023cvb`, Eq. 4). In code it is one line:

# %%
from gleak_lib.attacks import ATTACKS

assert ATTACKS["ignore"] == ATTACKS["ig"].replace(name="ignore", layers="before-decoder")

# %% [markdown]
# Table I of the paper tries masks in between: leave out only the decoder, or only one of the layers behind it. Each row
# below matches the gradients that it names, on the same images. *ASR* is the attack success rate, the share
# of images whose reconstruction has an SSIM of at least 0.5.

# %% [markdown]
# ### Fresh weights
#
# The paper's public code attacks a model that was never trained; so does this table.

# %%
columns = {
    "P": "P", "gradients": "matched gradients", "matched": "entries matched",
    "ssim": "SSIM", "asr": "ASR %", "asr_paper": "ASR % (paper)", "loss": "median loss",
}  # fmt: skip
tables.show(
    ignore.mask_table(settings, found, rounds[0]),
    columns=columns,
    caption=ignore.caption(settings, rounds[0]),
)

# %% [markdown]
# ### Weights after training
#
# The same rows again, attacked after some rounds of federated averaging. Trained weights make for smaller
# gradients, and those say less about the image.

# %%
tables.show(
    ignore.mask_table(settings, found, rounds[-1]),
    columns=columns,
    caption=ignore.caption(settings, rounds[-1]),
)

# %% [markdown]
# ## What the attacks see
#
# The first victims, and what IG and Ignore make of them on fresh weights. The row without bottleneck is the baseline.

# %%
originals, pictures = ignore.pictures(settings, found, rounds[0])
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %% [markdown]
# And on the trained weights:

# %%
originals, pictures = ignore.pictures(settings, found, rounds[-1])
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %% [markdown]
# The loss tells the same story from the attacker's side, without looking at any image. Where noise enters the matched
# gradients, it stalls high above zero: the dummy's noise is drawn anew at each step, and no image can match a moving
# target. Where Ignore leaves these gradients out, it falls.

# %%
plots.traces(ignore.loss_traces(settings, found, rounds[0]))

# %% [markdown]
# ## Moving PRECODE towards the input
#
# If only what stands before the decoder can be matched, then a bottleneck closer to the input leaves less to match. The price is
# twofold. PRECODE is fully connected, so an early one sees a larger feature map and has more parameters; and it throws away where things are in the image.
# Table II of the paper sets the three against each other. The attack is IG without a bottleneck and Ignore with one.

# %%
placement = {
    "label": "PRECODE" if bottleneck == "precode" else "CVB",
    "ssim": "SSIM", "ssim_paper": "SSIM (paper)", "asr": "ASR %", "asr_paper": "ASR % (paper)",
    "accuracy": "accuracy %", "accuracy_paper": "accuracy % (paper)",
    "parameters": "parameters", "parameters_paper": "parameters (paper)",
}  # fmt: skip
fresh = ignore.placement_table(settings, found, rounds[0])
tables.show(fresh, columns=placement, caption=ignore.caption(settings, rounds[0]))

# %%
trained = ignore.placement_table(settings, found, rounds[-1])
tables.show(trained, columns=placement, caption=ignore.caption(settings, rounds[-1]))

# %% [markdown]
# The accuracies are those of the best round by validation loss, out of the number of federated rounds that the chapter's
# parameters allow, and they are the same in both tables. The paper trains for up to 300 rounds with early stopping. So below
# the `paper` profile the accuracy columns are not a reproduction: they only show how the four models compare after equally few rounds.

# %%
plots.comparison(
    tables.for_plot(fresh, "ssim"), xlabel="SSIM of the best attack (fresh weights)",
    ours=f"ours ({profile}, {victims} victims)", paper="paper (128 victims)", threshold=0.5,
)  # fmt: skip
