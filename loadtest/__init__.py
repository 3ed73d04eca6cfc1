"""Measuring the agent: beside other proxies (`compare`), over time (`soak`), and inside (`profile`, `micro`).

Run as ``python -m loadtest COMMAND``; docs/performance.md says how the figures are made and what they mean.
"""
