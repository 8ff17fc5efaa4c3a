"""deepct: deep colour transfer between photos."""

__version__ = "0.1.0"
