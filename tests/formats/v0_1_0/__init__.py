"""The records of 0.1.0: schema 1."""

ALLOC_ID = "5c4d7a1e-2f0b-4b7e-9a55-0d6f1c3e8b90"
TASK_NAME = "web"
TASK_ID = f"{ALLOC_ID}/{TASK_NAME}/0a1b2c3d"
FENCE = "3f47f924e12c"
RUN = "3f47f924e12c-461f1ade9101"

EXECUTOR = """\
{"schema":1,"task_id":"5c4d7a1e-2f0b-4b7e-9a55-0d6f1c3e8b90/web/0a1b2c3d",\
"alloc_id":"5c4d7a1e-2f0b-4b7e-9a55-0d6f1c3e8b90","task_name":"web","alloc_root":"/data/alloc",\
"driver":"trio","pid":1750,"start_ticks":1855318,"boot_id":"dad7a53e-9ac7-4966-b931-0b746100fcb5",\
"plugin_pid":1707,"plugin_start_ticks":1855212,"created_at_s":1795518335.7499921,"containment":\
{"tier":"cgroup-hybrid",\
"kill_path":"/sys/fs/cgroup/unified/trio-driver-3f47f924e12c-461f1ade9101.scope",\
"own_paths":["/sys/fs/cgroup/unified/trio-driver-3f47f924e12c-461f1ade9101.scope",\
"/sys/fs/cgroup/memory/trio-driver-3f47f924e12c-461f1ade9101.scope",\
"/sys/fs/cgroup/cpu/trio-driver-3f47f924e12c-461f1ade9101.scope"],\
"memory_path":"/sys/fs/cgroup/memory/trio-driver-3f47f924e12c-461f1ade9101.scope"}}
"""

COMMITTED = """\
{"workload_pid":1751,"started_at_s":1795518335.765927,"schema":1}
"""

EXITS = {
    "exited": """\
{"schema":1,"exit":{"type":"exited","code":7},"oom_killed":false,\
"started_at_s":1795518335.765927,"ended_at_s":1795518335.7797427,\
"boot_id":"dad7a53e-9ac7-4966-b931-0b746100fcb5"}
""",
    "signaled": """\
{"schema":1,"exit":{"type":"signaled","signum":9},"oom_killed":true,\
"started_at_s":1795518335.765927,"ended_at_s":1795518335.7797427,\
"boot_id":"dad7a53e-9ac7-4966-b931-0b746100fcb5"}
""",
    "lost": """\
{"schema":1,"exit":{"type":"lost","reason":"the executor ended without telling how the task did"},\
"oom_killed":false,"started_at_s":null,"ended_at_s":1795518335.7797427,\
"boot_id":"dad7a53e-9ac7-4966-b931-0b746100fcb5"}
""",
}

DRIVER_STATE = bytes.fromhex(
    "83a973746174655f646972b02f72756e2f7472696f2d647269766572"  # state_dir: /run/trio-driver
    "a372756eb93366343766393234653132632d343631663161646539313031"  # run
    "ac6578656375746f725f706964cd06d6"  # executor_pid: 1750
)
"""The handle's `driver_state`, msgpack; the handle's version was 1."""
