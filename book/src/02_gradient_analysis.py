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
# TODO

# %% tags=["parameters"]
profile: str = "quick"  # quick, cpu or paper
dataset: str = "digits"  # an image set, or your own archive
model: str = "cnn"  # a model of gleak_lib.models.MODELS
bottleneck: str = "precode"  # precode or cvb
position: int = 3  # behind which feature stage it stands
size: int = 32  # PRECODE's k or the CVB's kernel size
beta: float = 0.01  # weight of the KL term
victims: int = 4  # attacked images
steps: int = 300  # attack steps, all of them run
tail: int = 60  # last steps, over which fluctuation is measured
plateau: int = 60  # steps without progress before lr falls
tv: float = 0.01  # weight of the total variation prior
rounds: list[int] = [0, 2]  # rounds after which to attack; 0: fresh
seed: int = 0  # of weights, dummies and noise
victim_seed: int = 0  # which images are attacked
images: int = 3  # images with curves of their own
scaling: str = "minmax"  # or none: images scored as they are

# %% tags=["remove-input"]
from gleak_lib import plots
from gleak_lib.experiments import open_store, parameters, run, tables
from gleak_lib.experiments.plans import analysis
from IPython.display import Markdown

settings = parameters.check("02_gradient_analysis", globals())
cells = analysis.cells(**settings)
store = open_store(profile)
found = dict(zip(cells, run(cells, store), strict=True))
plain, ig, ignore = analysis.names(settings)
Markdown(analysis.note(settings, found))

# %%
plots.tracks(analysis.entry_tracks(settings, found, rounds[0], plain))

# %%
plots.tracks(analysis.entry_tracks(settings, found, rounds[0], ig))

# %%
plots.similarities(analysis.curves(settings, found, rounds[0]))

# %%
plots.similarities(analysis.image_curves(settings, found, rounds[0]))

# %%
plots.similarities(analysis.curves(settings, found, rounds[-1]))

# %%
columns = {
    "setting": "attack",
    "layer": "layer",
    "similarity": "similarity",
    "fluctuation": "fluctuation",
    "change": "change a step",
    "truth": "true image, other noise",
    "length": "relative length",
}
tables.show(
    analysis.table(settings, found, rounds[0]),
    columns=columns,
    caption=analysis.caption(settings, rounds[0]),
)

# %%
tables.show(
    analysis.table(settings, found, rounds[-1]),
    columns=columns,
    caption=analysis.caption(settings, rounds[-1]),
)

# %%
originals, pictures = analysis.pictures(settings, found, rounds[0])
plots.reconstructions(originals, pictures, scaling=scaling)

# %%
tables.show(
    analysis.claims(settings, found), caption=analysis.caption(settings)
)
