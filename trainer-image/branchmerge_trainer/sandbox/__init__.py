"""Runs Python programs that a model wrote, so that nothing gets out of them but their output.

Each program is a process of its own without network, without our environment, with an empty folder as the only place
that it may write to, and without a way to start other processes. It needs no privilege, no namespace and no
supervisor, so it works in a pod under the *restricted* Pod Security Standard: Landlock, seccomp, rlimits.

`Sandbox` is the door. Behind it, a zygote (`zygote`) forks itself for each program, the child gives up what it must not
have (`confinement`: `landlock`, `seccomp`, `rlimits`), runs the program (`execution`) and is watched meanwhile
(`watch`). The package needs the standard library only: it is loaded into the zygote, whose memory programs inherit.

Landlock and seccomp are called by `ctypes` rather than by a library: PyPI's `landlock` knows neither ports nor scopes
and reads the error of a call that did not fail; `pyseccomp` needs `libseccomp.so.2`, which not every image has.
"""
