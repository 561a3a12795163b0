"""Every protection by name, and what it stops. A test removes each in turn and shows what then gets through."""

from __future__ import annotations

from reward_models.verifiable.sandbox.syscalls import DENIED

RESOURCES = {
    "cpu_limit": "a loop that ignores every signal",
    "memory_limit": "filling the machine's memory",
    "file_limit": "writing without end to what it was given",
    "descriptor_limit": "using up open files",
    "core_limit": "leaving a memory image behind",
    "stack_limit": "a stack without end",
    "thread_limit": "filling the process table with threads",
}
LAUNCHING = {
    "wall_clock": "sleeping for ever",
    "no_descriptors": "files and sockets of its launcher, inherited",
    "own_session": "job control and the parent's terminal",
    "dies_with_launcher": "outliving the run",
    "clean_environment": "tokens in the environment",
}
FILTERING = {
    **{
        name: f"calls such as {group.split(maxsplit=1)[0]}" if group else "writing to a terminal's input"
        for name, group in DENIED.items()
    },
    "known_calls_only": "calls that a later kernel brings",
    "native_calls_only": "calls by numbers of another architecture, which the filter would misread",
}
NAMESPACES = {
    "process_namespace": "seeing other processes",
    "network_namespace": "seeing any network",
    "ipc_namespace": "shared memory and message queues of others",
    "host_name_namespace": "the machine's name",
    "control_group_namespace": "the machine's control groups",
    "minimal_root": "seeing files other than the interpreter's",
    "read_only_root": "writing anything",
    "no_packages": "installed packages, which may hold tests and answers",
    "no_user_namespaces": "capabilities in a namespace of its own",
}
UNPRIVILEGED = {"unprivileged_user": "what root may do"}
LANDLOCK = {"landlock": "opening any file but the interpreter's, and signals to others"}

TIERS: dict[str, dict[str, str]] = {
    "bwrap": {**NAMESPACES, **UNPRIVILEGED, **FILTERING, **RESOURCES, **LAUNCHING},
    "landlock": {**LANDLOCK, **UNPRIVILEGED, **FILTERING, **RESOURCES, **LAUNCHING},
    "none": {**RESOURCES, **LAUNCHING},
}
