"""Lightning callbacks: what a training shows and how it stops and goes on, what a test finds, what is predicted."""

from deepct.callbacks.guard import Guard
from deepct.callbacks.lut import LutWriter
from deepct.callbacks.pace import Pace
from deepct.callbacks.pairs import ValidationPairs
from deepct.callbacks.panels import DemoPanels
from deepct.callbacks.record import RunRecord
from deepct.callbacks.results import TestResults
from deepct.callbacks.resume import Resume
from deepct.callbacks.writer import PredictionWriter

__all__ = [
    "DemoPanels",
    "Guard",
    "LutWriter",
    "Pace",
    "PredictionWriter",
    "Resume",
    "RunRecord",
    "TestResults",
    "ValidationPairs",
]
