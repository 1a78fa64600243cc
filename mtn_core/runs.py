"""The run folder: what it holds, when it may be written into, and how it is read back.

No other module spells the name of a file of a run.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, overload

import pandas as pd
from filelock import SoftFileLock, Timeout

from mtn_core.config import Config, Recipe, Schema, config_from_dict, to_yaml, with_overrides
from mtn_core.errors import ConfigError, RunFolderError, first_line
from mtn_core.files import recover_folder, remove, say_overwrite, write_json, write_text
from mtn_core.strict_yaml import read_yaml

# Keys of config.yaml that stand beside the sections of a recipe.
_CONTEXT_KEYS = ("command", "root", "device_target", "rank_size", "checkpoint", "pre_ckpt_path")
# Of the section data: decides whether a picture is refused, not what is made of it.
_GUARD = "max_pixels"
_ASIDE, _BESIDE = ".replaced", ".unfinished"
Stage = Literal["context", "training", "evaluation", "other"]
_REPLACED: tuple[Stage, ...] = ("context", "training", "evaluation")  # by a new run


class _Entry:
    """A name in a run folder; on a :class:`RunFolder` it is the path.

    Attributes:
        name: File, folder, or a pattern of several.
        stage: What writes it: ``context`` and ``training`` stand for a training, ``evaluation`` for
            what is derived from its weights; ``other`` says itself what it belongs to.
    """

    def __init__(self, name: str, stage: Stage):
        self.name, self.stage = name, stage

    @overload
    def __get__(self, run: None, owner: type) -> "_Entry": ...
    @overload
    def __get__(self, run: "RunFolder", owner: type) -> Path: ...
    def __get__(self, run: "RunFolder | None", owner: type) -> "_Entry | Path":
        return self if run is None else run.path / self.name


class RunFolder:
    """One run's folder.

    Args:
        path: The folder; it need not exist.
    """

    config = _Entry("config.yaml", "context")
    environment = _Entry("environment.json", "context")
    train_log = _Entry("train.csv", "training")
    validation_log = _Entry("validation.csv", "training")
    diagnosis = _Entry("diagnosis.json", "training")
    checkpoints = _Entry("ckpt", "training")
    results = _Entry("results.json", "evaluation")
    per_query = _Entry("per_query.parquet", "evaluation")
    tables = _Entry("tables", "evaluation")
    query_embeddings = _Entry("embeddings_query.npz", "evaluation")
    gallery_embeddings = _Entry("embeddings_gallery.npz", "evaluation")
    baselines = _Entry("baselines.json", "evaluation")
    attention = _Entry("attention.npz", "evaluation")
    report = _Entry("report.html", "evaluation")
    search_index = _Entry("gallery.faiss", "evaluation")
    search_index_key = _Entry("gallery.faiss.json", "evaluation")
    pose_predictions = _Entry("pose_predictions.npz", "evaluation")
    per_keypoint = _Entry("per_keypoint.csv", "evaluation")
    per_image = _Entry("per_image.csv", "evaluation")
    # Figures of notebook 04; those of 01 and 02 show the data and the weights, not the run.
    retrieval_figures = _Entry("figures/[!0]*", "evaluation")
    other_figures = _Entry("figures/0*", "other")
    # The 310 program's run folder and its times: made anew by what writes it.
    infer_310 = _Entry("infer_310", "other")
    figures = _Entry("figures", "other")
    data_images = _Entry("data_images.csv", "other")
    notebooks = _Entry("notebooks", "other")
    logs = _Entry("logs", "other")
    pretrained = _Entry("pretrained", "other")
    export = _Entry("export", "other")
    pose = _Entry("pose", "other")
    store = _Entry("store", "other")

    lock = _Entry(".lock", "other")
    lock_job = _Entry(".lock_job", "other")  # of Slurm, whose process holds the lock

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._file_lock = SoftFileLock(self.lock, timeout=0)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def last_checkpoint(self) -> Path:
        """The newest state of a training."""
        return self.checkpoints / "last.ckpt"

    @property
    def best_checkpoint(self) -> Path:
        """The weights with the best score."""
        return self.checkpoints / "best.ckpt"

    def epoch_checkpoint(self, epoch: int) -> Path:
        """The weights after an epoch, which counts from 1."""
        return self.checkpoints / f"epoch-{epoch:03d}.ckpt"

    def epoch_checkpoints(self) -> list[Path]:
        """Those that are kept, oldest first."""
        return sorted(self.checkpoints.glob("epoch-*.ckpt"))

    @classmethod
    def entries(cls, *stages: Stage) -> list[_Entry]:
        """The names that a run folder may hold, of all stages by default."""
        entries = [e for e in vars(cls).values() if isinstance(e, _Entry)]
        return [e for e in entries if not stages or e.stage in stages]

    @classmethod
    def knows(cls, name: str) -> bool:
        """Whether a name directly in the folder, or ``figures/NAME``, is one of a run's."""
        return any(fnmatch(name, entry.name) for entry in cls.entries())

    # Writing.

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against other processes.

        The lock of a process of this machine that is gone is taken over, and where Slurm starts a
        job again, that of the job's last try on a machine that was lost.

        Raises:
            RunFolderError: Another process writes into the folder; the message says which.
        """
        made = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._acquire()
        except Timeout:
            raise RunFolderError(
                f"{self.path} is being written by {self._lock_holder()[0]}; wait for it, or choose "
                f"another folder (or delete {self.lock} if that process is gone)"
            ) from None
        try:
            self._sign_lock()
            yield
        finally:
            if self._file_lock.lock_counter == 1:
                with contextlib.suppress(OSError):
                    self.lock_job.unlink()
            self._file_lock.release()
            if made and not any(self.path.iterdir()):
                self.path.rmdir()  # made for nothing

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse a folder that holds a run.

        Raises:
            RunFolderError: It does and ``overwrite`` is false, or the path is a file, or another
                process writes into it.
        """
        self._check_place()
        if self.path.is_dir():
            self._recover()
        telling = (self.config, self.train_log, self.results, self.checkpoints)
        present = [path.name for path in telling if path.exists()]
        if present and not overwrite:
            raise RunFolderError(
                f"{self.path} already holds a run ({', '.join(present)}); choose another folder, "
                f"or {say_overwrite()} to write into it"
            )

    def _acquire(self) -> None:
        try:
            self._file_lock.acquire()
        except Timeout:
            # A job keeps its number, and Slurm has ended its last try or given up its machine.
            again = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
            elsewhere = self._lock_holder()[1] != socket.gethostname()
            if not (again and elsewhere and self._lock_job() == os.environ.get("SLURM_JOB_ID")):
                raise
            self.lock.unlink(missing_ok=True)
            self._file_lock.acquire()

    def _sign_lock(self) -> None:
        if job := os.environ.get("SLURM_JOB_ID"):
            write_text(self.lock_job, job)
        else:
            self.lock_job.unlink(missing_ok=True)

    def _lock_job(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            return self.lock_job.read_text(encoding="utf-8")
        return ""

    def _lock_holder(self) -> tuple[str, str]:
        """Who holds the lock, in words, and on which machine."""
        try:
            process, machine = self.lock.read_text(encoding="utf-8").splitlines()[:2]
        except (OSError, ValueError):
            return "a process that did not leave its number", ""
        return f"process {process} of {machine}", machine

    def _check_place(self) -> None:
        if self.path.is_symlink() and not self.path.exists():
            raise RunFolderError(
                f"{self.path} is a link that leads nowhere; remove it, or choose another folder"
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"{self.path} is a file; a run needs a folder")

    def check_not_source(self, path: Path | None, what: str) -> None:
        """Refuse to replace the run that holds what the work starts from.

        Args:
            path: File that is read.
            what: What it is, for the message.

        Raises:
            RunFolderError: It lies among the checkpoints of this run, or the run's configuration,
                which would tell whether they are the run's own, is damaged.
        """
        if path is None:
            return
        places = Path(os.path.realpath(path)).parents
        if Path(os.path.realpath(self.checkpoints)) in places:
            self.read_config_values()
            raise RunFolderError(
                f"{what} {path} is one of the checkpoints of {self.path}, which would be replaced; "
                "choose another folder for the new run"
            )

    def check_no_results(self, *, overwrite: bool) -> None:
        """Refuse to replace results that are there.

        Raises:
            RunFolderError: There are, and ``overwrite`` is false.
        """
        self._check_place()
        if self.path.is_dir():
            self._recover()
        if self.results.exists() and not overwrite:
            raise RunFolderError(
                f"{self.path} already holds results; {say_overwrite()} to replace them"
            )

    @contextlib.contextmanager
    def replaced_by_training(self, *, overwrite: bool) -> Iterator[None]:
        """Make room for a training that writes into the folder as it goes.

        An earlier run is put aside, and deleted when the new one ends with a checkpoint. Where it
        ends without, what it wrote is removed (but for ``diagnosis.json``, which says why) and the
        earlier run is put back. A folder that was made for nothing goes, too.

        Raises:
            RunFolderError: See :meth:`check_free`.
        """
        self.check_free(overwrite=overwrite)
        aside = self.path / _ASIDE
        with self.locked():
            self.check_free(overwrite=overwrite)  # another may have written and ended meanwhile
            had = self._move(self.path, aside, self.entries(*_REPLACED))
            try:
                yield
            except BaseException:
                if not self._has_checkpoint():
                    self._restore(had=had)
                raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    @contextlib.contextmanager
    def with_evaluation(self, *, keep_training: bool, overwrite: bool) -> Iterator["RunFolder"]:
        """Yield a hidden run folder to write results into; they are exchanged when all are there.

        Args:
            keep_training: The folder is the one where the evaluated weights were trained: its
                configuration, logs and checkpoints stay. Otherwise the whole run is replaced.
            overwrite: Whether results, or a run, may be replaced.

        Raises:
            RunFolderError: They may not, and are there.
        """
        check = self.check_no_results if keep_training else self.check_free
        check(overwrite=overwrite)
        beside = self.path / _BESIDE
        stale = self.entries("evaluation")
        if not keep_training:
            stale += self.entries("context", "training")
        with self.locked():
            check(overwrite=overwrite)  # another may have written and ended meanwhile
            beside.mkdir()
            try:
                yield RunFolder(beside)
                self._move(self.path, self.path / _ASIDE, stale)
                self._finish_exchange()
            finally:
                shutil.rmtree(beside, ignore_errors=True)

    def write_context(self, config: Recipe, environment: dict[str, Any], **context: Any) -> None:
        """Write ``config.yaml`` and ``environment.json``, before the work starts.

        Args:
            config: Resolved.
            environment: From :func:`mtn_core.provenance.describe_environment`.
            context: ``command``, ``root``, ``checkpoint`` and the like; paths are made absolute,
                because the next command may run in another folder.
        """
        unknown = context.keys() - set(_CONTEXT_KEYS)
        if unknown:
            raise TypeError(f"unknown context {sorted(unknown)}")
        plain = {key: _absolute(value) for key, value in context.items()}
        write_text(self.config, to_yaml(config, **plain))
        write_json(self.environment, environment)

    def update_config(self, config: Recipe) -> None:
        """Write what a run that goes on has changed in its configuration, if anything."""
        saved, context = self.read_config(type(config))
        if saved != config:
            write_text(self.config, to_yaml(config, **context))

    def _finish_exchange(self) -> None:
        """Move in what :meth:`with_evaluation` has completed, and delete what it replaces."""
        (self.path / _ASIDE).mkdir(exist_ok=True)
        self._move(self.path / _BESIDE, self.path, self.entries(*_REPLACED))
        (self.path / _BESIDE).rmdir()
        shutil.rmtree(self.path / _ASIDE, ignore_errors=True)

    def _has_checkpoint(self) -> bool:
        return self.checkpoints.is_dir() and any(self.checkpoints.glob("*.ckpt"))

    def _restore(self, *, had: bool) -> None:
        keep_record = self.diagnosis.exists() and not had
        if not keep_record:
            for entry in self.entries("context", "training"):
                if entry.name != RunFolder.diagnosis.name:
                    remove(self.path / entry.name)
        self._move(self.path / _ASIDE, self.path, self.entries(*_REPLACED))

    def _recover(self) -> None:
        """Bring in order what a killed process has left: complete an exchange, else undo it."""
        aside, beside = self.path / _ASIDE, self.path / _BESIDE
        with self.locked():  # or a process that lives would be disturbed
            if aside.is_dir() and beside.is_dir():
                # Killed between putting the old aside and moving in the new, which is complete.
                self._finish_exchange()
            elif aside.is_dir() and not self._has_checkpoint():
                self._restore(had=True)
            shutil.rmtree(aside, ignore_errors=True)
            shutil.rmtree(beside, ignore_errors=True)
            self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Remove temporary files of writes that were killed; see :mod:`mtn_core.files`."""
        for place in (self.path, self.checkpoints):
            recover_folder(place, settled_seconds=0)

    @staticmethod
    def _move(source: Path, target: Path, entries: Sequence[_Entry]) -> bool:
        """Move what is there of ``entries``; whether anything was."""
        found = [path for entry in entries for path in sorted(source.glob(entry.name))]
        for path in found:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                remove(place)
            path.rename(place)
        return bool(found)

    # Reading.

    @overload
    def read_config(self) -> tuple[Config, dict[str, Any]]: ...
    @overload
    def read_config(self, schema: type[Schema]) -> tuple[Schema, dict[str, Any]]: ...
    def read_config(self, schema: type[Recipe] = Config) -> tuple[Recipe, dict[str, Any]]:
        """The configuration of the run and the context (root, device) that it was given.

        Args:
            schema: What the configuration must be; PoseEstNet's runs have their own.

        Raises:
            RunFolderError: There is no ``config.yaml``, or it is not one of such a run.
        """
        values = self.read_config_values()
        context = {key: values.pop(key) for key in _CONTEXT_KEYS if key in values}
        try:
            return config_from_dict(values, None, schema), context
        except ConfigError as error:
            raise RunFolderError(
                f"{self.config} is not the configuration of a `mtn {schema.command}` run: {error}"
            ) from error

    def read_config_values(self) -> dict[str, Any]:
        """``config.yaml`` as it stands, of whatever network.

        Raises:
            RunFolderError: There is none, or it is damaged.
        """
        if not self.config.is_file():
            raise RunFolderError(
                f"{self.path} is not a run folder: it has no {RunFolder.config.name}"
            )
        try:
            values = read_yaml(self.config, RunFolder.config.name)
        except ConfigError as error:
            raise RunFolderError(f"{self.config} cannot be read: {error}") from error
        if not isinstance(values, dict):
            what = "nothing" if values is None else type(values).__name__
            raise RunFolderError(f"{self.config} must hold a mapping of sections; got {what}")
        return values

    def read_json(self, path: Path) -> dict[str, Any]:
        """One of the folder's JSON files: ``results``, ``environment``, ``baselines`` ...

        Raises:
            RunFolderError: Absent, or not a JSON object.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunFolderError(f"{self.path} has no {path.name}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise RunFolderError(f"{path} cannot be read: {first_line(error)}") from error
        if not isinstance(value, dict):
            raise RunFolderError(f"{path} must hold an object; got {type(value).__name__}")
        return value

    def read_train_log(self) -> pd.DataFrame:
        """``train.csv``, a row a step; empty where the run was only evaluated.

        Raises:
            RunFolderError: It is not such a log.
        """
        frame = self._read_csv(self.train_log)
        missing = [c for c in ("step", "loss") if c not in frame.columns]
        if missing and (len(frame) or len(frame.columns)):
            raise RunFolderError(
                f"{self.train_log} cannot be read: expected the columns step and loss; "
                f"missing: {', '.join(missing)}"
            )
        return frame

    def read_validation_log(self) -> pd.DataFrame:
        """``validation.csv``, a row an evaluation; empty where there was none."""
        return self._read_csv(self.validation_log)

    def _read_csv(self, path: Path) -> pd.DataFrame:
        if not path.is_file():
            return pd.DataFrame()
        try:
            frame = pd.read_csv(path)
        except pd.errors.EmptyDataError:
            return pd.DataFrame()
        except (OSError, ValueError, pd.errors.ParserError) as error:
            raise RunFolderError(f"{path} cannot be read: {first_line(error)}") from error
        words = frame.select_dtypes(exclude=["number", "bool"]).columns
        if len(words) and len(frame):
            raise RunFolderError(
                f"{path} cannot be read: expected numbers in {', '.join(map(repr, words[:5]))}"
            )
        return frame

    def data_roots(self) -> list[Path]:
        """The data roots that the run names; none where it does not say."""
        try:
            root = self.read_config_values().get("root")
        except RunFolderError:
            return []
        roots = root if isinstance(root, list) else [root]
        return [Path(r) for r in roots if isinstance(r, str)]

    def read_resumed_config(self, asked: Schema, from_data: Sequence[str] = ()) -> Schema:
        """The configuration of a run that is to go on; what is asked for must agree with it.

        ``data.max_pixels`` alone may change: a picture that was refused may be what stopped it.

        Args:
            asked: Resolved from the command line.
            from_data: Dotted keys that the run found out from its data, and nobody asks for.

        Raises:
            RunFolderError: There is no ``config.yaml``.
            ConfigError: Something differs; the message names every key.
        """
        saved, _ = self.read_config(type(asked))
        kept = {key: functools.reduce(getattr, key.split("."), saved) for key in from_data}
        asked = with_overrides(asked, kept)
        if config_sha256(asked) == config_sha256(saved):
            return asked
        wanted = asked.model_dump()
        different = [
            f"{section}.{key}: the run has {value!r}, asked for {wanted[section][key]!r}"
            for section, values in saved.model_dump(exclude={"recipe"}).items()
            for key, value in values.items()
            if value != wanted[section][key] and key != _GUARD
        ]
        raise ConfigError(
            f"{self.path} was started with another configuration; resume with the same recipe and "
            f"settings; {'; '.join(different) or f'recipe: {saved.recipe}'}"
        )

    def trained(self, config_hash: str | None, schema: type[Recipe] = Config) -> bool:
        """Whether weights with this configuration hash were trained in this folder.

        Args:
            config_hash: ``config_sha256`` of the weights' checkpoint.
            schema: Of the network's configuration.
        """
        if config_hash is None or not self.config.is_file():
            return False
        try:
            config, context = self.read_config(schema)
        except RunFolderError:
            return False
        return context.get("command") == schema.command and config_sha256(config) == config_hash


def run_of(path: str | Path) -> Path | None:
    """The run folder that a path is a file of, by its name; None where there is none."""
    place = Path(path).absolute()
    for parent in place.parents:
        name = place.relative_to(parent).parts[0]
        if RunFolder(parent).config.is_file() and RunFolder.knows(name):
            return parent
    return None


def config_sha256(config: Recipe) -> str:
    """Hex SHA-256 of the resolved configuration, but for what changes no result."""
    text = config.model_dump_json(exclude={"data": {_GUARD}})
    return hashlib.sha256(text.encode()).hexdigest()


def _absolute(value: Any) -> Any:
    if isinstance(value, Path):
        return os.path.realpath(value)
    if isinstance(value, list | tuple):
        return [_absolute(item) for item in value]
    return value
