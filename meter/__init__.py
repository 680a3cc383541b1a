"""Measure what language-model calls use, turn it into exact money, refuse what nobody can pay."""

from meter.attribution import attribute
from meter.errors import MeterError
from meter.meter import Meter

__all__ = ["Meter", "MeterError", "attribute"]

__version__ = "0.1.0"
