"""The second host: this machine's files under a stock kernel with cgroup v2 alone.

    python3 -m tests.vm -- .venv/bin/python -m pytest -m cgroup

What most hosts of Nomad have, on a machine that may not: cgroup v2 with all controllers, and a kernel
whose power can be cut. QEMU boots Debian's kernel on the host's root filesystem, read-only with an
overlay in memory; nothing but `$OUT` and the disk survives the guest. It emulates the processor: code
that computes runs at half its speed or less.

- `image`: kernel and initial file system, made once from Debian's packages
- `initramfs`: the cpio format, and the dependencies of kernel modules
- `machine`: one boot
- `__main__`: the command line

Rules:
- The standard library only: it runs before anything of the project is installed.
- Of the host nothing is changed but the cache, and QEMU, which is installed when it is missing.
"""
