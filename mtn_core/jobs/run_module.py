"""What msrun starts in every process: run a module as the job's script, and say how it ended.

msrun itself waits for all processes, and the others wait in a collective operation for one that
died. The files ``pid.RANK``, ``done.RANK`` and ``failed.RANK`` beside the logs tell the launcher
in time, even of a process that was killed and could not say anything; the scheduler leaves
``pid.scheduler`` and ``failed.scheduler``.
"""

import os
import runpy
import sys
import traceback
from pathlib import Path


def main() -> int:
    """Run ``sys.argv[1]`` as a module with the remaining arguments."""
    # A script's folder stands first there, and modules beside this one are nobody's top level.
    sys.path[:] = [path for path in sys.path if Path(path) != Path(__file__).parent]
    module = sys.argv[1]
    sys.argv = [module, *sys.argv[2:]]
    try:
        _leave_word("pid", str(os.getpid()))
        if _is_scheduler():
            return _serve_as_scheduler()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        _leave_word("done", "")
        return 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        _leave_word("failed" if code else "done", f"exit code {code}")
        return code
    except BaseException:
        text = traceback.format_exc()
        print(text, file=sys.stderr, flush=True)
        _leave_word("failed", text)
        return 1


def _serve_as_scheduler() -> int:
    """Introduce the workers to each other, and end when they have ended."""
    import mindspore as ms
    from mindspore import communication

    ms.set_device("CPU")
    communication.init()
    return 0


def _is_scheduler() -> bool:
    return os.environ.get("MS_ROLE") == "MS_SCHED"


def _leave_word(kind: str, text: str) -> None:
    folder = os.environ.get("MTN_LOG_DIR")
    who = "scheduler" if _is_scheduler() else os.environ.get("RANK_ID", "unknown")
    if folder:
        Path(folder, f"{kind}.{who}").write_text(text)


if __name__ == "__main__":
    # A worker that failed must not wait in MindSpore's exit handlers for the others.
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    if status:
        os._exit(status)
    sys.exit(status)
