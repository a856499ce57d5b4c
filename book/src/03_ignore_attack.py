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
# gradients, depend on noise that the server never sees. On fresh weights Inverting Gradients (IG,
# {cite:t}`geiping2020inverting`) then finds next to nothing. {cite:t}`scheliga2023cvb` ask *which* gradients the noise spoils,
# and answer with an attack that is almost embarrassingly simple: match only the others. (The same authors left out the stochastic gradients
# before, in {cite:t}`scheliga2022ppp`.)
#
# ```{admonition} What this chapter measures has been broken since
# :class: warning
# IG and Ignore draw the noise anew at each step. An attacker who *searches* for the noise finds what they miss, behind PRECODE at every position that
# was tried: {doc}`08_breaking_the_bottleneck`. A low success rate on this page is no protection.
# ```
#
# This chapter follows that argument. It measures which gradients survive the sampling, attacks with every set of
# gradients of their Table I, and moves PRECODE from the end of the network to its beginning (their Table II and Fig. 7). It does so twice:
# on freshly initialised weights, and on weights that have seen some rounds of federated training.

# %% tags=["parameters"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
model: str = "cnn"  # a model of gleak_lib.models.MODELS
bottleneck: str = "precode"  # precode or cvb
positions: list[int] = [3, 2, 1]  # one model a position
sizes: list[int] = [32, 16, 8]  # PRECODE's k or the CVB's kernel size
partial: list[int] = [3, 2]  # where masks in between are tried
beta: float = 0.01  # weight of the KL term
victims: int = 8  # attacked images
steps: int = 300  # attack steps at most
plateau: int = 30  # steps without progress before lr falls
tv: float = 0.01  # weight of the total variation prior
training_rounds: int = 2  # federated rounds
rounds: list[int] = [0, 2]  # rounds after which to attack; 0: fresh
seeds: int = 1  # models trained; the first is attacked
repeated: int = 1  # models that IG and Ignore attack after training
seed: int = 0  # of the first model, of dummies and noise
victim_seed: int = 0  # which images are attacked
scaling: str = "minmax"  # or none: images scored as they are
examples: int = 8  # images in the figures, at most 8

# %% tags=["remove-input"]
from gleak_lib import plots
from gleak_lib.chapters import open_store, parameters
from gleak_lib.experiments import run, tables
from IPython.display import Markdown

from gleak_book import ignore_report, paper

settings = parameters.check("03_ignore_attack", globals())

# %% tags=["experiment", "remove-input"]
from gleak_book import ignore

experiments = ignore.cells(**settings)

# %% tags=["remove-input"]
store = open_store(profile)
found = dict(zip(experiments, run(experiments, store), strict=True))
Markdown(tables.note(found.values(), profile))

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
# the noise does not matter; near 0 the two gradients have nothing in common, even though the image is the same. An
# attack that draws noise of its own matches them no better than that with the true image. (A dummy far from the image can: {doc}`02_gradient_analysis`
# shows one that is louder than the noise.)

# %%
similarity = ignore_report.similarity_table(settings, found)
plots.groups(
    similarity, value="similarity", ylabel="similarity under other noise"
)

# %% [markdown]
# G1 to G4 are the gradients of the three convolutions and of the classifier, GE and GD those of the bottleneck's encoder and decoder;
# they stand in the order of the forward pass.
#
# In the published run, with fresh weights, the noise strikes where it enters: the decoder's gradient, and that of the layer right behind it, keep next to nothing.
# The classifier keeps the more the farther away it is, perhaps because most of its gradient is the error of the prediction. What stands before the decoder
# depends on the position. At P=3 it survives (0.79 to 0.80); with an earlier bottleneck most of it is lost, too (0.34 to 0.37 at P=2, 0.28 to 0.30 at P=1).
#
# Training changes the picture, and not in favor of the bottleneck. In the published run (CIFAR-10, 20 rounds) every gradient
# becomes more similar to itself under other noise. The table shows what goes with it: the means $\mu$ grow many times over, and at the two earlier
# positions $\sigma$ falls besides. The network learns to speak louder than its own noise. A KL term pulls $\mu$ towards 0, but its weight $\beta$ is small; towards which $\sigma$
# it pulls depends on its form ({doc}`04_cvb_hyperparameters`).

# %%
tables.show(
    ignore_report.noise_table(settings, found),
    columns={
        "P": "P",
        "weights": "weights",
        "sigma": "mean σ",
        "mu": "RMS μ",
        "ratio": "RMS μ / mean σ",
        "similarity": "similarity before the decoder",
    },
)

# %% [markdown]
# ## Which gradients to match
#
# IG minimises one minus the cosine similarity between the dummy's gradient and the observed one over *all* layers, plus a
# total variation prior. The *Ignore* attack is IG with a mask: it matches $[G^{(1)}, \dots, G^{(E)}]$, everything before the first decoder,
# and ignores the rest ({cite:t}`scheliga2023cvb`, Eq. 4). In code it is one line:

# %%
from gleak_lib.attacks import ATTACKS

assert ATTACKS["ignore"] == ATTACKS["ig"].replace(
    name="ignore", layers="before-decoder"
)

# %% [markdown]
# Table I of the paper tries masks in between: leave out only the decoder, or only one of the layers behind it. Each row
# below matches the gradients that it names, on the same images. *ASR* is the attack success rate, the share
# of images whose reconstruction has an SSIM of at least 0.5.

# %% [markdown]
# ### Fresh weights
#
# The paper's public code attacks a model that was never trained; so does this table. It uses the text's weight of
# the prior, $\lambda = 0.01$ on images normalised channel by channel (the code has 0.1).

# %%
columns = {
    "P": "P",
    "gradients": "matched gradients",
    "matched": "entries",
    "ssim": "SSIM",
    "asr": "ASR %",
    "asr_paper": "paper's ASR %",
    "loss": "median loss",
}
tables.show(
    ignore_report.mask_table(settings, found, rounds[0]),
    columns=columns,
    caption=ignore_report.caption(settings, rounds[0]),
)

# %% [markdown]
# ### Weights after training
#
# The same rows again, attacked after some rounds of federated averaging. The paper's figures are left out here: its code never loads
# trained weights, so there is nothing to compare with.

# %%
tables.show(
    ignore_report.mask_table(settings, found, rounds[-1]),
    columns={
        name: text for name, text in columns.items() if name != "asr_paper"
    },
    caption=ignore_report.caption(settings, rounds[-1]),
)

# %% [markdown]
# In the published run the fresh weights give the paper's table row by row, within 5 points: without a bottleneck every image
# is found; IG on PRECODE finds none; leaving out only the decoder, or only one later layer, does not help; leaving out all of them does, at
# P=3. At P=2 one image of 32 is found.
#
# On the trained weights two things are different. Where an attack had found most images, without a bottleneck and with Ignore at P=3, it
# finds *fewer*. Where it had found none, it now finds *some*: plain IG, which matches
# every stochastic gradient, succeeds on a part of the images at every position, P=1 included, and the mask makes little difference any more.
# That agrees with the similarities above.
#
# One model may be an accident. So here are IG and Ignore on several, trained from other seeds and attacked with the same images; the
# scores are over all of these attacks together, and the last column has each model's own success rate.

# %%
tables.show(
    ignore_report.repeated_table(settings, found),
    columns={
        "label": "attack",
        "seeds": "models",
        "ssim": "SSIM",
        "asr": "ASR %",
        "each": "ASR % of each model",
    },
    caption=ignore_report.caption(settings, rounds[-1]),
)

# %% [markdown]
# In the published run, after 20 rounds, IG finds between a third and a half of the images behind PRECODE at any
# position (single models from a fifth to a half), and neither the mask nor the position makes a difference that is larger than the one
# between models. So here "the earlier, the
# safer" held for untrained models only, and there by the success rate: the mean SSIM is higher at P=1 than at P=2. How it goes on with more rounds was not measured; what an attack can do that searches for the noise
# as well is what {doc}`Breaking the bottleneck <08_breaking_the_bottleneck>` asks.

# %% [markdown]
# ## What the attacks see
#
# The first victims, and what IG and Ignore make of them on fresh weights. The row without bottleneck is the baseline.

# %%
originals, pictures = ignore_report.pictures(settings, found, rounds[0])
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %% [markdown]
# And on the trained weights:

# %%
originals, pictures = ignore_report.pictures(settings, found, rounds[-1])
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %% [markdown]
# The attacker cannot see these pictures, only the loss. Heights under different masks cannot be compared, since a mask changes what is
# measured, but shapes can.

# %%
losses = ignore_report.loss_traces(settings, found, rounds[0])
plots.traces(losses)

# %% tags=["remove-input"]
kept = {
    name: float(median[-1] / median[len(median) // 6])
    for name, (_, quartiles) in losses.items()
    for median in [quartiles[:, 2]]
}
Markdown(
    "Of the median loss after a sixth of the steps the following share is left at the end (this run, profile "
    f"{profile}): "
    + "; ".join(f"{name}: {share:.0%}" for name, share in kept.items())
    + "."
)

# %% [markdown]
# In the published run the loss without a bottleneck falls by more than ten times, from 0.14 to 0.009, most of it once the learning rate has come down. With a bottleneck, it soon
# moves sideways and flickers: the dummy's noise is drawn anew at each step, so that what is to be matched moves.

# %% [markdown]
# ## Moving PRECODE towards the input
#
# If only what stands before the decoder can be matched, then a bottleneck closer to the input leaves less to match. The price is
# twofold. PRECODE is fully connected, so an early one sees a larger feature map and has more parameters; and it throws away where things are in the image.
# Table II of the paper sets the three against each other. The attack is IG without a bottleneck and Ignore with one, on fresh weights.

# %%
placement = {
    "label": bottleneck,
    "parameters": "parameters",
    "ssim": "SSIM",
    "ssim_paper": "paper's SSIM",
    "asr": "ASR %",
    "asr_paper": "paper's ASR %",
}
fresh = ignore_report.placement_table(settings, found, rounds[0])
tables.show(
    fresh, columns=placement, caption=ignore_report.caption(settings, rounds[0])
)

# %% [markdown]
# The accuracies are those of the best round by validation loss, out of as many federated rounds as the chapter's parameters
# allow. The paper trains for up to 300 rounds with early stopping, so below the `paper` profile this table is no reproduction. It shows how the four
# models compare after equally few rounds.

# %%
accuracy = {
    "label": bottleneck,
    "accuracy": f"accuracy %, at most {training_rounds} rounds",
    "accuracy_paper": "paper's accuracy %, at most 300 rounds",
    "increase": "more parameters %",
}
tables.show(
    fresh, columns=accuracy, caption=f"Profile {profile}: {seeds} seeds"
)

# %% [markdown]
# The same attacks on the trained weights:

# %%
trained = ignore_report.placement_table(settings, found, rounds[-1])
tables.show(
    trained,
    columns={
        "label": bottleneck,
        "ssim": "SSIM",
        "asr": "ASR %",
        "loss": "median loss",
    },
    caption=ignore_report.caption(settings, rounds[-1]),
)

# %% [markdown]
# Ours beside the paper's once more, for the fresh weights. The dotted line marks the SSIM above which an attack counts as a success.

# %%
plots.comparison(
    paper.for_plot(fresh, "ssim"),
    xlabel="SSIM of the best attack (fresh weights)",
    ours=f"ours ({profile}, {victims} victims)",
    paper="paper (128 victims)",
    threshold=0.5,
)
