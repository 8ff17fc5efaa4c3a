"""Lightning callbacks: pictures while training, figures after a test, files from a prediction."""

from deepct.callbacks.lut import LutWriter
from deepct.callbacks.panels import DemoPanels
from deepct.callbacks.results import TestResults
from deepct.callbacks.writer import PredictionWriter

__all__ = ["DemoPanels", "LutWriter", "PredictionWriter", "TestResults"]
