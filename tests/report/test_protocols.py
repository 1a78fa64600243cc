"""What a report says of protocols other than VeRi's."""

import json
import shutil

from mtn_core.report.headline import make_headline_table
from mtn_core.report.provenance import describe_provenance
from mtn_core.report.sources import load_run
from mtn_core.runs import RunFolder


def test_protocol_draws_and_roles_are_said(run_dir, tmp_path):
    folder = shutil.copytree(run_dir, tmp_path / "run")
    path = RunFolder(folder).results
    results = json.loads(path.read_text())
    results["protocol"] |= {"name": "VehicleID, 800 vehicles", "draws": 10, "seed": 3}
    results["protocol"] |= {"num_distractor": 7, "num_junk": 2}
    figure = {"mean": 0.25, "std": 0.0125, "values": [0.2, 0.3]}
    results["draws"] = {"count": 10, **dict.fromkeys(("mAP", "rank1", "rank5"), figure)}
    path.write_text(json.dumps(results))
    run = load_run(folder)
    note = make_headline_table([run]).note
    assert "draws the gallery 10 times" in note and "mAP 25.0 % ± 1.2 %" in note
    assert "7 distractors, which match no query; 2 junk images" in note
    assert dict(describe_provenance(run))["Protocol"].startswith("VehicleID, 800 vehicles (ignored")


def test_of_veri_there_is_nothing_to_say(run_dir):
    note = make_headline_table([load_run(run_dir)]).note
    assert "draws" not in note and "distractors" not in note
