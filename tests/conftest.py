"""Settings of the whole suite."""

from hypothesis import HealthCheck, settings

# A busy machine is no failure: how long an example takes says nothing about whether it holds.
settings.register_profile("pilotfish", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pilotfish")
