# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How gradients leak

# %% tags=["parameters"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
datasets: list[str] = ["digits"]  # image sets of the table beside the paper
model: str = "cnn"  # a model of gleak_lib.models.MODELS
position: int = 1  # of the CVB
kernel_size: int = 5  # of the CVB
scale: float = 0.5  # the CVB's kernels over the channels before it
beta: float = 0.1  # weight of the CVB's KL term
victims: int = 4  # attacked images
steps: int = 400  # steps at most of attacks with Adam
plateau: int = 40  # of these without progress before lr falls
lbfgs_steps: int = 40  # steps at most of attacks with L-BFGS
batch_images: int = 8  # images attacked in batches
batch_sizes: list[int] = [1, 2, 4, 8]  # images a batch
batch_steps: int = 200  # attack steps at most on batches
label_batches: int = 32  # batches whose labels are inferred
movie_victims: int = 4  # images in the animation
frames: int = 20  # most frames of the animation
seed: int = 0  # of weights, dummies and noise
victim_seed: int = 0  # which images are attacked
scaling: str = "minmax"  # or none: images scored as they are
examples: int = 8  # images in the figures, at most 8

# %% tags=["remove-input"]
from gleak_lib.experiments import open_store, parameters, run, tables
from gleak_lib.experiments.plans import leak
from IPython.display import Markdown

settings = parameters.check("01_how_gradients_leak", globals())
cells = leak.cells(**settings)
store = open_store(profile)
found = dict(zip(cells, run(cells, store), strict=True))
Markdown(tables.note(found.values(), profile))
