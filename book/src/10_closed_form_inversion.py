# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Closed-form inversion and biases

# %% tags=["parameters"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
width: int = 64  # features of each hidden layer; 001 has 1,024
size: int = 16  # PRECODE's k
beta: float = 0.01  # weight of PRECODE's KL term
positions: list[int] = [1, 2, 3, 4]  # of PRECODE, on fresh weights
precode_at: int = 4  # of PRECODE, in the trainings
victims: int = 8  # attacked images
noise_levels: list[float] = [1e-4, 1e-3, 1e-2]  # standard deviations
pruning: list[float] = [0.5, 0.9, 0.99]  # compressed shares
batch_sizes: list[int] = [2, 4, 8]  # images in a batch
batches: int = 4  # attacked batches of each size
training_rounds: int = 2  # federated rounds
local_batch: int = 50  # of the clients' steps; none may be of one image
seeds: int = 1  # models trained; the first is attacked
seed: int = 0  # of the first model and of the noise
victim_seed: int = 0  # which images are attacked
scaling: str = "none"  # or minmax: each image scaled before scoring
examples: int = 8  # images in the figures, at most 8

# %% tags=["remove-input"]
from gleak_lib import plots
from gleak_lib.experiments import open_store, parameters, run, tables
from gleak_lib.experiments.plans import closed_form
from IPython.display import Markdown

settings = parameters.check("10_closed_form_inversion", globals())
cells = closed_form.cells(**settings)
store = open_store(profile)
found = dict(zip(cells, run(cells, store), strict=True))
Markdown(tables.note(found.values(), profile))

# %%
scores = {"ssim": "SSIM", "psnr": "PSNR dB", "asr": "ASR %"}
columns = {"precode": "PRECODE", "weights": "weights", **scores}
tables.show(
    closed_form.inversion_table(settings, found),
    columns=columns | {"loss": "unexplained"},
    caption=closed_form.caption(settings, "inversion"),
)

# %%
rows = closed_form.inversions(**settings)
originals, pictures = closed_form.pictures(rows[:3], found)
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %%
noise = closed_form.noise_table(settings, found)
plots.levels(
    noise,
    level="std",
    value="psnr",
    by="line",
    xlabel="standard deviation of the gradient noise",
    ylabel="PSNR in dB",
)

# %%
originals, pictures = closed_form.noise_pictures(settings, found, 0)
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %%
tables.show(
    closed_form.compression_table(settings, found),
    columns={"p": "pruned", "weights": "weights", "rows": "rows", **scores},
    caption=closed_form.caption(settings, "compression"),
)

# %%
tables.show(
    closed_form.batch_table(settings, found),
    columns={"batch": "batch", "mode": "mode", **scores},
    caption=closed_form.caption(settings, "batches"),
)

# %%
originals, pictures = closed_form.batch_pictures(
    settings, found, max(b for b in batch_sizes if b <= 8)
)
plots.reconstructions(originals, pictures, columns=examples, scaling=scaling)

# %%
for case, answer in closed_form.refusals().items():
    print(f"{case}: {answer}\n")

# %%
removal = {"precode": "PRECODE", "norm": "BatchNorm", "weights": "weights"}
removal |= {"route": "route", **scores, "minmax_asr": "ASR %, min–max"}
tables.show(
    closed_form.removal_table(settings, found),
    columns=removal,
    caption=closed_form.caption(settings, "removal"),
)

# %%
accuracy = closed_form.accuracy_table(settings, found)
names = {"label": "model", "parameters": "parameters"}
names |= {"accuracy": "accuracy %", "accuracy_paper": "paper's accuracy %"}
tables.show(
    accuracy, columns=names, caption=closed_form.caption(settings, "accuracy")
)
