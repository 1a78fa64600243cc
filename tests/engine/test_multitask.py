"""The real network through training, evaluation and the run folder."""

import json

import numpy as np
import pytest

from mtn_core.config import load_config
from mtn_core.data.split import load_split
from mtn_core.engine.multitask import MultiTaskTask, open_data, open_training, train
from mtn_core.engine.optim import learning_rates
from mtn_core.engine.step import TrainStep
from mtn_core.errors import ConfigError, DataError, RunFolderError
from mtn_core.models.checkpoint import load_checkpoint, load_weights, network_weights
from mtn_core.predict.backend import embed_split
from mtn_core.predict.evaluate import evaluate_into_run, open_evaluation
from mtn_core.predict.mindspore import MindSporeBackend
from mtn_core.runs import RunFolder

TINY = {
    "model.image_size": 32,
    "data.ids_per_batch": 4,
    "data.images_per_id": 2,
    "train.epochs": 1,
    "train.eval_every": 0,
}


def tiny(**overrides):
    return load_config("smoke", TINY | {k.replace("__", "."): v for k, v in overrides.items()})


@pytest.fixture(scope="module")
def run(smoke_root, device, tmp_path_factory):
    """One epoch of the smoke recipe at 32x32, trained and evaluated."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny(train__eval_every=1), [smoke_root], out, device)
    evaluate(out, smoke_root, out, device)
    return out


def evaluate(run, root, out, device, **options):
    checkpoint = load_checkpoint(RunFolder(run).best_checkpoint)
    backend = MindSporeBackend.of_checkpoint(checkpoint, device)
    return evaluate_into_run(backend, open_evaluation(root, backend.model), out, **options)


def test_the_run_folder_is_complete(run, smoke_root):
    names = {p.name for p in run.iterdir()}
    assert names >= {
        "config.yaml",
        "environment.json",
        "train.csv",
        "validation.csv",
        "ckpt",
        "results.json",
        "per_query.parquet",
        "embeddings_query.npz",
        "embeddings_gallery.npz",
    }
    results = json.loads((run / "results.json").read_text())
    for key in ("mAP", "mINP", "color_accuracy", "type_accuracy"):
        assert 0 <= results[key] <= 1
    assert len(results["checkpoint_sha256"]) == len(results["config_sha256"]) == 64
    assert results["num_query_without_match"] == 0
    assert all(RunFolder.knows(name) for name in names)
    assert RunFolder(run).data_roots() == [smoke_root.resolve()]


def test_evaluation_during_training_and_afterwards_agree(run):
    during = (run / "validation.csv").read_text().splitlines()[-1].split(",")[2]
    after = json.loads((run / "results.json").read_text())["mAP"]
    assert float(during) == pytest.approx(after, rel=1e-6)


def test_evaluation_repeats_bit_for_bit(run, smoke_root, device, tmp_path):
    """Properties 1 and 26: a second evaluation gives the same file."""
    evaluate(run, smoke_root, tmp_path / "again", device)
    assert (tmp_path / "again" / "results.json").read_bytes() == (run / "results.json").read_bytes()


def test_results_are_not_overwritten_unasked(run, smoke_root, device):
    with pytest.raises(RunFolderError, match="--overwrite"):
        evaluate(run, smoke_root, run, device)
    with pytest.raises(RunFolderError, match="already holds a run"):
        train(tiny(), [smoke_root], run, device)


def test_resume_refuses_other_settings_and_names_them(run, smoke_root, device):
    with pytest.raises(ConfigError, match=r"optim\.learning_rate: the run has 0\.001, asked for 0"):
        train(
            tiny(optim__learning_rate=0.5, train__eval_every=1),
            [smoke_root],
            run,
            device,
            resume=True,
        )


def test_a_sixteen_image_set_can_be_learnt_by_heart(smoke_root, device):
    """If labels, losses or the update were wrong, this would not go to zero."""
    config = tiny(
        data__flip=0,
        data__translation=0,
        optim__schedule="constant",
        optim__learning_rate=2e-3,
        loss__label_smoothing=0,
    )
    task = MultiTaskTask(config, open_training([smoke_root], config), None, device)
    batch = next(iter(task.loader))
    task.loader.close()
    step = TrainStep(
        task.forward,
        task.network,
        [],
        config.optim,
        learning_rates(config.optim, 30, 1),
        30,
    )
    losses = [step.run(task.inputs(batch), i).parts for i in range(30)]
    assert losses[-1][0] < 0.3 * losses[0][0], "identity"
    assert losses[-1][2] < 0.5 * losses[0][2], "colour"
    assert losses[-1][3] < 0.5 * losses[0][3], "type"


def test_parts_and_every_loss_train_and_go_on_bit_for_bit(smoke_root, device):
    """The centres of the centre loss are state of the training, and no weights."""
    config = tiny(
        model__pose="parts",
        model__last_stride=1,
        model__neck="bnneck",
        loss__circle_weight=0.1,
        loss__contrastive_weight=0.5,
        loss__center_weight=0.01,
    )
    tasks = [
        MultiTaskTask(config, open_training([smoke_root], config), None, device) for _ in range(2)
    ]
    batch = next(iter(tasks[0].loader))
    steps = []
    for task in tasks:
        task.loader.close()
        rates = learning_rates(config.optim, 4, 1)
        steps.append(TrainStep(task.forward, task.network, [], config.optim, rates, 4))
    assert tasks[0].part_names[-5:] == (
        *("loss_circle", "loss_contrastive", "loss_center"),
        *("loss_part_triplet", "loss_part_id"),
    )
    results = [steps[0].run(tasks[0].inputs(batch), i) for i in range(2)]
    assert all(np.isfinite(r.parts).all() and (r.parts[-5:] > 0).all() for r in results)
    assert results[1].loss < results[0].loss
    state = {name: value.copy() for name, value in steps[0].state().items()}
    assert np.abs(state["loss.center.centers"]).max() > 0
    weights = {name: value.copy() for name, value in network_weights(tasks[0].network).items()}
    assert not any("centers" in name for name in weights)
    load_weights(tasks[1].network, weights, "test")
    steps[1].load_state(state)
    through, resumed = (
        step.run(task.inputs(batch), 2) for step, task in zip(steps, tasks, strict=True)
    )
    np.testing.assert_array_equal(through.parts, resumed.parts)
    after = network_weights(tasks[0].network)
    for name, value in network_weights(tasks[1].network).items():
        np.testing.assert_array_equal(value, after[name])


def test_unknown_colours_enter_no_loss(smoke_root, device):
    config = tiny()
    task = MultiTaskTask(config, open_training([smoke_root], config), None, device)
    batch = next(iter(task.loader))
    task.loader.close()
    import mindspore as ms

    batch["color_index"] = np.full_like(batch["color_index"], -1)
    task.forward.set_train(False)
    _, parts = task.forward(*(ms.Tensor(a) for a in task.inputs(batch)))
    assert parts.asnumpy()[2] == 0


def test_embeddings_follow_the_split_whatever_the_batch_size(run, smoke_root, device):
    checkpoint = load_checkpoint(run / "ckpt" / "best.ckpt")
    backend = MindSporeBackend.of_checkpoint(checkpoint, device)
    source = open_evaluation(smoke_root, backend.model)[0]
    first = embed_split(backend, source, batch_size=16)
    second = embed_split(backend, source, batch_size=7)
    assert first.names.tolist() == source.split.frame["name"].tolist()
    # Batches of another size are summed in another order: float32, relative to the largest value.
    largest = np.abs(first.features).max()
    np.testing.assert_allclose(first.features, second.features, atol=1e-5 * max(1.0, largest))
    assert (first.sizes > 0).all()


def test_missing_data_is_found_before_anything_is_written(tmp_path, device):
    with pytest.raises(DataError, match="veri"):
        train(tiny(), [tmp_path / "nothing"], tmp_path / "run", device)
    assert not (tmp_path / "run").exists()


def test_weights_must_be_one_a_root(smoke_root, tmp_path, device):
    with pytest.raises(ConfigError, match="1 roots, got 2 weights"):
        train(tiny(data__weights=[1, 1]), [smoke_root], tmp_path / "run", device)


def test_validation_vehicles_are_held_out_of_training(smoke_root):
    config = load_config("smoke", {"data.val_ids": 0.25, "model.segments": False})
    training, (query, gallery) = open_data([smoke_root], config)
    trained, held = (set(s.split.frame["pid"]) for s in (training, gallery))
    assert len(held) == 6 and not trained & held
    assert set(query.split.frame["name"]) <= set(gallery.split.frame["name"])
    tested = set(load_split(smoke_root, "test").frame["pid"])
    assert not held & tested
    # Read from the training folder, wherever they stand in it.
    sample = next(iter(query.samples([0]))).image()
    assert sample.shape[2] == 3


@pytest.mark.parametrize(
    ("overrides", "eval_root", "named"),
    [({"train.eval_every": 0}, False, "train.eval_every=0"), ({}, True, "--eval_root")],
)
def test_validation_vehicles_leave_nothing_else_to_choose_on(
    smoke_root, overrides, eval_root, named
):
    config = load_config("smoke", {"data.val_ids": 0.25, "model.segments": False} | overrides)
    with pytest.raises(ConfigError, match=named):
        open_data([smoke_root], config, smoke_root if eval_root else None)


@pytest.mark.slow
def test_best_is_chosen_on_held_out_vehicles(smoke_root, tmp_path, capsys, caplog):
    from mtn_core.cli import main

    small = ["model.image_size=32", "model.segments=false", "data.ids_per_batch=8"]
    arguments = ["train", "--root", str(smoke_root), "--recipe", "smoke", "--epochs", "1"]
    arguments += ["--val_ids", "0.25", "--out", str(tmp_path / "run"), "--set", *small]
    caplog.set_level("INFO")
    assert main(arguments) == 0
    assert "best is chosen on 6 vehicles held out of training" in caplog.text
    assert "best mAP" in capsys.readouterr().out
    resolved = (tmp_path / "run" / "config.yaml").read_text()
    assert "val_ids: 0.25" in resolved and "num_ids: 18" in resolved
