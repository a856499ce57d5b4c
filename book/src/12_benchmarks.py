# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Speed
#
# A row of Tables VIII to XII of {cite:t}`scheliga2023cvb` is 128 attacks of up to 20,000 steps, and these tables have 85 rows. So how fast an attack runs decides which questions can be asked at all. How long
# a row takes follows below, computed from the measurements.
#
# This page computes nothing. It shows what `python benchmarks/run.py` measured and stored, with the hardware under each table. Machines stand side by
# side, each with its newest version of the code; what was not measured says so.
#
# ## Why it is fast
#
# - **One forward pass for all victims.** All victims attack the same weights. So the images of all go through the network as one batch, and only the
#   weight gradients differ between victims.
# - **Weight gradients in factors.** A weight gradient is a sum of outer products of a layer's inputs and the gradients at its outputs. Its inner product with
#   the observed gradient, and its norm, follow from these factors. Where that is less work, the gradient itself is never written out.
# - **One fold.** A convolution's weight gradient is a product with patches of its input. Its derivative adds patches back into images. A compiler
#   turns this sum into scattered additions, one pixel at a time; here it stays one operation, compiled or not.
# - **Static buffers.** A step is a pure function from state to state, with no look at a value on the host. So its buffers can stay where they are; on a GPU
#   it is recorded once as a CUDA graph, and replayed. The host no longer launches hundreds of small kernels per step.
# - **Compaction.** A victim that has stopped leaves the batch. As the cost is proportional to the number of victims (below), what it would have cost is saved.

# %% tags=["parameters", "hide-cell"]
profile: str = (
    "quick"  # it changes nothing: what the benchmarks stored is shown
)
model: str = "cnn"  # for what each step brought, and for the goals
victims: int = 128  # the same
models: list[str] = [
    "cnn",
    "cnn + PRECODE(1, 8)",
    "cnn + CVB(1, 5)",
    "resnet18",
    "vit",
]

# %% tags=["remove-input"]
from gleak_lib.chapters import parameters
from gleak_lib.experiments import tables
from IPython.display import Markdown

from gleak_book import figures, speed, speed_tables

settings = parameters.check("12_benchmarks", globals())
rows = speed.stored()
steps = speed.steps(rows, models=models)
Markdown(speed.hardware(rows, "throughput"))

# %% tags=["remove-input"]
hours = steps.assign(hours=steps["ms"] * 128 * 20_000 / 3.6e6)
lines = [
    f"- {row.machine}, {row.model}: {row.hours:.3g} hours with the plain loop, one victim after the other"
    + (f"; {best['hours'].min():.2g} with our fastest way" if len(best) else "")
    for row in hours[hours["method"] == "loop"].itertuples()
    for best in [
        hours[
            (hours["machine"] == row.machine)
            & (hours["model"] == row.model)
            & (hours["method"] != "loop")
        ]
    ]
]
Markdown(
    "128 victims times 20,000 steps of Inverting Gradients, from the milliseconds measured here (a stop rule may end an attack sooner):\n\n"
    + ("\n".join(lines) or "- not measured")
)

# %% [markdown]
# ## The goals
#
# Set beforehand, for Inverting Gradients {cite:p}`geiping2020inverting` on the CNN. A figure is that of the fastest method in full precision; compiled steps
# take half a minute to start, and so pay for long attacks only.

# %% tags=["hide-input"]
columns = {
    "goal": "128 victims at once",
    "value": "goal",
    "machine": "machine",
    "method": "method",
    "measured": "measured",
    "reached": "reached",
}
tables.show(
    speed.goals(steps, rows, model=model, victims=victims),
    columns=columns,
    digits={"measured": 2},
)

# %% [markdown]
# ## What each step brought
#
# The plain loop is what one writes for one victim with nothing but torch. Every method does the same arithmetic on the same gradients, in the
# order in which the engine came to be what it is. "Times" compares with the loop on the same machine.

# %% tags=["hide-input"]
columns = {
    "machine": "machine",
    "what": "method",
    "ms": "ms a victim's step",
    "times": "times the loop",
}
tables.show(
    speed.brought(steps, model, victims),
    columns=columns,
    digits={"ms": 3, "times": 1},
)

# %% tags=["remove-input"]
Markdown(speed.hardware(rows, "throughput"))

# %% [markdown]
# In the published run on two cores one forward pass for all victims brings most, six times the loop already with the generic `vmap`. The rules by layer, gradients in factors
# and the compiler then take a quarter, a sixth and a quarter off what is left. Static buffers bring nothing on a processor, where starting a kernel costs little.
# A GPU was not measured.
#
# ## The cost of a victim
#
# A step has a fixed cost, which the victims share, until the machine is full; from there on each victim costs the same, however many
# there are. A line that rises would mean that something is done for pairs of victims, or that memory runs short.

# %% tags=["hide-input"]
figures.scaling(
    speed.cost(steps),
    x="victims",
    y="ms",
    by="line",
    xlabel="victims at once",
    ylabel="ms a victim's step",
)

# %% [markdown]
# ## Every model and method

# %% tags=["hide-input"]
columns = {
    "machine": "machine",
    "model": "model",
    "victims": "victims",
    "method": "method",
    "ms": "ms a victim's step",
    "per_s": "victims' steps a second",
    "times": "times the loop",
    "failed": "why not",
}
tables.show(
    steps,
    columns=columns,
    digits={"ms": 3, "per_s": 0, "times": 1},
)

# %% tags=["remove-input"]
Markdown(speed.hardware(rows, "throughput"))

# %% [markdown]
# In the published tables the rows of `vit` were measured before its blocks took the form of the paper's code (one more GELU in each). `fast` is what runs on a CPU unless one asks for more, `graph` on a GPU. A method that did not fit into memory, or that the machine does not have, says
# so in the last column.
#
# ## Every attack
#
# A step of DLG, iDLG and CPL is one of L-BFGS with 20 evaluations; the loop uses torch's own L-BFGS.

# %% tags=["hide-input"]
columns = {
    "machine": "machine",
    "model": "model",
    "attack": "attack",
    "victims": "victims",
    "loop": "loop, ms a victim's step",
    "engine": "engine",
    "times": "times the loop",
}
tables.show(
    speed_tables.attacks(rows),
    columns=columns,
    digits={"loop": 2, "engine": 2, "times": 1},
)

# %% tags=["remove-input"]
Markdown(speed.hardware(rows, "attacks"))

# %% [markdown]
# ## Beside a peer's loop
#
# The authors of Inverting Gradients publish a package, `breaching`. It attacks the same gradients of the same CNN here, with its own settings, for
# the same number of steps; ours uses these settings, too. The SSIM of both says that the speed is not bought with worse images. (Images are
# embedded digits, unscaled SSIM. The total variation of both differs at the border by one row of pixels.)

# %% tags=["hide-input"]
columns = {
    "machine": "machine",
    "method": "method",
    "victims": "victims",
    "steps": "steps",
    "ms": "ms a victim's step",
    "times": "times the peer",
    "ssim": "SSIM",
}
tables.show(
    speed_tables.peer(rows), columns=columns, digits={"ms": 3, "times": 1}
)

# %% tags=["remove-input"]
Markdown(speed.hardware(rows, "peer"))

# %% [markdown]
# ## A federated round
#
# Ten clients, one local epoch, batches of 64, evaluation included. Several trainings (seeds) can run side by side. The last column extrapolates to the 300 rounds of
# the papers, with the number of images in the table (CIFAR-10 has 50,000).
#
# On a processor `threads` gives each core a client of its own. It needs idle threads that *sleep* (`OMP_WAIT_POLICY=PASSIVE`, which
# `gleak run` sets): those that spin, the default of the OpenMP library, take the cores away from the clients. So `method="auto"` takes it only then.

# %% tags=["hide-input"]
columns = {
    "machine": "machine",
    "model": "model",
    "images": "images",
    "trainings": "trainings",
    "waiting": "idle threads",
    "method": "method",
    "seconds": "seconds a round",
    "times": "times the loop",
    "minutes": "minutes for 300",
}
tables.show(
    speed_tables.rounds(rows),
    columns=columns,
    digits={"seconds": 2, "times": 1, "minutes": 1},
)

# %% tags=["remove-input"]
Markdown(speed.hardware(rows, "federated"))

# %% [markdown]
# ## Memory over steps
#
# One attack of the CNN with no stop rule, in a process of its own. After the first steps memory must stay flat, however long the attack.

# %% tags=["hide-input"]
columns = {
    "machine": "machine",
    "memory": "memory",
    "steps": "steps",
    "settled": "MB after a fifth",
    "last": "MB at the end",
    "growth": "MB per 1,000 steps",
}
tables.show(
    speed_tables.memory(rows),
    columns=columns,
    digits={"settled": 1, "last": 1, "growth": 3},
)

# %% tags=["hide-input"]
figures.scaling(
    speed_tables.samples(rows),
    x="step",
    y="mb",
    by="line",
    xlabel="step",
    ylabel="MB",
    logarithmic=False,
)

# %% tags=["remove-input"]
Markdown(speed.hardware(rows, "memory"))

# %% [markdown]
# The goals for two cores, at most 0.2 ms per victim and step and at least 13 times the loop, are reached with the compiled step. That of 1.5 times the loop for a federated
# round is reached where idle threads sleep, as in `gleak run` (above twice), and not where they spin: there the plain loop is faster, and takes about as long as clients side by side
# with threads that sleep. L-BFGS gains little on a wide perceptron, because the squared distance needs every gradient written out. What is asked of a GPU was not measured.
