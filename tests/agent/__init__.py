"""End-to-end tests: a stock Nomad agent, the plugin installed as an operator does it, real jobs.

Skipped, with the reason, without a `nomad` binary on PATH or without root.
"""
