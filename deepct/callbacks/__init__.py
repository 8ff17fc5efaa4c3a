"""Lightning callbacks: what a training shows, what a test finds, and the files of a prediction."""

from deepct.callbacks.lut import LutWriter
from deepct.callbacks.pace import Pace
from deepct.callbacks.pairs import ValidationPairs
from deepct.callbacks.panels import DemoPanels
from deepct.callbacks.record import RunRecord
from deepct.callbacks.results import TestResults
from deepct.callbacks.writer import PredictionWriter

__all__ = ["DemoPanels", "LutWriter", "Pace", "PredictionWriter", "RunRecord", "TestResults", "ValidationPairs"]
