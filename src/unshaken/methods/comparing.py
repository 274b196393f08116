"""The catalog's rows: other methods, to compare with."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from unshaken.methods.catgan import CatGAN
from unshaken.methods.co_training import CoTraining, another
from unshaken.methods.concrete_dropout import ConcreteDropout, add_concrete_dropout
from unshaken.methods.gan_fm import FeatureMatching
from unshaken.methods.ladder import Ladder
from unshaken.methods.mean_teacher import MeanTeacher
from unshaken.methods.method import Method, Range, Settings, Shape
from unshaken.methods.mixup import Mixup
from unshaken.methods.pi_model import PiModel
from unshaken.methods.stochastic import StochasticTransformations
from unshaken.methods.tangent_propagation import TangentPropagation
from unshaken.methods.temporal_ensembling import TemporalEnsembling
from unshaken.methods.vadd import VAdD
from unshaken.models.generators import generator
from unshaken.perturbations.fields import Affine
from unshaken.regularizer import Term

_NOISE = {"noise": 0.15, "ramp": 500.0}
_CONSISTENCY = {
    "weight": Range(0.1, 100.0),
    "noise": Range(0.02, 1.0),
    "ramp": Range(1.0, 10_000.0, searched=False),
}


def _network(shape: Shape) -> nn.Module:
    if shape.network is None:
        raise ValueError("shape must hold the network to be trained, got network=None")
    return shape.network


def _co_training(shape: Shape, s: Settings) -> list[Term]:
    pair = CoTraining(
        another(_network(shape)),
        s["agreement"],
        s["difference"],
        s["radius"],
        s["weight"],
        ramp=round(s["ramp"]),
    )
    return [pair, pair.second_view]


def _ladder(shape: Shape, s: Settings) -> list[Term]:
    ladder = Ladder(_network(shape), (s["input"], s["first"], s["above"]), s["noise"])
    return [ladder, ladder.noisy_labels]


def _generator(shape: Shape) -> nn.Module:
    return generator(shape.channels, shape.size)


ROWS: Mapping[str, Method] = {
    "pi-model": Method(
        "two noisy passes agree",
        lambda shape, s: [PiModel(s["weight"], s["noise"], name="pi-model", ramp=round(s["ramp"]))],
        {"weight": 10.0, **_NOISE},
        ranges=_CONSISTENCY,
    ),
    "mean-teacher": Method(
        "agrees with an average of its weights",
        lambda shape, s: [
            MeanTeacher(_network(shape), s["decay"], s["weight"], s["noise"], ramp=round(s["ramp"]))
        ],
        {"weight": 10.0, "decay": 0.99, **_NOISE},
        ranges={**_CONSISTENCY, "decay": Range(0.9, 0.999, searched=False)},
        training=lambda s: {"ema": s["decay"]},
    ),
    "temporal-ensembling": Method(
        "agrees with its earlier predictions of the example",
        lambda shape, s: [
            TemporalEnsembling(
                shape.examples,
                shape.classes,
                s["decay"],
                s["weight"],
                s["noise"],
                ramp=round(s["ramp"]),
            )
        ],
        {"weight": 10.0, "decay": 0.6, **_NOISE},
        ranges={**_CONSISTENCY, "decay": Range(0.3, 0.99, searched=False)},
    ),
    "stochastic": Method(
        "several noisy passes agree, and each chooses",
        lambda shape, s: [
            StochasticTransformations(
                round(s["passes"]),
                s["exclusivity"],
                s["weight"],
                s["noise"],
                ramp=round(s["ramp"]),
            )
        ],
        {"weight": 1.0, "passes": 4.0, "exclusivity": 0.1, **_NOISE},
        ranges={
            **_CONSISTENCY,
            "passes": Range(2.0, 5.0, log=False, searched=False),
            "exclusivity": Range(0.01, 1.0, searched=False),
        },
    ),
    "mixup": Method(
        "mixed inputs, mixed labels",
        lambda shape, s: [Mixup(s["alpha"])],
        {"alpha": 0.4},
        ranges={"alpha": Range(0.05, 4.0)},
    ),
    "tangent-prop": Method(
        "outputs flat along affine tangents",
        lambda shape, s: [TangentPropagation(Affine(), weight=s["weight"])],
        {"weight": 0.01},
        axes=1,
        ranges={"weight": Range(1e-4, 1.0)},
    ),
    "vadd": Method(
        "a dropout mask and the worst one near it agree",
        lambda shape, s: [VAdD(s["rate"], s["flips"], s["weight"], ramp=round(s["ramp"]))],
        {"weight": 10.0, "rate": 0.5, "flips": 0.05, "ramp": 500.0},
        ranges={
            **_CONSISTENCY,
            "rate": Range(0.05, 0.8, log=False, searched=False),
            "flips": Range(0.01, 0.3, searched=False),
        },
    ),
    "fast-swa": Method(
        "the Π-model, averaged over cycles of the learning rate",
        lambda shape, s: [PiModel(s["weight"], s["noise"], name="fast-swa", ramp=round(s["ramp"]))],
        {"weight": 10.0, **_NOISE, "start": 0.5, "cycle": 0.1, "snapshot": 0.01},
        ranges={
            **_CONSISTENCY,
            "start": Range(0.2, 0.9, log=False, searched=False),
            "cycle": Range(0.02, 0.2, searched=False),
            "snapshot": Range(0.001, 0.1, searched=False),
        },
        training=lambda s: {
            "schedule": f"cyclic:{s['start']:g}:{s['cycle']:g}",
            "swa": f"{s['start']:g}:{s['snapshot']:g}",
        },
    ),
    "co-training": Method(
        "two networks agree, each where the other is fooled",
        _co_training,
        {
            "weight": 1.0,
            "agreement": 10.0,
            "difference": 0.5,
            "radius": 0.05,
            "ramp": 500.0,
        },
        ranges={
            "agreement": Range(0.1, 100.0),
            "difference": Range(0.05, 5.0),
            "radius": Range(0.005, 0.5),
            "ramp": _CONSISTENCY["ramp"],
        },
    ),
    "ladder": Method(
        "a decoder takes the noise out of every layer",
        _ladder,
        {"input": 1000.0, "first": 10.0, "above": 0.1, "noise": 0.3},
        ranges={
            "input": Range(1.0, 10_000.0),
            "first": Range(0.1, 100.0),
            "above": Range(0.01, 10.0),
            "noise": Range(0.05, 1.0),
        },
        networks=("mlp",),
    ),
    "gan-fm": Method(
        "inputs of a generator are told from real ones; feature matching",
        lambda shape, s: [FeatureMatching(_generator(shape), s["weight"])],
        {"weight": 1.0},
    ),
    "catgan": Method(
        "sure of real inputs, unsure of a generator's",
        lambda shape, s: [CatGAN(_generator(shape), s["weight"])],
        {"weight": 1.0},
    ),
    "concrete-dropout": Method(
        "dropout in the network at rates that are learned",
        lambda shape, s: [
            ConcreteDropout(
                shape.labeled or shape.examples,
                s["weight"],
                s["length_scale"],
                name="concrete-dropout",
            )
        ],
        {"weight": 1.0, "rate": 0.1, "length_scale": 0.01},
        ranges={
            "weight": Range(0.01, 100.0),
            "length_scale": Range(1e-4, 1.0, searched=False),
        },
        adapt=lambda network, shape, s: add_concrete_dropout(network, s["rate"]),
    ),
}
