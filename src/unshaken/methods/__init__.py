"""Named methods: each a recipe over perturbation, adversary and divergence."""

from unshaken.methods.at import AT
from unshaken.methods.catgan import CatGAN
from unshaken.methods.co_training import CoTraining
from unshaken.methods.concrete_dropout import ConcreteDropout, add_concrete_dropout
from unshaken.methods.gan_fm import FeatureMatching
from unshaken.methods.ladder import Ladder
from unshaken.methods.mat import MAT, MVAT
from unshaken.methods.mean_teacher import MeanTeacher
from unshaken.methods.mixup import Mixup
from unshaken.methods.pi_model import PiModel
from unshaken.methods.random import Random
from unshaken.methods.stochastic import StochasticTransformations
from unshaken.methods.tangent_propagation import TangentPropagation
from unshaken.methods.temporal_ensembling import TemporalEnsembling
from unshaken.methods.vadd import VAdD
from unshaken.methods.vat import VAT
from unshaken.methods.vmt import VMT
from unshaken.methods.xat import XAT, XVAT

__all__ = [
    "AT",
    "MAT",
    "MVAT",
    "VAT",
    "VMT",
    "XAT",
    "XVAT",
    "CatGAN",
    "CoTraining",
    "ConcreteDropout",
    "FeatureMatching",
    "Ladder",
    "MeanTeacher",
    "Mixup",
    "PiModel",
    "Random",
    "StochasticTransformations",
    "TangentPropagation",
    "TemporalEnsembling",
    "VAdD",
    "add_concrete_dropout",
]
