"""The attacks of the sources, and where their numbers come from."""

from typing import Any

from gleak_lib.attacks.attack import Attack
from gleak_lib.attacks.closed_form import LinearInversion
from gleak_lib.attacks.labels import Optimized
from gleak_lib.attacks.lbfgs import LBFGS
from gleak_lib.attacks.match import Match
from gleak_lib.attacks.noise import Given, Optimize
from gleak_lib.attacks.patch_embedding import PatchEmbedding
from gleak_lib.attacks.schedule import Schedule
from gleak_lib.attacks.variables import Pixels
from gleak_lib.registry import Registry

# Euclidean distance, L-BFGS, no image prior and no stop rule but L-BFGS's own
_DLG = Attack(
    "dlg",
    match=Match("l2"),
    priors=(),
    variables=Pixels(clip=False),
    optimizer=LBFGS(),
    schedule=Schedule(max_steps=300, drop_after=0, stop_after=0, stop_below=0.0),
)
# 001 §V-B and the CVB paper's code: steps of length 0.01, plateau 40, patience 400, at most 2,000. On a
# bottleneck that code draws new noise at each evaluation inside a step: Resample(each_evaluation=True); ours
# does not, since L-BFGS takes the change of the noise for curvature.
_CVB_LBFGS = _DLG.replace(lr=0.01, drop_after=40, stop_after=400, stop_below=1e-5, max_steps=2_000)
_IG = Attack("ig")
# Attacks on a bottleneck's noise share a schedule, which is ours and has no stop rule, so that what they know
# of the noise is what they differ in. Where the whole gradient can be matched, 001's weight of the prior
# (0.01) blurs: 0.001 is better with the noise known and with it searched for, and worse for averages.
_NOISE = _IG.replace(
    lr=0.1, drop_after=0, milestones=(0.4, 0.7, 0.9), stop_after=0, stop_below=0.0, max_steps=1_500
)

ATTACKS: dict[str, Any] = Registry(
    "attack",
    {
        # Deep Leakage from Gradients (Zhu et al. 2019; 002): image and soft label. 300 steps of torch's
        # L-BFGS (length 1, 20 iterations each, 100 pairs) are its authors' code; the sources do not say.
        "dlg": _DLG.replace(labels=Optimized()),
        # iDLG (Zhao et al. 2020; 002): the label is known or read off the sign of the classifier's gradient.
        # Numbers and the clipping as in the CVB paper's code.
        "idlg": _CVB_LBFGS.replace(name="idlg", clip=True),
        # Client Privacy Leakage (Wei et al. 2020; 000 Eq. 1): a label term; not clipped. Alpha 0.01 is the
        # CVB paper's code's for the attack, but its files for the models overwrite it with 0.1 (CNN,
        # ResNet-18) or 1e-4 (ViT), and what it multiplies there is label_form="paper-code":
        # the weight of the term changes with its form.
        "cpl": _CVB_LBFGS.replace(name="cpl", label_weight=0.01),
        # Inverting Gradients (Geiping et al. 2020; 000 Eq. 2) as 001 §V-B runs it
        "ig": _IG,
        # the same over the gradients before the first bottleneck's decoder only (001 §III-B, Eq. 4)
        "ignore": _IG.replace(name="ignore", layers="before-decoder"),
        # the layer that a layer-targeted defense prunes is left out (004 Table II, "PLD-muted"): the one the
        # defense is known to target, else the classifier; 004's two: "dga", "gia" with the same `exclude`
        "muted": _IG.replace(name="muted", exclude=("last",)),
        # 004 §6: "deep gradient attack", Euclidean, 500 steps of L-BFGS, label known; the step length
        # is not said and is DLG's
        "dga": _DLG.replace(name="dga", max_steps=500),
        # 004 §6: "gradient inverting attack", cosine, sign, 1,000 steps of Adam, label known. Learning rate
        # and its falls are not said and are those of Geiping et al.'s code; the prior's weight is ours
        "gia": _IG.replace(
            name="gia",
            tv=1e-4,
            lr=0.1,
            drop_after=0,
            milestones=(3 / 8, 5 / 8, 7 / 8),
            stop_after=0,
            max_steps=1_000,
        ),
        # quotient of a linear layer's weight and bias gradients (001 Eq. 5, appendix)
        "analytic": LinearInversion(),
        # the patches of a vision transformer by least squares, from the gradients of patch and position
        # embedding; ours, after Lu et al. (CVPR 2022)
        "patches": PatchEmbedding(),
        # image and bottleneck noise together, on the whole gradient (against PRECODE: ChellyFan 2022)
        "joint": _NOISE.replace(name="joint", noise=Optimize(), tv=1e-3),
        # the same with every parameter tensor counting alike and a stronger prior, for trained weights, whose
        # layers' gradients differ much in length; without a bottleneck it is an IG of that kind
        "layerwise": _NOISE.replace(name="layerwise", noise=Optimize(), distance="layerwise", tv=0.03),
        # `joint` if it were told the noise (share_noise=True): what `joint` could reach at best
        "oracle": _NOISE.replace(name="oracle", noise=Given(), tv=1e-3),
        # expectation over the noise (Athalye et al. 2018): dummy gradients averaged over four draws, in the
        # layers that 001 keeps; over all of them with layers="all"
        "expectation": _NOISE.replace(name="expectation", layers="before-decoder", noise_samples=4),
    },
)
