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
# {doc}`The Ignore attack <03_ignore_attack>` leaves little to match when the bottleneck stands early in the network. But PRECODE is
# fully connected: close to the input it is large, and it throws away where things are in the image. The *convolutional
# variational bottleneck* (CVB, {cite:t}`scheliga2023cvb`) keeps the map. Two convolutions make mean and standard deviation, noise is added
# pixel by pixel, and a $1 \times 1$ convolution leads back:
#
# $$ b = \mu_E(z) + \sigma_E(z) \cdot \varepsilon, \qquad \hat z = D(b), \qquad \mathcal{L} = \mathcal{L}_F + \beta\, D_{KL}. $$
#
# It has four settings, and this chapter varies each of them as the paper does:
#
# | setting | what it sets | what it could change |
# |---|---|---|
# | position $P$ | the stage that the bottleneck follows | how many gradients stand before the first decoder, where Ignore looks |
# | kernel size $k_E$ | the encoder's window | parameters, and entries in the gradient of the encoder |
# | scale $s_E$ | channels of $b$ over channels of $z$ | the same; below 1 the bottleneck is narrow |
# | weight $\beta$ | how much the KL term counts | little before training; afterwards $\mu$ and $\sigma$ |
#
# With $c$ channels in front and $K_E = s_E\, c$ it costs $2 k_E^2\, c\, K_E + K_E\, c$ parameters. The second encoder does not give $\sigma_E$ itself but a
# number $r$ for each entry, and as in the paper's public code $\sigma_E = \mathrm{softplus}(\mathrm{clip}(r, -5, 5))$. So $\sigma_E$ is positive and stays between
# $\log(1 + e^{-5}) \approx 0.007$ and $\log(1 + e^{5}) \approx 5.007$, whatever training does. The bottlenecks of PRECODE in this book have the same form.
#
# ```{admonition} What this chapter measures has been broken since
# :class: warning
# The privacy figures below are those of Ignore, which draws the noise anew at each step. {doc}`08_breaking_the_bottleneck` searches for it, and finds most images behind
# the CVB that is recommended here, on fresh weights. On trained weights the noise itself fades under the KL term of the paper's public code (last section).
# ```

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

# %% tags=["remove-input"]
from gleak_lib import plots
from gleak_lib.chapters import open_store, parameters
from gleak_lib.experiments import run, tables
from IPython.display import Markdown

from gleak_book import cvb_report, figures

settings = parameters.check("04_cvb_hyperparameters", globals())

# %% tags=["experiment", "hide-cell"]
from gleak_book import cvb

experiments = cvb.cells(**settings)

# %% tags=["remove-input"]
store = open_store(profile)
found = dict(zip(experiments, run(experiments, store), strict=True))
Markdown(tables.note(found.values(), profile))

# %% [markdown]
# Each setting is measured twice. *Privacy*: Ignore attacks the model with fresh weights, as the paper's public code does, and the model without
# bottleneck is attacked by IG. That is the one attack that the paper's tables report for each model, not the stronger of the two.
# *Utility*: a federated training as in the paper, over fewer rounds below the profile `paper`. The chosen values are
# $P=1$, $k_E=5$, $s_E=\frac12$, $\beta=0.1$; a setting that is not varied keeps its value, but along the positions $k_E$ is 1.
#
# ## Four axes
#
# This is Fig. 9 of the paper. Accuracies after a few rounds cannot be compared with accuracies after hundreds, but
# what a setting gains or loses against the same network without bottleneck may be. So the left axes show that difference.

# %% tags=["hide-input"]
figures.dual(
    cvb_report.sweep(settings, found),
    values={"gain": "accuracy gained, points", "ssim": "SSIM"},
    baseline=cvb_report.baseline(settings, found),
    ours=f"ours ({profile})",
)

# %% [markdown]
# In the published run (CIFAR-10, 16 victims, 5 rounds, one seed) the SSIM follows the paper's along every axis: of single bottlenecks it rises with a later position, it rises with $k_E$
# and with $s_E$, and hardly changes with $\beta$. The accuracies do not follow. The paper's settings gain up to six points over the plain network, our single
# bottlenecks lose two to eight after five rounds, and several lose more: 11 to 13 points with two, 27 with three. So networks with a bottleneck learn
# more slowly here. Whether they end higher, five rounds cannot say.
#
# ## Privacy
#
# What Ignore can use are the gradients before the decoder. The position decides which layers these are, and $k_E$ and $s_E$ how
# many entries the encoder adds to them: an encoder with more kernels shows the attacker more projections of the same feature map, which may be why the paper's
# SSIM rises from 0.10 to 0.44 along $s_E$. $\beta$ changes neither the fresh network nor its noise. It comes in through the KL term's own gradient only,
# which is a function of $\mu$ and $\sigma$ and so free of noise.
#
# The mark says whether ours lies within 0.05 (SSIM) or 10 points (ASR) of the paper's figure. Only the full protocol, 128 victims and up to 20,000
# steps, can reproduce it; from 16 victims and 2,000 steps on, ours "agrees\*" or "differs\*" (\* at a reduced scale).

# %% tags=["hide-input"]
table = cvb_report.table(settings, found)
tables.show(
    table,
    columns=cvb_report.PRIVACY_COLUMNS,
    caption=cvb_report.caption(settings, "privacy") + tables.lpips_note(table),
)

# %% tags=["remove-input"]
compared = table[table["ssim"].notna() & table["ssim_paper"].notna()]
off = compared[(compared["ssim"] - compared["ssim_paper"]).abs() > 0.05]
lines = [
    f"- {row.label}: {f'{row.ssim - row.ssim_paper:+.3f}'.replace('-', '−')}"
    for row in off.itertuples()
]
Markdown(
    f"In this run (profile {profile}, {victims} victims, at most {steps:,} steps) {len(compared) - len(off)} of {len(compared)} SSIMs lie within 0.05 of "
    "the paper's. The others, ours minus the paper's:\n\n"
    + ("\n".join(lines) or "- none")
)

# %% [markdown]
# In the published run whatever differs lies *below* the paper's, success rates included: the bottleneck with kernels of $1 \times 1$ at $P=2$ (and at $P=3$ its success rate), and the
# wide ones, $s_E \ge 1$, where there is most to find. Were there too few steps? Two stored runs with three times as many, which the page {doc}`Ours beside theirs <11_ours_beside_theirs>` takes up, leave
# the first at 0.18 and bring $s_E = 1$ from 0.24 to 0.26. So steps are a part of it at $s_E = 1$ and not at $P=2$; at $s_E = 2$ and $4$ more were not tried. Sixteen other images, or other weights, may matter, too.
#
# The reconstructions along the axis on which the paper's scores change most, beginning with no bottleneck:

# %% tags=["hide-input"]
originals, pictures = cvb_report.pictures(settings, found, cvb.AXES[2])
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %% [markdown]
# ## Utility
#
# A bottleneck adds parameters and takes away precision. The paper reports that the wider and larger ones *gain* accuracy over
# the plain network, by up to 6.4 points at $s_E=4$, and that one with a single channel ($s_E = \frac{1}{16}$) loses 6.9.

# %% tags=["hide-input"]
tables.show(
    table,
    columns=cvb_report.UTILITY_COLUMNS,
    digits={"increase": 1, "gain": 2, "gain_paper": 2},
    caption=cvb_report.caption(settings, "utility"),
)

# %% [markdown]
# In the published run no setting gains. Of what the paper orders, two things show already: a single channel ($s_E = \frac{1}{16}$) loses more than
# all other scales, and $k_E = 1$ more than all other windows. From $\beta = 0.001$ to $0.1$ the paper's accuracy rises by 3.6 points; ours
# falls by 1.8. With one seed and five rounds that is no more than a hint that a larger $\beta$ slows the start.
#
# Below the profile `paper` these accuracies are no reproduction, so no row carries a mark. How settings compare after equally few
# rounds says how fast they learn, and only maybe where they end.
#
# ## Which KL term
#
# The KL term of a variational bottleneck against the standard normal is $-\frac12 \sum (1 + \log\sigma^2 - \mu^2 - \sigma^2)$, least at $\mu = 0$,
# $\sigma = 1$. The paper's public code computes
#
# $$ -\tfrac12 \sum \bigl(1 + \sigma - \mu^2 - e^{\sigma}\bigr), $$
#
# where $\sigma$, the positive number that multiplies the noise, stands as if it were a log-variance. This has its minimum at $\mu = 0$ and the *smallest* $\sigma$
# that the clip allows, 0.007. One form pulls the noise up to 1, the other presses it towards nothing. Both are options here; the tables above use the one named by
# the parameter `kl`, the public code's.

# %% tags=["hide-input"]
tables.show(
    cvb_report.kl_table(settings, found),
    columns=cvb_report.KL_COLUMNS,
    caption=cvb_report.kl_caption(settings),
)

# %% [markdown]
# In the published run the exact term at $\beta = 0.1$ raises $\sigma$ from 0.69 to 0.90, as it should, while the public code's lets it fall to 0.03. At $\beta = 0.001$ it falls under both forms,
# perhaps because the classifier does better with less noise while the term hardly pulls. At $\beta = 0.1$ the exact form has a lower accuracy than the public code's after these five rounds (one seed). The paper's Table VIII has its *best*
# accuracy of the axis at $\beta = 0.1$, which does not look like a bottleneck that is filled with noise. That speaks for the public code's form
# behind the paper's tables, and is why it is the default here; proof it is not.
#
# Before training $\mu$, $\sigma$ and the noise are the same under both forms, and only the term's own gradient differs, by a factor of $\beta$. So the columns of
# the attack say little about which form made the paper's table. What training does to $\sigma$ says more: where the noise fades, little of it is left to protect the trained
# model, whatever the attack on the fresh one shows. {doc}`08_breaking_the_bottleneck` attacks such weights.
#
# ## Try it
#
# Other settings, other images, or attacks on another model:
#
# ```console
# gleak run 04_cvb_hyperparameters --profile quick -p kl exact --output tryout
# gleak run 04_cvb_hyperparameters --profile quick -p scale 2 -p betas "[1.0, 0.1]" -p kl_betas "[0.1]" --output tryout
# gleak run 04_cvb_hyperparameters --profile cpu -p seeds 3 -p training_rounds 10
# ```
