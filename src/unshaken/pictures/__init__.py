"""Every plot of the house: arrays and plain dicts in, a matplotlib `Figure` out."""

from unshaken.pictures.arrows import fields_figure
from unshaken.pictures.boundary import Boundary, boundaries
from unshaken.pictures.choices import Tried, choice, surface
from unshaken.pictures.costs import costs
from unshaken.pictures.curves import curves
from unshaken.pictures.errors import errors
from unshaken.pictures.evolution import evolution, samples
from unshaken.pictures.histograms import histograms
from unshaken.pictures.inline import svg
from unshaken.pictures.panel import Panel
from unshaken.pictures.signals import signals
from unshaken.pictures.worst import worst

__all__ = [
    "Boundary",
    "Panel",
    "Tried",
    "boundaries",
    "choice",
    "costs",
    "curves",
    "errors",
    "evolution",
    "fields_figure",
    "histograms",
    "samples",
    "signals",
    "surface",
    "svg",
    "worst",
]
