"""Hostile values at the public doors: each is refused with an error of gleak's own that says what is wrong.

Hand-filled observations have a table of their own, tests/attacks/test_check.py; archives, files and the
command line have theirs beside their tests.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gleak_lib import datasets, federated, metrics, models
from gleak_lib.attacks import ATTACKS, Attack, invert, join, loss_at_truth, observe
from gleak_lib.bottlenecks import CVB, PRECODE, insert
from gleak_lib.defenses import DEFENSES, Batch, Defense, chain
from gleak_lib.errors import GleakError
from gleak_lib.federated import Protocol

INF, NAN = math.inf, math.nan
PIXELS = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(4)
MODEL = models.build("lenet", input_shape=(3, 8, 8), num_classes=5, seed=0)
SEEN = observe(MODEL, PIXELS, LABELS)
JOINT = ATTACKS["joint"]
IG = ATTACKS["ig"].replace(max_steps=2)
GRADS = {"a": torch.ones(2, 3), "b": torch.ones(2, 2, 2)}


class Two(nn.Module):
    """Returns a tuple, as nn.MultiheadAttention does."""

    def forward(self, x):
        return x, x


class Uses(nn.Module):
    def __init__(self):
        super().__init__()
        self.two, self.body = Two(), nn.Sequential(nn.Flatten(), nn.Linear(192, 5))

    def forward(self, x):
        return self.body(self.two(x)[0])


def see(images=PIXELS, labels=LABELS, model=MODEL, **kw):
    return observe(model, images, labels, **kw)


def made(**kw):
    return models.build("lenet", **{"input_shape": (3, 8, 8), "num_classes": 5, "seed": 0, **kw})


def put(model=MODEL, after="stage1", spec=PRECODE(k=2), **kw):  # noqa: B008
    return insert(model, after, spec, **{"input_shape": (3, 8, 8), **kw})


def trained(model=MODEL, split=(PIXELS, LABELS), protocol=Protocol(rounds=1), **kw):  # noqa: B008
    return federated.train(model, split, protocol, **{"generator": torch.Generator(), **kw})


def changing(transform):
    return type("Mine", (Defense,), {"transform": lambda self, grads, generator: transform(grads)})()


DIGITS = datasets.load("digits")
OBSERVE = [
    (lambda: see(PIXELS * (1 + 1j)), "images must be real, got torch.complex64"),
    (lambda: see(PIXELS.numpy()), "observe: images must be Tensor, got ndarray"),
    (lambda: see(PIXELS.permute(0, 2, 3, 1)), r"C x H x W, got \(4, 8, 8, 3\): permute"),
    (lambda: see(labels=[0, 1, 2, 3]), "labels must be Tensor, got list of int"),
    (
        lambda: see(labels=torch.eye(5)[:4]),
        r"labels must be .* got \(4, 5\) .*one-hot rows pass labels.argmax",
    ),
    (lambda: see(labels=LABELS.float()), r"class indices, got \(4,\) torch.float32: pass labels.long"),
    (lambda: see(255 * PIXELS), r"in \[0, 1\], got .*: divide them by 255"),
    (lambda: see((255 * PIXELS).byte()), "divide them by 255"),
    (lambda: see(2 * PIXELS - 1), "pass them before normalization, with mean= and std="),
    (lambda: see(PIXELS * NAN), "some are NaN or infinite"),
    (lambda: see(model=nn.Sequential(nn.Flatten(), nn.Linear(192, 1))), "single logit z is the two logits"),
    (lambda: see(model=MODEL.state_dict()), "got OrderedDict: load a state dict into its model"),
    (lambda: see(labels=LABELS * 1j), "labels must be 4 x 1 class indices, got .* torch.complex64"),
    (lambda: see(model=models.MODELS["cnn"]), "model must be Module, got cnn itself: call it"),
    (lambda: see(std=NAN), "std must be positive and finite"),
    (lambda: see(std=0), "std must be positive and finite"),
    (lambda: see(std=[1, INF, 1]), "std must be positive and finite"),
    (lambda: see(mean=NAN), "mean must be finite"),
    (lambda: see(mean=torch.tensor(0.5)), r"mean must be Sequence\[float\] \| float, got Tensor"),
    (lambda: see(mean="0.5"), r"mean must be Sequence\[float\] \| float, got '0.5'"),
    (lambda: see(generator=0), r"generator must be Generator \| None, got 0 \(int\): pass torch.Gen"),
    (lambda: see(defense="dp"), r"defense must be Defense \| None, got 'dp'"),
    (lambda: see(defense=DEFENSES["dp"]), r"defense must be Defense \| None, got DP itself: call it"),
    (lambda: see(share_labels="no"), "share_labels must be bool, got 'no'"),
    (lambda: see(noise_scale="1"), "noise_scale must be float"),
    (lambda: see(noise=1), "unexpected keyword argument 'noise'. It takes: model, images"),
    (lambda: see(defense=changing(lambda g: {n: v[:1] for n, v in g.items()})), r"labels must be \(1, 1\)"),
    (lambda: see(defense=changing(lambda g: None)), r"gradients must be dict\[str, Tensor\], got None"),
    (lambda: see(defense=changing(lambda g: {n: v * NAN for n, v in g.items()})), "NaN or infinite"),
    (lambda: see(defense=changing(lambda g: {n: v * 0 for n, v in g.items()})), "zero everywhere"),
]
INVERT = [
    (lambda: invert(None, IG), "invert: observation must be Observation, got None"),
    (lambda: invert([SEEN], IG), "observation must be Observation, got list of Observation"),
    (
        lambda: invert(SEEN, "ig"),
        r"attack must be Inversion, got 'ig' \(str\): pass a preset such as attacks",
    ),
    (lambda: invert(SEEN, Attack), "attack must be Inversion, got Attack itself: call it"),
    (lambda: invert(SEEN, IG, generator=0), r"generator must be Generator \| None"),
    (lambda: invert(SEEN, IG, compile="no"), "compile must be bool"),
    (lambda: invert(SEEN, IG, precision="float16"), "."),
    (lambda: invert(SEEN, IG, callback=1), r"callback must be a function \| None"),
    (lambda: invert(SEEN), "missing a required argument: 'attack'"),
    (lambda: loss_at_truth(SEEN, IG, PIXELS.numpy(), LABELS), "images must be Tensor"),
    (lambda: loss_at_truth(SEEN, IG, PIXELS * NAN, LABELS), "images must be finite"),
    (lambda: loss_at_truth(SEEN, IG, PIXELS * 1j, LABELS), "images must be finite and real"),
    (lambda: join(SEEN), r"observations must be Sequence\[Observation\], got Observation"),
    (lambda: join([SEEN, None]), "got list of Observation, NoneType"),
]
ATTACK = [
    (lambda: Attack().replace(max_steps=2.5), r"Schedule: max_steps must be int, got 2.5 \(float\)"),
    (lambda: Attack().replace(tv="0.1"), r"TotalVariation: weight must be float, got '0.1' \(str\)"),
    (lambda: Attack().replace(tv=None), "TotalVariation: weight must be float, got None"),
    (lambda: Attack().replace(milestones="half"), r"milestones must be tuple\[float, \.\.\.\], got 'half'"),
    (lambda: Attack().replace(restarts=1.5), "restarts must be int"),
    (lambda: Attack().replace(restarts=True), r"restarts must be int, got True \(bool\)"),
    (lambda: Attack().replace(clip="no"), r"clip must be bool, got 'no'"),
    (lambda: Attack().replace(signed="yes"), "signed must be bool"),
    (lambda: Attack().replace(signed=1), "signed must be bool"),
    (lambda: Attack().replace(distance=1), "distance must be str"),
    (lambda: Attack().replace(layers=1), "layers must be str"),
    (lambda: Attack().replace(exclude=[1]), "exclude must be tuple"),
    (
        lambda: Attack().replace(optimizer=3),
        r"optimizer must be Optimizer, got 3 .*there is Adam\(...\)",
    ),
    (
        lambda: Attack().replace(labels="inferred"),
        r"there is Known\(...\), Inferred\(...\), Opt",
    ),
    (lambda: IG.replace(noise_samples="2"), "samples must be int"),
    *[
        (lambda name=name: JOINT.replace(**{name: INF}), f"{name} must be finite, got inf")
        for name in ("lr", "tv", "drop_threshold", "stop_below", "label_weight", "noise_weight", "noise_lr")
    ],
    (lambda: Attack().replace(lr=NAN), "lr must be positive, got nan"),
    (lambda: Attack().replace(milestones=(NAN,)), "milestones are shares"),
]
MODELS = [
    (lambda: made(num_classes=2.5), r"build: num_classes must be int, got 2.5 \(float\)"),
    (lambda: made(num_classes="10"), "num_classes must be int"),
    (lambda: made(num_classes=0), "num_classes must be at least 1"),
    (lambda: made(seed=2**70), r"seed must be in -2\*\*63 \.\.\. 2\*\*64 - 1, got 1180591620717411303424"),
    (
        lambda: made(num_classes=2 * 10**12),
        r"lenet with num_classes=2000000000000 would need",
    ),
    (
        lambda: made(bottlenecks=PRECODE(k=10**12)),
        r"PRECODE with k=1000000000000 behind \d+ features would need",
    ),
    (lambda: put(spec=PRECODE(k=10**12)), r"PRECODE with k=1000000000000 behind \d+ features would need"),
    (lambda: put(spec=CVB(scale=1e12)), r"CVB with kernel_size=5 and scale=1e\+12 would need"),
    (lambda: made(seed="a"), r"seed must be int \| None, got 'a'"),
    (lambda: made(seed=0.5), "seed must be int"),
    (
        lambda: made(bottlenecks="precode"),
        r"must be Bottleneck \| Sequence\[Bottleneck",
    ),
    (lambda: made(bottlenecks=[None]), "got list of NoneType"),
    (lambda: made(bottlenecks=PRECODE), "got PRECODE itself: call it"),
    (lambda: made(input_shape="3, 8, 8"), "input_shape must be"),
    (lambda: made(input_shape=(3, 8.0, 8)), "input_shape must be .*got tuple of int, float"),
    (lambda: made(input_shape=(3, 8)), "three integers"),
    (lambda: models.build(1), r"name must be str, got 1 \(int\)"),
    (lambda: put(spec="cvb"), r"insert: spec must be Bottleneck, got 'cvb'"),
    (lambda: put(model="cnn"), "model must be Module"),
    (lambda: put(seed=2**64), "seed must be in"),
    (lambda: put(Uses(), "two"), "'two' must run once .* and runs 1 times and returns tuple"),
    (lambda: put(after="stage9"), "stage9"),
]
SPECS = [
    (lambda: PRECODE(k=2.5), "PRECODE: k must be int, got 2.5"),
    (lambda: PRECODE(k="8"), r"k must be int, got '8' \(str\)"),
    (lambda: PRECODE(beta=-1), "beta must be finite and not negative, got -1"),
    (lambda: PRECODE(beta=NAN), "beta must be finite and not negative, got nan"),
    (lambda: PRECODE(beta=INF), "beta must be finite"),
    (lambda: PRECODE(beta="a"), "beta must be float, got 'a'"),
    (lambda: PRECODE(position="1"), "position must be int"),
    (lambda: CVB(kernel_size=3.0), "CVB: kernel_size must be int, got 3.0"),
    (lambda: CVB(scale=NAN), "scale must be positive and finite, got nan"),
    (lambda: CVB(scale=INF), "scale must be positive and finite, got inf"),
    (lambda: CVB(beta=-0.1), "beta must be finite and not negative"),
    (lambda: CVB(k=8), "unexpected keyword argument 'k'. It takes: position, kernel_size"),
]
DEFENSE = [
    (lambda: DEFENSES["compression"](p="0.9"), r"Compression: p must be float, got '0.9' \(str\)"),
    (lambda: DEFENSES["compression"](p=None), "p must be float, got None"),
    (lambda: DEFENSES["gaussian"](std="a"), "std must be float, got 'a'"),
    (
        lambda: DEFENSES["gaussian"](sigma=1),
        "unexpected keyword argument 'sigma'. It takes: std, on",
    ),
    (lambda: DEFENSES["clip"](per_layer="no"), "per_layer must be bool"),
    (lambda: DEFENSES["quantize"](bits="8"), "bits must be int"),
    (lambda: DEFENSES["soteria"](layer=1), r"layer must be str \| None"),
    (lambda: DEFENSES["pld"](probes=1.5), r"probes must be int \| None"),
    *[
        (lambda name=name: DEFENSES[name]([1]), "must be (float|int), got list of int")
        for name in sorted(DEFENSES)
    ],
    (lambda: chain("dp", "clip"), "chain: defenses must be Defense \\| None, got 'dp'"),
    (lambda: chain([DEFENSES["clip"]()]), "defenses must be Defense \\| None, got list of Clip"),
    (lambda: chain(DEFENSES["clip"]), "got Clip itself: call it"),
    *[
        (lambda make=make, grads=grads: make()(grads), message)
        for make in (DEFENSES["clip"], DEFENSES["compression"], DEFENSES["quantize"], DEFENSES["gaussian"])
        for grads, message in [
            ({}, "one V for all, got {}"),
            ({"a": torch.ones(())}, "must be V x the parameter's shape"),
            ({"a": torch.ones(2, 3), "b": torch.ones(5)}, r"one V for all, got {'a': \(2, 3\), 'b': \(5,\)}"),
            ({"a": torch.full((1, 2), INF)}, "gradient of a has NaN or infinite"),
            ({"a": torch.full((1, 2), NAN)}, "gradient of a has NaN or infinite"),
        ]
    ],
]
DATA = [
    (lambda: datasets.load(3), r"load: name must be str, got 3 \(int\)"),
    (lambda: datasets.load("digits", size=2.5), "size must be int"),
    (lambda: datasets.load("digits", size="32"), "size must be int"),
    (lambda: datasets.load("digits", root=3), r"root must be str \| Path \| None"),
    (lambda: datasets.load("digits", download="no"), "download must be bool"),
    (lambda: datasets.load("digits", channels=3.0), "channels must be int"),
    (lambda: datasets.victims(DIGITS, 2.0, 0), r"victims: count must be int, got 2.0 \(float\)"),
    (lambda: datasets.victims(DIGITS, 2, 0.5), "seed must be int"),
    (lambda: datasets.victims(DIGITS, "2", 0), "count must be int"),
    (lambda: datasets.victims("digits", 2, 0), "dataset must be ImageDataset, got 'digits'"),
    (lambda: datasets.victims(DIGITS, 2, 0, split=1), "split must be .* got 1"),
    (lambda: datasets.RootSet(DIGITS), "dataset must be str, got ImageDataset"),
    (lambda: datasets.RootSet("digits", images=2.5), "images must be int, got 2.5"),
]
TRAIN = [
    (lambda: trained(model="cnn"), "train: model must be Module, got 'cnn'"),
    (lambda: trained(split=PIXELS), r"split must be Split \| tuple\[Tensor, Tensor\], got Tensor"),
    (lambda: trained(protocol={"rounds": 1}), "protocol must be Protocol, got dict"),
    (lambda: trained(generator=0), "generator must be Generator, got 0"),
    (lambda: trained(defense="dp"), "defense must be"),
    (lambda: trained(keep="0"), r"keep must be Collection\[int\], got '0'"),
    (lambda: trained(method=1), "method must be"),
    (lambda: trained(mean="0.5"), "mean must be"),
    (
        lambda: federated.train_many(MODEL, (PIXELS, LABELS), Protocol(), generators=[]),
        "models must be Sequence",
    ),
]
METRICS = [
    *[
        (lambda metric=metric: metric(PIXELS.numpy(), PIXELS), "pred must be Tensor, got ndarray")
        for metric in (metrics.mse, metrics.psnr, metrics.ssim)
    ],
    (lambda: metrics.mse(PIXELS * 1j, PIXELS), "MSE needs real images, got torch.complex64"),
    (lambda: metrics.mse(PIXELS, PIXELS, data_range="1"), "mse: data_range must be float"),
    (lambda: metrics.score(PIXELS.numpy(), PIXELS), r"reconstruction must be Reconstruction \| Tensor"),
    (lambda: metrics.score(PIXELS, PIXELS, scaling=1), "scaling must be 'minmax'"),
    (lambda: metrics.score(PIXELS, PIXELS * 255), r"truth must be in \[0, 1\], got .*: divide them by 255"),
    (lambda: metrics.score(PIXELS[None], PIXELS), r"reshape the truth to \(1, 4, 3, 8, 8\)"),
    (lambda: metrics.score(PIXELS, PIXELS.permute(0, 2, 3, 1)), r"got .*and \(4, 8, 8, 3\)\.$"),
    (lambda: metrics.psnr(PIXELS * 255, PIXELS), "PSNR needs images .*: divide them by 255"),
    (lambda: metrics.score(PIXELS, PIXELS, perceptual="vgg"), "perceptual must be a function"),
    (lambda: metrics.minmax(np.zeros(3)), "images must be Tensor"),
    (lambda: metrics.ssim_above("0.5"), "threshold must be float"),
    (lambda: metrics.auc([[1, 2]], [0]), "scores must be Tensor"),
]
TABLE = {
    f"{door}-{number}": row
    for door, rows in {
        "observe": OBSERVE,
        "invert": INVERT,
        "attack": ATTACK,
        "models": MODELS,
        "specs": SPECS,
        "defenses": DEFENSE,
        "datasets": DATA,
        "train": TRAIN,
        "metrics": METRICS,
    }.items()
    for number, row in enumerate(rows)
}


@pytest.mark.parametrize(("call", "message"), TABLE.values(), ids=TABLE)
def test_hostile_values_are_refused_with_a_sentence(call, message):
    with pytest.raises(GleakError, match=message):
        call()


def test_what_is_not_hostile_comes_through():
    see(PIXELS.double(), LABELS.int(), mean=np.array([0.1, 0.2, 0.3]), std=torch.tensor([1.0, 2.0, 3.0]))
    see(mean=[0, 0, 0], std=1, noise_scale=np.float64(1), defense=chain())
    made(
        seed=np.int64(3),
        num_classes=np.int32(5),
        bottlenecks=[PRECODE(1, k=2), CVB(2)],
        input_shape=[3, 8, 8],
    )
    made(seed=-1)
    assert see(labels=LABELS > 1).labels.tolist() == [[0], [0], [1], [1]]
    assert isinstance(DEFENSES["clip"](1), Defense)
    assert set(DEFENSES["clip"]()(GRADS)) == set(GRADS)
    assert Batch(MODEL, PIXELS, LABELS).victims == 1
