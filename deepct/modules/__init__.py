"""The LightningModules: the teacher, and the student that is distilled from it."""

from deepct.modules.base import TransferModule
from deepct.modules.student import Student
from deepct.modules.teacher import Teacher

__all__ = ["Student", "Teacher", "TransferModule"]
