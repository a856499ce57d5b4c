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
# The convolutional variational bottleneck (CVB) was found on a small CNN. Does it protect a network with residual blocks, and one that has no
# convolutions at all? {cite:t}`scheliga2023cvb` put it into a ResNet-18 {cite:p}`he2016resnet` and into a small vision transformer
# {cite:p}`dosovitskiy2021vit`, and attack all three on MNIST and CIFAR-10 (their §VI-D, Tables V and XI, Figs. 10 and 11a). This chapter repeats that.
#
# Two things differ from model to model and decide what an attack finds: how the pixels enter the first layer, and how much of a
# total variation prior the attack adds. Both are looked at below.
#
# ```{admonition} What this chapter measures has been broken since
# :class: warning
# All attacks below start from noise, and behind a bottleneck they draw its noise anew. {ref}`On the ViT no search is needed <vit-closed-form>`: the images follow from the gradient in closed form, CVB or not. On the
# CNN, and less on ResNet-18, {doc}`a search for the noise <08_breaking_the_bottleneck>` finds images where Ignore finds none.
# ```

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

# %% tags=["remove-input"]
from gleak_lib import plots
from gleak_lib.chapters import open_store, parameters
from gleak_lib.experiments import run, tables
from IPython.display import Markdown, display

from gleak_book import architectures_report

settings = parameters.check("06_other_architectures", globals())

# %% tags=["experiment", "hide-cell"]
from gleak_book import architectures

experiments = architectures.cells(**settings)

# %% tags=["remove-input"]
store = open_store(profile)
found = dict(zip(experiments, run(experiments, store), strict=True))
Markdown(tables.note(found.values(), profile))

# %% [markdown]
# ## Three ways to read an image
#
# **CNN.** Three 5×5 convolutions of stride 2. Windows overlap, and each weight's gradient is a sum over all of them, so that
# what is known of a single pixel is spread over many equations.
#
# **ResNet-18.** A 7×7 stem of stride 2 and a max-pool shrink 32×32 pixels to 8×8 before the first residual block begins; eight blocks follow. The network has 170
# times as many parameters as the CNN and so as many more equations, but the optimizer has to work its way back through eighteen layers. The
# paper's code uses GroupNorm with two groups, and so does this chapter. (BatchNorm would make an image's gradient depend on the rest of its
# batch, and says nothing sensible about a batch of one.)
#
# **ViT.** Patches of 4×4 pixels that do *not* overlap, 64 of them, each mapped to 256 features by the same matrix. Four blocks
# of attention with 16 heads follow. Its linear layers have no biases, as in the paper's code, so that the quotient of weight and bias gradients, which the chapter
# on closed forms uses, is not there to be taken.
#
# The CVB stands behind the first stage of each: 8 kernels of 5×5 for the CNN, 32 of 5×5 for the ResNet ($\beta = 5 \cdot 10^{-5}$), 32 of 3×3 for the ViT
# ($\beta = 0.1$). A transformer's features are tokens, not maps, so they are reshaped first: each of the 65 tokens becomes a
# channel of 16×16.

# %% [markdown]
# ## How much of the gradient is left to Ignore
#
# The Ignore attack matches what stands before the first decoder. How large a part of the gradient that is differs from model to model:

# %% tags=["hide-input"]
matched = architectures_report.matched_table(settings, found)
tables.show(
    matched,
    columns={
        "label": "model with CVB",
        "matched": "entries matched by Ignore",
        "entries": "all entries",
        "share": "share %",
    },
)

# %% tags=["remove-input"]
Markdown(
    f"It is between {matched['share'].min():.0f} and {matched['share'].max():.0f} % of the gradient in this run, and at the least "
    f"{matched['matched'].min():,} entries, beside the 3,072 pixels that are sought."
    if len(matched)
    else "This run has no model with a CVB."
)

# %% [markdown]
# So there are more equations than unknowns. But what is left has been computed with a signal that came back *through* the noise, and the dummy's
# signal comes back through other noise.

# %% [markdown]
# ## How smooth is an image?
#
# Inverting Gradients adds $\lambda \cdot \mathrm{TV}(x')$, a prior for images whose neighboring pixels are alike. The paper's text says $\lambda =
# 0.01$ for everything; its public code runs 0.1 for the CNN and the ResNet and $10^{-4}$ for the ViT. How far the cosine
# distance falls differs from model to model, so the same $\lambda$ need not suit all. Here is each of these weights on each model, without a bottleneck:

# %% tags=["hide-input"]
last = datasets[-1]
priors = architectures_report.prior_table(settings, found)
tables.show(
    priors,
    columns={
        "model": "model",
        "tv": "λ",
        "victims": "victims",
        "ssim": "SSIM",
        "ssim_paper": "paper's SSIM",
        "asr": "ASR %",
        "asr_paper": "paper's ASR %",
        "loss": "median loss",
    },
    caption=f"Profile {profile}: {last}, as many steps as in the tables below",
)

# %% tags=["remove-input"]
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
# In the published run the attack on the CNN scores best at the text's $\lambda$, close to the paper's figure; at the code's 0.1 and at $10^{-4}$ it scores lower.
# The ViT needs the code's $10^{-4}$ (four images). ResNet-18 was attacked with 300 steps only (four images), and after these the strongest prior is
# ahead, without reaching the paper's score.
# A likely reason is that two scales meet here. The distance is at most 2 and falls as the image is found, while the prior stays what it is: near the
# end a large $\lambda$ outweighs the gradient, and the optimizer smooths away what the gradient knows. How early that happens would depend on how
# far the distance falls. At $\lambda = 10^{-4}$, where the loss is nearly the distance alone, the median loss falls furthest for the ViT.
# The tables below use the text's $\lambda$ for CNN and ResNet and the code's for the ViT.

# %% [markdown]
# ## Without and with a CVB
#
# The attack is IG on the model without a bottleneck and Ignore on the one with a CVB, as in the paper. Accuracies are those of the best round by validation
# loss; a dash stands where the model is not trained at this profile.

# %% tags=["hide-input"]
columns = {
    "label": "model, defense",
    "ssim": "SSIM",
    "ssim_paper": "paper's SSIM",
    "asr": "ASR %",
    "asr_paper": "paper's ASR %",
    "lpips": "LPIPS",
    "lpips_paper": "paper's LPIPS",
    "rounds": "rounds at most",
    "accuracy": "accuracy %",
    "accuracy_paper": "paper's accuracy %",
}
for dataset in datasets:
    table = architectures_report.scores_table(settings, found, dataset)
    caption = architectures_report.caption(settings, dataset)
    caption += tables.lpips_note(table)
    display(tables.show(table, columns=columns, caption=caption))

# %% tags=["remove-input"]
lines = []
for dataset in datasets:
    table = architectures_report.scores_table(settings, found, dataset)
    gaps = [
        f"{row.label} {f'{row.ssim - row.ssim_paper:+.2f}'.replace('-', '−')}"
        for row in table.itertuples()
        if row.ssim_paper == row.ssim_paper
    ]
    lines.append(f"- {dataset}: " + ("; ".join(gaps) or "not in the paper"))
Markdown(
    f"SSIM, ours minus the paper's, in this run (profile {profile}):\n\n"
    + "\n".join(lines)
)

# %% [markdown]
# In the published run the CNN agrees with the paper on CIFAR-10, without and with the CVB. On MNIST ours finds less than the
# paper. ResNet-18 stays far below the paper on CIFAR-10, after 300 of up to 20,000 steps. The ViT's scores, after 500 steps on four images, are near the paper's, but for the CVB on MNIST
# (0.19 against 0.37). After 20 rounds the CNN's accuracies are near the paper's on MNIST, and on
# CIFAR-10 the CVB is ahead of the plain network by 1.4 points (one seed); in the paper it is ahead by 4.6.
# Rows with few victims or few steps are no reproductions. An attack that was cut short finds less than it could, which makes a model look
# *safer* than it is.

# %% [markdown]
# ### Two tables that disagree
#
# Tables V and XI of the paper report the same experiment, the first in short, the second in full. For the ResNet-18 on MNIST they do not agree. Both are shown, with
# ours where it was run:

# %% tags=["hide-input"]
tables.show(
    architectures_report.two_tables(settings, found),
    columns={
        "label": "model, defense, images",
        "ssim_v": "SSIM, Table V",
        "ssim_xi": "SSIM, Table XI",
        "ssim": "SSIM, ours",
        "asr_v": "ASR %, Table V",
        "asr_xi": "ASR %, Table XI",
        "asr": "ASR %, ours",
    },
)

# %% [markdown]
# The success rates differ by 16 points, 21 images of 128, though the mean SSIM differs by 0.04 only. Both tables put it at the threshold of 0.5
# with a deviation of about 0.11. If the scores were normally distributed, a shift of 0.04 there would by itself move about one image in seven from success to failure. The text of the paper quotes Table V. No
# conclusion hangs on it, but it shows how little a success rate says near its threshold.

# %% [markdown]
# ## What the attacks see
#
# The first victims, below each original what was found behind each model (after Fig. 10).

# %% tags=["hide-input"]
for dataset in datasets:
    originals, pictures = architectures_report.pictures(
        settings, found, dataset
    )
    display(
        plots.reconstructions(
            originals, pictures, columns=examples, scaling=scaling
        )
    )

# %% [markdown]
# In the published run the object and its colors are there behind the CNN and the ViT without a CVB. Behind ResNet-18 without one most digits can be read, while of CIFAR-10's images only light and dark areas are left. With the CVB little is left on CIFAR-10 under these attacks, a dark spot or a
# color here and there. On MNIST a reader can still make out some digits behind the ViT with a CVB, where the tables count no success.

# %% [markdown]
# ## Utility against privacy
#
# Accuracy against $1 - \mathrm{SSIM}$, ours and the paper's (Fig. 11a). The best model would stand in the top right corner. The dotted line marks an SSIM of 0.5, the paper's threshold
# for a successful attack: right of it the mean reconstruction fails, under IG or Ignore. Only models that were both attacked and trained have a point.

# %% tags=["hide-input"]
plots.utility(architectures_report.tradeoff(settings, found))

# %% [markdown]
# In the paper each model moves to the right and up, mostly slightly, when the CVB is put in: it protects against these attacks and costs no accuracy. How far that goes is
# the question of {doc}`08_breaking_the_bottleneck`. One thing can be said here already. All three models were attacked by an optimizer that
# starts from noise, and for the ViT there is {ref}`a shorter way <vit-closed-form>`. Its patch embedding is a linear layer, whose weight gradient is $G = \Delta^\top X$ for
# the patches $X$; and $\Delta$ is shared, too: it is the gradient of the position embedding. With one image a batch, $X$ is the solution of a linear
# system, without a label or a single step, and whatever bottleneck stands behind it. That attacks by iteration fail proves
# nothing about a layer that stands before the bottleneck.
