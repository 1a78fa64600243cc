"""Run folders in TensorBoard and MLflow: every number once, whatever was tracked before."""

import json
import os
import struct

import pandas as pd
import pytest
import yaml

from mtn_core.cli import main
from mtn_core.errors import RunFolderError
from mtn_core.track.record import Record
from mtn_core.track.tensorboard import track_with_tensorboard


@pytest.fixture
def run(tmp_path):
    """A training of two epochs of three steps, one of which is done; no evaluation."""
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    write(folder, 3)
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"recipe": "smoke", "root": "data", "train": {"epochs": 2, "seed": 3}})
    )
    (folder / "environment.json").write_text("{}")
    os.utime(folder / "environment.json", (1e9, 1e9))
    return folder


def write(folder, steps, first_loss=5.0):
    """``train.csv`` up to a step, and ``validation.csv`` up to its epoch."""
    rows = range(1, steps + 1)
    log = {"epoch": [(k + 2) // 3 for k in rows], "step": list(rows)}
    log["loss"] = [first_loss - 0.1 * k for k in rows]
    log |= {"step_ms": [500.0] * steps, "data_wait_ms": [500.0] * steps}
    pd.DataFrame(log).to_csv(folder / "train.csv", index=False)
    epochs = range(1, steps // 3 + 1)
    scores = {
        "epoch": list(epochs),
        "step": [3 * e for e in epochs],
        "score": [0.1 * e for e in epochs],
    }
    pd.DataFrame(scores).to_csv(folder / "validation.csv", index=False)


def evaluate(folder):
    values = {"mAP": 0.25, "cmc": [0.5, 0.6, 0.7], "num_query": 9}
    (folder / "results.json").write_text(json.dumps(values))


def events(folder):
    """(tag, step, time, value) of all event files; the records as TensorBoard frames them."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            for value in event.summary.value:
                found.append((value.tag, event.step, event.wall_time, value.simple_value))
    return found


def tracked(folder, tag):
    return [(step, round(value, 4)) for name, step, _, value in events(folder) if name == tag]


def test_every_number_has_its_step_and_time(run, tmp_path):
    evaluate(run)
    added = track_with_tensorboard(Record.read(run), tmp_path / "tb")
    here = tmp_path / "tb" / "one"
    assert tracked(here, "train/loss") == [(1, 4.9), (2, 4.8), (3, 4.7)]
    assert tracked(here, "validation/score") == [(3, 0.1)]
    assert tracked(here, "results/mAP") == [(3, 0.25)]
    assert tracked(here, "results/rank-1") == [(3, 0.5)]
    assert [time for tag, _, time, _ in events(here) if tag == "train/loss"] == [
        1e9 + 1, 1e9 + 2, 1e9 + 3,
    ]  # fmt: skip
    assert added == len(events(here)) - 1  # and the configuration
    assert "config/text_summary" in {tag for tag, *_ in events(here)}


def test_a_second_call_adds_what_is_new_only(run, tmp_path, capsys):
    words = ["track", str(run), "--to", "tensorboard", "--out", str(tmp_path / "tb")]
    here = tmp_path / "tb" / "one"
    assert main(words) == 0
    assert main(words) == 0
    assert "one: 0 numbers added (still running, or stopped)" in capsys.readouterr().out
    assert len(list(here.glob("events*"))) == 1
    write(run, 6)
    evaluate(run)
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "(complete)" in printed.out
    assert f"next: tensorboard --logdir {tmp_path / 'tb'}" in printed.err
    assert [step for step, _ in tracked(here, "train/loss")] == [1, 2, 3, 4, 5, 6]
    assert tracked(here, "validation/score") == [(3, 0.1), (6, 0.2)]
    assert tracked(here, "results/mAP") == [(6, 0.25)]


def test_half_a_line_waits_for_its_other_half(run, tmp_path):
    with open(run / "train.csv", "a") as file:
        file.write("2,4,4.")
    track_with_tensorboard(Record.read(run), tmp_path / "tb")
    assert [step for step, _ in tracked(tmp_path / "tb" / "one", "train/loss")] == [1, 2, 3]
    write(run, 4)
    track_with_tensorboard(Record.read(run), tmp_path / "tb")
    assert tracked(tmp_path / "tb" / "one", "train/loss")[3:] == [(4, 4.6)]


def test_a_resumed_training_is_no_other_run(run, tmp_path):
    write(run, 5)
    track_with_tensorboard(Record.read(run), tmp_path / "tb")
    for steps in (3, 4, 6):  # the log is cut back to the checkpoint, and grows again
        write(run, steps)
        track_with_tensorboard(Record.read(run), tmp_path / "tb")
    steps = [step for step, _ in tracked(tmp_path / "tb" / "one", "train/loss")]
    assert steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("steps", [2, 6])
def test_a_run_that_replaced_another_replaces_its_numbers(run, tmp_path, steps):
    for before in (3, 4):  # two files of the run before
        write(run, before)
        track_with_tensorboard(Record.read(run), tmp_path / "tb")
    write(run, steps, first_loss=9.0)
    track_with_tensorboard(Record.read(run), tmp_path / "tb")
    found = tracked(tmp_path / "tb" / "one", "train/loss")
    assert found == [(k, round(9 - 0.1 * k, 4)) for k in range(1, steps + 1)]


def test_what_a_killed_call_left_is_counted_once(run, tmp_path):
    here = tmp_path / "tb" / "one"
    track_with_tensorboard(Record.read(run), tmp_path / "tb")
    state = (here / "mtn-track.json").read_text()
    write(run, 6)
    track_with_tensorboard(Record.read(run), tmp_path / "tb")
    (here / "mtn-track.json").write_text(state)  # killed between the events and the state
    track_with_tensorboard(Record.read(run), tmp_path / "tb")
    assert [step for step, _ in tracked(here, "train/loss")] == [1, 2, 3, 4, 5, 6]


def test_another_run_of_the_name_and_files_of_another_program_are_left_alone(run, tmp_path, capsys):
    track_with_tensorboard(Record.read(run), tmp_path / "tb")
    other = tmp_path / "elsewhere" / "one"
    other.mkdir(parents=True)
    for name in ("config.yaml", "environment.json"):
        (other / name).write_bytes((run / name).read_bytes())
    write(other, 3, first_loss=7.0)
    with pytest.raises(RunFolderError, match="shows another run of that name"):
        track_with_tensorboard(Record.read(other), tmp_path / "tb")
    theirs = tmp_path / "theirs" / "one" / "events.out.tfevents.1.host"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"precious")
    with pytest.raises(RunFolderError, match="of another program"):
        track_with_tensorboard(Record.read(run), tmp_path / "theirs")
    assert theirs.read_bytes() == b"precious"
    words = ["track", str(run), str(other), "--to", "tensorboard", "--out", str(tmp_path / "new")]
    assert main(words) == 2
    assert "two runs are called one" in capsys.readouterr().err


def test_what_is_no_run_is_named(run, tmp_path, capsys):
    words = ["--to", "tensorboard", "--out", str(tmp_path / "tb")]
    assert main(["track", str(tmp_path), *words]) == 1
    assert "is not a run folder" in capsys.readouterr().err
    (run / "train.csv").write_text("a,b\n1,2\n")
    assert main(["track", str(run), *words]) == 1
    assert "train.csv is not the log of a run" in capsys.readouterr().err
    assert main(["track", str(run), *words, "--experiment", "x"]) == 2
    assert not (tmp_path / "tb").exists()


@pytest.fixture(scope="module")
def mlflow_client(tmp_path_factory):
    """A store with its tables made, which takes seconds; a test has an experiment of its own."""
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    from mlflow.tracking import MlflowClient

    from mtn_core.track.mlflow import store_uri

    out = tmp_path_factory.mktemp("store")
    return out, MlflowClient(tracking_uri=store_uri(out))


def mlflow_runs(store, experiment):
    client = store[1]
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_mlflow_has_every_number_once(run, mlflow_client, capsys):
    out, client = mlflow_client
    words = ["track", str(run), "--to", "mlflow", "--out", str(out), "--experiment", "once"]
    assert main(words) == 0
    (found,) = mlflow_runs(mlflow_client, "once")
    assert found.info.run_name == "one" and found.info.status == "RUNNING"
    assert found.data.params["train.seed"] == "3"
    write(run, 6)
    evaluate(run)
    assert main(words) == 0
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "one: 0 numbers added (complete)" in printed.out
    assert f"mlflow ui --backend-store-uri sqlite:///{out / 'mlflow.db'}" in printed.err
    (found,) = mlflow_runs(mlflow_client, "once")
    assert found.info.status == "FINISHED" and found.data.metrics["results/mAP"] == 0.25
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert [(m.step, round(m.value, 4)) for m in history] == [
        (k, round(5 - 0.1 * k, 4)) for k in range(1, 7)
    ]
    assert history[0].timestamp == 1_000_000_001_000
    assert {f.path for f in client.list_artifacts(found.info.run_id)} >= {"config.yaml"}
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_run_that_replaced_another_is_a_new_run_of_mlflow(run, mlflow_client):
    from mtn_core.track.mlflow import track_with_mlflow

    out, _ = mlflow_client
    track_with_mlflow(Record.read(run), out, "replaced")
    write(run, 3, first_loss=9.0)
    track_with_mlflow(Record.read(run), out, "replaced")
    (found,) = mlflow_runs(mlflow_client, "replaced")
    assert round(found.data.metrics["train/loss"], 4) == 8.7
