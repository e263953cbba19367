"""What tests with real processes share: a host of our own, its processes, its faults, its leak
check.

Owns: `host` (an agent's side of one state directory: plugins, tasks, log readers), `family` (every
process below the test, for which the test plays init), `allocation` (the directories and pipes that
Nomad makes), `tier` (hosts that hold tasks together by other means), `faults` (kill points),
`waiting` (the one place that looks again), `plugins/` (drivers).

Rules:
- Nothing is mocked. A fault is a signal that a real process gets at a real system call.
- A host's block ends with a strict look at what is left: nothing may be.
"""
