"""Pilotfish: a sidecar that runs beside each application pod."""

__version__ = "0.1.0"
