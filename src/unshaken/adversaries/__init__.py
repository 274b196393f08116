"""Adversaries: the ways to find the worst perturbation of a family."""

from unshaken.adversaries.ascent import Ascent
from unshaken.adversaries.base import Adversary, Penalty, Problem
from unshaken.adversaries.eigen import TopEigenvector
from unshaken.adversaries.infinitesimal import Infinitesimal
from unshaken.adversaries.learned import Learned, Tabulated
from unshaken.adversaries.power import PowerIteration
from unshaken.adversaries.random import Random
from unshaken.adversaries.remembered import Remembered
from unshaken.adversaries.steepest import SteepestStep
from unshaken.adversaries.steepest_mask import SteepestMask
from unshaken.adversaries.worst_of import WorstOf

__all__ = [
    "Adversary",
    "Ascent",
    "Infinitesimal",
    "Learned",
    "Penalty",
    "PowerIteration",
    "Problem",
    "Random",
    "Remembered",
    "SteepestMask",
    "SteepestStep",
    "Tabulated",
    "TopEigenvector",
    "WorstOf",
]
