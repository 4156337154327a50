"""`python -m …` and `dvc …` in forks of a process that has imported their packages already.

Half the time of a stage on tiny data is the import of packages; a fork has them. The modules of
the project itself are imported anew in each fork, from the folder that the command runs in.

    python warm.py serve FOLDER    until its parent ends; listens at FOLDER/socket
    python warm.py run FOLDER …    a command line in a fork of it, with this one's environment
"""

import json
import os
import socket
import sys
from pathlib import Path

PACKAGES = (
    "dvc.cli", "dvc.commands.experiments.run", "dvc.repo.experiments", "dvc.repo.reproduce",
    "huggingface_hub", "jinja2", "matplotlib.backends.backend_agg",
    "matplotlib.figure", "pandas", "PIL.Image", "pyarrow.parquet", "pydantic", "ruamel.yaml",
    "scmrepo.git", "sentence_transformers", "sklearn.cluster", "sklearn.manifold", "tokenizers",
    "torch._dynamo", "torch.utils.data", "tqdm", "typer",
)  # fmt: skip
COMMANDS = ("python", "dvc")
PR_SET_PDEATHSIG = 1


def write_commands(folder: Path, python: str) -> None:
    """Put `python` and `dvc` into `folder`; another use of python goes to the real one."""
    for name in COMMANDS:
        path = folder / name
        other = f'[ "$1" = -m ] || exec "{python}" "$@"\n' if name == "python" else ""
        path.write_text(
            f'#!/bin/sh\n{other}exec "{python}" -IS "{__file__}" run "{folder}" {name} "$@"\n'
        )
        path.chmod(0o755)


def end_with_parent(parent: int) -> None:
    """End this process when its parent does, even if that is killed with SIGKILL (Linux)."""
    import ctypes
    import signal

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before
        os._exit(1)


def serve(folder: Path) -> None:
    """Fork for each connection; returns in the forks alone, ready to be the command."""
    import contextlib
    import gc
    import importlib

    end_with_parent(os.getppid())
    for name in PACKAGES:
        importlib.import_module(name)
    gc.freeze()  # to look at them in a fork would copy them
    listener = socket.socket(socket.AF_UNIX)
    os.chdir(folder)
    listener.bind("socket")  # a relative name: that of a socket may have 100 bytes
    listener.listen(64)
    print("ready", flush=True)
    server = os.getpid()
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            end_with_parent(server)
            listener.close()
            keep(connection)
            return
        connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # keepers that have ended
                pass


def keep(connection: socket.socket) -> None:
    """Fork the command, wait for its end, tell it. Returns in the command's process alone."""
    files = socket.recv_fds(connection, 1, 3)[1]
    with connection.makefile() as lines:
        asked = json.loads(lines.readline())
    keeper, command = os.getpid(), os.fork()
    if command:
        code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        connection.sendall(bytes([code if code >= 0 else 128 - code]))
        os._exit(0)
    end_with_parent(keeper)
    connection.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    name, *arguments = asked["command"]
    sys.path[0] = asked["folder"] if name == "python" else str(Path(sys.executable).parent)
    sys.argv = arguments[1:] if name == "python" else [name, *arguments]


def work() -> None:
    """Be the command of `sys.argv`, and end as an interpreter does.

    But for the modules, which stay: to take down what was never touched in a fork copies all of it.
    """
    import atexit
    import runpy
    import threading
    import traceback

    code = 1
    try:
        if sys.argv[0] == "dvc":
            from dvc.cli import main

            sys.exit(main())
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def run(folder: str, command: list[str]) -> int:
    """Have a command run by the server in `folder`; its exit code."""
    asked = {"folder": str(Path.cwd()), "environment": dict(os.environ), "command": command}
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.connect("socket")
        socket.send_fds(server, [b"0"], [0, 1, 2])
        server.sendall(json.dumps(asked).encode() + b"\n")
        told = server.recv(1)
    return told[0] if told else 70


if __name__ == "__main__":
    if sys.argv[1] == "run":
        sys.exit(run(sys.argv[2], sys.argv[3:]))
    serve(Path(sys.argv[2]))
    work()
