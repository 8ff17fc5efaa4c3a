"""Errors that a user can act on. The command line prints their sentence without a traceback."""


class DeepctError(Exception):
    """Base of every error that deepct raises on bad input."""


class ImageError(DeepctError):
    """One photo or label map cannot be used; the message names the file."""


class DataError(DeepctError):
    """A folder does not hold what a data layout needs."""


class ConfigError(DeepctError, ValueError):
    """A setting that no network can be built with."""


class CheckpointError(DeepctError):
    """A checkpoint is missing, broken, or of another kind."""


class TrainingError(DeepctError):
    """A training went astray, or what it makes cannot be kept."""
