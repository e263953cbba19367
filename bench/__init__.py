"""What the driver costs, next to Nomad's raw_exec served by a plugin binary of its own.

One command each: `python -m bench.launch`, `bench.tasks`, `bench.memory`, `bench.growth`. README.md
has the results.

Rules:
- Everything is measured from outside, as an agent sees it, on the real thing; nothing is patched.
- The two drivers take turns within one run, so that a noisy machine is noisy for both.
- A figure is a median with its 10th and 90th percentile and the number of runs; no best of anything.
"""
