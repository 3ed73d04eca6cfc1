"""Cores in simulated time: the promises that hold whatever befalls."""
