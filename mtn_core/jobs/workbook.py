"""Runs the notebooks headless: papermill on one machine, msrun for several processes."""

import contextlib
import dataclasses
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtn_core.errors import (
    ConfigError,
    DataError,
    MtnError,
    NotebookError,
    RunFolderError,
    first_offenders,
)
from mtn_core.files import atomic_path, why_no_folder
from mtn_core.jobs.cluster import Cluster, launch
from mtn_core.jobs.outcome import Missing, read_missing
from mtn_core.jobs.own_data import examine_data
from mtn_core.jobs.quiet import bar_of, log_of, logged
from mtn_core.report import write_report
from mtn_core.report.index import write_profile_index, write_reports_index
from mtn_core.report.notebook_html import PageLinks, notebook_to_html, read_notebook
from mtn_core.report.sources import read_baselines
from mtn_core.runs import RunFolder

logger = logging.getLogger(__name__)

# The notebook that trains, and therefore runs on every process of a distributed job.
DISTRIBUTED_NOTEBOOK = "03"
_WAIT_FOR_NODE_0 = 3600  # seconds
# Parameters that say where the workbook itself looks for what the notebooks leave.
_SETTLED = {
    "root": "--root",
    "run_dir": "--runs",
    "trained_run": "--runs",
    "device_target": "--device_target",
    "overwrite": "--overwrite",
}
_KERNEL, _LANGUAGE = "python3", "python"
PASSED, FAILED, NOT_RUN, LEFT_OUT = "passed", "failed", "not run", "left out"
PARTLY = "partly"  # no cell failed, but the notebook says what it did not do
# What the last page and the last lines say of a run that shows nothing but that everything runs.
ADVICE = {
    "smoke": "The profile smoke checks that everything runs; its numbers mean nothing. For a "
    "result: mtn workbook --profile demo, 10 minutes on two cores."
}


@dataclasses.dataclass(frozen=True)
class Profile:
    """What a workbook run works on.

    Attributes:
        name: Also the name of the run folder and of the report folder.
        recipe: Training recipe.
        pose_recipe: Recipe of PoseEstNet.
        pose_overrides: Changes to it.
        synth_size: Size of SynthVeRi that is written where it is not there yet, or None for data
            that the user brings.
        root: Data root, relative to the working folder.
    """

    name: str
    recipe: str
    pose_recipe: str
    synth_size: str | None
    root: str
    pose_overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)


PROFILES = {
    "smoke": Profile("smoke", "smoke", "pose_smoke", "smoke", "data/synthveri-smoke"),
    # pose_demo alone would take the quarter of an hour that the whole workbook may take, and four
    # epochs of demo have more images than eight of smoke.
    "demo": Profile(
        "demo", "demo", "pose_smoke", "demo", "data/synthveri-demo", {"train.epochs": 4}
    ),
    "veri": Profile("veri", "seed", "pose", None, "data"),
}


@dataclasses.dataclass
class NotebookRun:
    """One notebook's place in a workbook run."""

    number: str
    source: Path
    executed: Path
    title: str
    status: str = NOT_RUN
    minutes: float | None = None
    error: str | None = None
    html: Path | None = None
    missing: list[Missing] = dataclasses.field(default_factory=list)

    @property
    def outcome(self) -> str:
        """The status, and for ``partly`` what is missing and how to get it."""
        if self.status != PARTLY:
            return self.status
        return f"{PARTLY}: {'; '.join(one.to_text() for one in self.missing)}"

    def set_passed(self) -> None:
        """Passed, or partly, as the executed copy says."""
        self.missing = read_missing(self.executed)
        self.status = PARTLY if self.missing else PASSED


def find_notebooks(folder: Path, only: Iterable[str] = ()) -> list[Path]:
    """The numbered notebooks of a folder, in order.

    Args:
        folder: Where ``NN_name.ipynb`` lie.
        only: Numbers (``4`` or ``04``) to keep.

    Raises:
        DataError: No notebooks.
        ConfigError: A number without a notebook.
    """
    notebooks = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise DataError(f"no notebooks named NN_name.ipynb in {folder}; give --notebooks FOLDER")
    wanted = {number.zfill(2) for number in only}
    known = {path.name[:2] for path in notebooks}
    if wanted - known:
        raise ConfigError(
            f"no notebook {', '.join(sorted(wanted - known))}; there are {', '.join(sorted(known))}"
        )
    return [path for path in notebooks if not wanted or path.name[:2] in wanted]


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that a notebook does not declare; papermill would only warn.

    Raises:
        ConfigError: Names the unknown parameter and the declared ones.
    """
    declared = declared_parameters(notebook)
    unknown = sorted(set(parameters) - declared)
    if unknown:
        raise ConfigError(
            f"{notebook.name} has no parameter {', '.join(unknown)}; "
            f"its parameters are {', '.join(sorted(declared)) or 'none'}"
        )


def declared_parameters(notebook: Path) -> set[str]:
    """Names in the cell tagged ``parameters``.

    Raises:
        MissingFileError: No such notebook.
        DataError: The file is not a notebook.
    """
    from papermill.translators import papermill_translators

    # Not papermill.inspect_notebook: it wants the notebook to name a kernel, and names no file.
    cells = read_notebook(notebook).cells
    tagged = (cell for cell in cells if "parameters" in cell.metadata.get("tags", ()))
    translator = papermill_translators.find_translator(_KERNEL, _LANGUAGE)
    return {parameter.name for cell in tagged for parameter in translator.inspect(cell)}


def execute_notebook(
    source: Path, executed: Path, parameters: Mapping[str, Any], *, progress: bool = True
) -> None:
    """Run one notebook through papermill and keep its executed copy.

    The copy appears under its name when the run ends, whether it passed or failed. A terminal shows
    a bar of its cells; what papermill and the kernel print goes to the run's log of the notebook.

    Raises:
        ConfigError: A parameter that the notebook does not declare.
        NotebookError: A cell failed; the copy shows it.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    check_parameters(source, parameters)
    failure = None
    log = log_of(executed)
    with atomic_path(executed) as temporary, _without_progress_bars(), logged(log) as options:
        try:
            papermill.execute_notebook(
                str(source),
                str(temporary),
                parameters=dict(parameters),
                # The kernel of this environment, whatever the notebook was saved with.
                kernel_name=_KERNEL,
                language=_LANGUAGE,
                cwd=str(source.parent),
                progress_bar=bar_of(source, shown=progress),
                request_save_on_cell_execute=False,
                **options,
            )
        except PapermillExecutionError as error:
            failure = error
    if failure is not None:
        raise NotebookError(
            f"{source.name} failed in cell {failure.exec_count}: {failure.ename}: "
            f"{failure.evalue}; the executed copy is {executed}, its log {log}"
        )


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Bars inside the kernel would stay in the executed copy as half-finished lines."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before


def run_workbook(
    profile: Profile,
    *,
    notebooks: Path,
    runs_dir: Path,
    reports_dir: Path,
    root: Path | None = None,
    only: Sequence[str] = (),
    cluster: Cluster | None = None,
    parameters: Mapping[str, Any] | None = None,
    device_target: str = "CPU",
    overwrite: bool = False,
    resume: bool = False,
    echo: Callable[[str], None] = lambda line: None,
) -> Path | None:
    """Run the notebooks in order; write their HTML, the retrieval report and an index page.

    On a machine with a node rank above 0 only the notebook that trains runs: its share of it. It
    waits there for an hour until node 0 comes to that notebook.

    Args:
        profile: Data and recipes.
        notebooks: Folder of the notebooks.
        runs_dir: The run folder is ``runs_dir/<profile>``.
        reports_dir: The pages go to ``reports_dir/<profile>``.
        root: Data root in place of the profile's.
        only: Numbers of the notebooks to run; all by default.
        cluster: More than one process for the notebook that trains.
        parameters: Passed to every notebook that declares them; ``overrides`` go before what the
            data settle (:func:`mtn_core.jobs.own_data.examine_data`).
        device_target: ``CPU``, ``GPU`` or ``Ascend``.
        overwrite: Replace an earlier run of the profile.
        resume: Go on with an earlier run of the profile: notebooks that passed are not run again,
            and the training goes on from its last checkpoint.
        echo: Receives a line for every notebook.

    Returns:
        The index page; None on a machine with a node rank above 0, which writes none.

    Raises:
        NotebookError: A notebook failed. The pages are written all the same and show it.
        ConfigError: An unknown number or parameter; nothing was run then.
    """
    sources = find_notebooks(notebooks, only)
    root = (root or Path(profile.root)).resolve()
    run_dir = (runs_dir / profile.name).resolve()
    reports = reports_dir / profile.name
    given = dict(parameters or {})
    settled = sorted(_SETTLED.keys() & given.keys())
    if settled:
        raise ConfigError(
            f"the parameter {settled[0]} is the workbook's own; give {_SETTLED[settled[0]]}"
        )
    common = {
        "root": str(root),
        "run_dir": str(run_dir),
        "trained_run": str(run_dir),
        "recipe": profile.recipe,
        "pose_recipe": profile.pose_recipe,
        "pose_overrides": dict(profile.pose_overrides),
        "device_target": device_target,
        "overwrite": overwrite,
    }
    declared = {source: declared_parameters(source) for source in sources}
    nowhere = sorted(set(given) - set().union(*declared.values()))
    if nowhere:
        raise ConfigError(
            f"no notebook has a parameter {', '.join(nowhere)}; "
            f"they have {', '.join(sorted(set().union(*declared.values())))}"
        )
    runs = [_plan(source, run_dir) for source in sources]
    for folder in (run_dir, reports.resolve()):
        above = next(path for path in (folder, *folder.parents) if path.exists())
        if not above.is_dir():
            raise RunFolderError(f"{folder} cannot be made: {above} is a file")
    cluster = cluster or Cluster()
    # A machine without workers is the scheduler's alone.
    helps = cluster.node_rank > 0 or not cluster.local
    if helps:
        runs = [run for run in runs if run.number == DISTRIBUTED_NOTEBOOK]
        cluster = dataclasses.replace(cluster, cluster_time_out=_WAIT_FOR_NODE_0)
        if not runs:
            echo("nothing to do: node 0 runs the notebooks that do not train")
    else:
        if not resume:
            _check_free(runs, run_dir, overwrite)
        _provide_data(profile, root, echo)
    abilities = examine_data(root)
    for note in abilities.notes:
        echo(note)
    common["overrides"] = {**abilities.overrides, **given.pop("overrides", {})}
    failure = None
    for run in runs:
        if run.number in abilities.left_out and not helps:
            run.status = f"{LEFT_OUT}: {abilities.left_out[run.number]}"
            continue
        if resume:
            if _ran_before(run) and run.status in (PASSED, PARTLY):
                echo(f"{run.source.name} {run.status} before")
                continue
            common |= _where_it_stopped(run, run_dir)
        values = {k: v for k, v in {**common, **given}.items() if k in declared[run.source]}
        started = time.monotonic()
        try:
            if cluster.worker_num > 1 and run.number == DISTRIBUTED_NOTEBOOK:
                _run_distributed(run, {**values, "distribute": True}, cluster, run_dir)
            else:
                execute_notebook(run.source, run.executed, values)
            run.set_passed()
        except MtnError as error:
            run.status, run.error, failure = FAILED, str(error), error
        run.minutes = (time.monotonic() - started) / 60
        echo(f"{run.source.name} {run.status} after {run.minutes:.1f} min")
        for one in run.missing:
            echo(f"  not done: {one.to_text()}")
        if failure:
            break
    if only:
        # The others keep their place on the page, if they ran before.
        chosen = {run.number: run for run in runs}
        others = [_plan(source, run_dir) for source in find_notebooks(notebooks)]
        runs = [chosen.get(o.number, o) for o in others if o.number in chosen or _ran_before(o)]
    index = None if helps else _write_pages(profile, runs, run_dir, reports, reports_dir)
    if profile.name in ADVICE and not helps and not failure:
        echo(ADVICE[profile.name])
    if failure:
        raise failure
    return index


def _plan(source: Path, run_dir: Path) -> NotebookRun:
    title = source.stem[3:].replace("_", " ").capitalize()
    executed = RunFolder(run_dir).notebooks / source.name
    return NotebookRun(source.name[:2], source, executed, f"{source.name[:2]} {title}")


def _ran_before(run: NotebookRun) -> bool:
    """Whether there is an executed copy; the run then knows how it went."""
    try:
        metadata = json.loads(run.executed.read_text(encoding="utf-8"))["metadata"]["papermill"]
        if metadata["exception"]:
            run.status = FAILED
        else:
            run.set_passed()
        run.minutes = metadata["duration"] / 60
    except (OSError, ValueError, KeyError, TypeError):
        run.status, run.minutes = NOT_RUN, None
        return False
    return True


def _where_it_stopped(run: NotebookRun, run_dir: Path) -> dict[str, bool]:
    """Parameters of a notebook that goes on; a training without a checkpoint begins anew."""
    trained = (RunFolder(run_dir).checkpoints / "last.ckpt").is_file()
    resume = trained and run.number == DISTRIBUTED_NOTEBOOK
    return {"resume": resume, "overwrite": not resume}


def _check_free(runs: Sequence[NotebookRun], run_dir: Path, overwrite: bool) -> None:
    """Refuse, before anything is touched, what would replace an earlier run's notebooks or results.

    Raises:
        RunFolderError: They are there, and ``overwrite`` is false; or a folder has the name of one.
    """
    folders = [str(run.executed) for run in runs if run.executed.is_dir()]
    if folders:
        raise RunFolderError(f"{folders[0]} is a folder, but a file is to be written; move it away")
    there = [run.executed.name for run in runs if run.executed.exists()]
    if there and not overwrite:
        raise RunFolderError(
            f"{run_dir} already holds executed notebooks: {first_offenders(there)}; "
            "add --overwrite to run them again"
        )
    if any(run.number == DISTRIBUTED_NOTEBOOK for run in runs):
        RunFolder(run_dir).check_free(overwrite=overwrite)


def _provide_data(profile: Profile, root: Path, echo: Callable[[str], None]) -> None:
    if (root / "veri").is_dir():
        if profile.synth_size and root == Path(profile.root).resolve():
            from mtn_core.synthveri import describe_version

            note = describe_version(root)
            if note:
                echo(note)
        return
    if root.exists() and not root.is_dir():
        raise DataError(f"{root} is a file; --root takes the folder that holds veri/")
    if profile.synth_size is None:
        raise DataError(
            f"{root / 'veri'} {why_no_folder(root / 'veri')}; the profile {profile.name} works on "
            "data that you bring (see `mtn prepare-veri` and `mtn prepare`)"
        )
    from mtn_core.synthveri import write_synthveri

    echo(f"writing SynthVeRi {profile.synth_size} to {root}")
    write_synthveri(root, size=profile.synth_size, seed=0)


def _run_distributed(
    run: NotebookRun, parameters: Mapping[str, Any], cluster: Cluster, run_dir: Path
) -> None:
    arguments = ["--source", str(run.source), "--executed", str(run.executed)]
    arguments += ["--parameters", json.dumps(dict(parameters))]
    check_parameters(run.source, parameters)
    logs = RunFolder(run_dir).logs
    code = launch(cluster, "mtn_core.jobs.rank_notebook", arguments, logs)
    if code:
        raise NotebookError(
            f"{run.source.name} failed on {cluster.worker_num} processes (exit code {code}); "
            f"the logs of every rank are in {logs}"
        )


def _write_pages(
    profile: Profile, runs: Sequence[NotebookRun], run_dir: Path, reports: Path, reports_dir: Path
) -> Path:
    reports.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(run_dir)
    shown = [
        run for run in runs if run.status in (PASSED, PARTLY, FAILED) and run.executed.is_file()
    ]
    pages = [reports / f"{run.source.stem}.html" for run in shown]
    titles = [(run.title, page.name) for run, page in zip(shown, pages, strict=True)]
    last = "report.html" if folder.results.is_file() else None
    for place, (run, page) in enumerate(zip(shown, pages, strict=True)):
        links = PageLinks.of_place(titles, place, report=last)
        run.html = notebook_to_html(run.executed, page, links=links)
    report = None
    headline: dict[str, Any] = {}
    if folder.results.is_file():
        report = reports / "report.html"
        write_report([run_dir], report)
        headline = _headline(folder)
        with contextlib.suppress(OSError), atomic_path(folder.report) as temporary:
            temporary.write_bytes(report.read_bytes())
    index = write_profile_index(
        reports,
        f"Workbook: {profile.name}",
        [(run.title, run.html, run.minutes, run.outcome) for run in runs],
        report,
        headline,
        advice=ADVICE.get(profile.name, ""),
    )
    write_reports_index(reports_dir)
    return index


def _headline(run: RunFolder) -> dict[str, Any]:
    headline = {"trained": run.read_json(run.results)["mAP"]}
    if run.baselines.is_file():
        headline |= read_baselines(run.read_json(run.baselines))
    return headline
