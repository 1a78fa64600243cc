"""The headline table, and what the breakdowns say of small groups and of several runs."""

import json
import re
import shutil
from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.figure import Figure

from mtn_core.report import write_report
from mtn_core.report.breakdowns import make_breakdown_section, make_verification_section
from mtn_core.report.figures import draw_retrieval_curves
from mtn_core.report.headline import make_headline_table
from mtn_core.report.majority import guess_majority
from mtn_core.report.published import list_published
from mtn_core.report.sources import load_run, load_runs
from mtn_core.report.verdict import describe_weakest_groups
from mtn_core.viz.breakdown import plot_breakdown


def rows_of(table):
    return {row[0].text: dict(zip((c.title for c in table.columns), row, strict=True))
            for row in table.rows}  # fmt: skip


def test_baselines_have_every_column_that_was_measured(run_dir, tmp_path):
    folder = shutil.copytree(run_dir, tmp_path / "run")
    numbers = {"mAP": 0.1, "mINP": 0.02, "rank1": 0.2, "rank5": 0.3, "type_accuracy": 0.4}
    (folder / "baselines.json").write_text(json.dumps({"untrained": numbers}))
    row = rows_of(make_headline_table([load_run(folder)]))["baseline: same network, untrained"]
    shown = {name: row[name].text for name in ("mAP", "mINP", "Rank-1", "Rank-5", "Type")}
    assert list(shown.values()) == ["10.0 %", "2.0 %", "20.0 %", "30.0 %", "40.0 %"]
    assert row["Rank-10"].text == row["Colour"].text == "–"


def test_the_most_frequent_class_is_a_baseline(run_dir):
    run = load_run(run_dir)
    frame = pd.concat(
        pd.DataFrame({"name": split.names, "type": split.type_ids})
        for split in (run.result.query, run.result.gallery)
    ).drop_duplicates("name")
    frame = frame[frame["type"] >= 1]
    share = frame["type"].value_counts(normalize=True).iloc[0]
    assert guess_majority(run.result)["Type"].share == pytest.approx(share)
    row = rows_of(make_headline_table([run]))["baseline: the most frequent class"]
    assert row["Type"].small.startswith("always ") and row["mAP"].text == "–"


def test_published_figures_stand_beside_veri_alone(run_dir):
    run = load_run(run_dir)
    assert list_published(run.result) == ()
    veri = replace(run.result, num_query=1678, num_gallery=11579)
    veri.__dict__.update(query=run.result.query, gallery=run.result.gallery)
    of_veri = replace(run, result=veri)
    row = rows_of(make_headline_table([of_veri]))["published: PAMTRI"]
    assert (row["mAP"].text, row["Rank-1"].text) == ("71.9 %", "92.9 %")
    assert row["Run"].small == "Tang et al., ICCV 2019"
    (_, histogram, _) = draw_retrieval_curves([of_veri])
    assert "fast-reid" in histogram.svg and "published" in histogram.caption
    assert "fast-reid" not in draw_retrieval_curves([run])[1].svg


def test_each_run_has_its_own_breakdown_table(run_dir, other_run_dir):
    runs = load_runs([run_dir, other_run_dir])
    (section,) = make_breakdown_section(runs)
    by_camera = next(part for part in section.parts if part.heading.startswith("By camera"))
    assert [t.caption for t in by_camera.tables] == [
        f"By camera of the query, {name}" for name in ("good", "worse")
    ]
    for run, table in zip(runs, by_camera.tables, strict=True):
        assert table.shows_caption
        expected = run.result.tables["by_camera"]["mAP"].tolist()
        cells = [row[3].value for row in table.rows]
        assert cells == pytest.approx(expected, abs=1e-6)


def small_groups():
    rows = [("a", 3, 1, 0.5, 0.5, 0.5), ("b", 9, 4, 0.2, 0.19, 0.21), ("c", 40, 20, 0.4, 0.3, 0.5)]
    frame = pd.DataFrame(rows, columns=["camid", "num_query", "num_vehicles", "mAP", "mAP_low",
                                        "mAP_high"])  # fmt: skip
    return frame.assign(rank1=0.5, rank5=0.6)


def test_groups_of_few_vehicles_are_hollow_and_say_why():
    ax = plot_breakdown(Figure().subplots(), small_groups(), "camid")
    assert {t.get_text() for t in ax.texts} == {
        "1 vehicle: no interval",
        "4 vehicles: no interval",
    }
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
    assert [sorted(line.get_xdata()) for line in hollow] == [[0.2, 0.5]]
    (lines,) = ax.collections
    assert len(lines.get_segments()) == 1


def test_tables_and_verdict_hold_no_interval_of_few_vehicles(run_dir):
    run = load_run(run_dir)
    run.result.__dict__["tables"] = {**run.result.tables, "by_camera": small_groups()}
    (section,) = make_breakdown_section([run])
    cells = [row[3].small for row in section.parts[0].tables[0].rows]
    assert cells == ["no interval", "no interval", "30.0 to 50.0"]
    few = {**run.result.tables, "by_camera": small_groups().iloc[1:]}
    run.result.__dict__["tables"] = {k: few[k] for k in ("by_camera",)}
    assert "camera b" not in " ".join(describe_weakest_groups(run.result))


def test_a_rate_that_the_pairs_cannot_resolve_is_not_measurable(run_dir):
    run = load_run(run_dir)
    numbers = run.result.tables["verification"].copy()
    numbers.loc[numbers["measure"] == "negative pairs", "value"] = 6134.0
    run.result.__dict__["tables"] = {**run.result.tables, "verification": numbers}
    (section,) = make_verification_section([run])
    rows = {row[0].text: row[1].text for row in section.parts[0].tables[0].rows}
    for what in ("true-accept rate", "threshold"):
        assert rows[f"{what} at false-accept rate 0.0001"] == "not measurable"
        for rate in ("0.01", "0.001"):
            assert rows[f"{what} at false-accept rate {rate}"][0].isdigit()


def test_nothing_claims_a_reason_where_chance_may_be_one(comparison, page):
    for text in (comparison.read_text(), page.read_text()):
        assert "for a reason" not in text and "not by chance" not in text


def test_report_with_names_full_of_digits(run_dir, other_run_dir, tmp_path):
    runs = [
        shutil.copytree(folder, tmp_path / name)
        for folder, name in ((run_dir, "lr_0.0035"), (other_run_dir, "lr_0.0030"))
    ]
    text = write_report(runs, tmp_path / "r.html").read_text()
    for name in ("lr_0.0035", "lr_0.0030"):
        assert len(re.findall(rf">[^<]*{re.escape(name)}[^<]*</text>", text)) >= 5
    assert not re.search(r"lr_0\.00(?!\d)", text)
