"""Puts a retrieval report together from saved run files alone."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from mtn_core.files import write_text
from mtn_core.report.absent import describe_absent
from mtn_core.report.breakdowns import make_breakdown_section, make_verification_section
from mtn_core.report.comparison import make_comparison_section
from mtn_core.report.figures import draw_retrieval_curves, draw_training
from mtn_core.report.headline import collect_baselines, make_headline_table
from mtn_core.report.lists import (
    collect_explorer,
    keep_large,
    view_attention,
    view_selection,
)
from mtn_core.report.map_section import make_map_section
from mtn_core.report.mistakes import make_mistakes_section
from mtn_core.report.page import render_page
from mtn_core.report.parts import Part, Section
from mtn_core.report.provenance import describe_provenance, shorten_paths
from mtn_core.report.query_tables import make_dropped_table, make_query_table
from mtn_core.report.sources import RunSource, load_runs
from mtn_core.report.thumbnails import MAX_LARGE_BYTES, ThumbnailStore
from mtn_core.report.variants import make_variants_section
from mtn_core.report.verdict import describe_run
from mtn_core.results.attention import AttentionMaps
from mtn_core.results.ranking import Ranker, select_queries
from mtn_core.viz.embedding_map import Method

_LOG = logging.getLogger(__name__)
MAX_PICTURE_BYTES = 5_000_000  # leaves room for tables and figures below 8 MB
_LEGEND = (
    "Solid green frame and ✓: the same vehicle. Dashed vermilion frame and ✗: another vehicle. "
    "Dotted grey frame and –: ignored, because it is the same vehicle at the same camera. Below "
    "each picture: rank and distance, vehicle, camera. If the first true match comes later than "
    "the pictures shown, it stands behind the dots."
)
_NUM_ATTENTION = 4
_ATTENTION_NOTE = (
    "Bright: the part of the crop that the identity embedding comes from (class-activation map; "
    "each map has its own scale). Where it lies on the road or on another car, that explains a "
    "wrong list."
)


def write_report(
    run_dirs: Sequence[str | Path],
    out: str | Path,
    *,
    baselines: Mapping[str, Any] | None = None,
    root: str | Path | None = None,
    images: Sequence[str | Path] = (),
    title: str | None = None,
    top_k: int = 10,
    num_lists: int | None = None,
    max_picture_bytes: int = MAX_PICTURE_BYTES,
    max_large_bytes: int = MAX_LARGE_BYTES,
    map_method: Method | None = "tsne",
) -> Path:
    """Write one offline HTML report of one run or several side by side.

    Args:
        run_dirs: Run folders with results; the first is the one that others are compared with.
        out: HTML file to write, whole or not at all.
        baselines: mAP by baseline name, instead of the run's ``baselines.json``.
        root: Data root to read crops from, instead of the one that the run names.
        images: Folders of pictures to read crops from, likewise.
        title: Page title; by default it names the runs.
        top_k: Images that count in a rank list.
        num_lists: Rank lists of the worst queries, and half as many of random ones; by default 12
            for one run and 6 for each of several.
        max_picture_bytes: Room for pictures of crops.
        max_large_bytes: Room for larger copies that open beside a list.
        map_method: ``pca``, ``tsne`` or ``umap``: how the embedding map is made; None for no map.

    Returns:
        ``out`` as a path.

    Raises:
        RunFolderError: A folder has no results.
        DataError: Results of different protocols, or embeddings that cannot be used.
    """
    runs = load_runs(run_dirs, root=root, images=images, baselines=baselines)
    first = runs[0]
    store = ThumbnailStore(
        first.crops, max_bytes=max_picture_bytes, max_large_bytes=max_large_bytes
    )
    rankers = [
        Ranker(
            run.result.query,
            run.result.gallery,
            metric=run.result.protocol["metric"],
            rule=run.result.rule,
        )
        for run in runs
    ]
    compared, differences = make_comparison_section(runs, rankers, store, top_k=top_k)
    sections = [
        *compared,
        Section("curves", "Retrieval curves", [Part(figures=draw_retrieval_curves(runs))]),
        *_rank_list_sections(runs, rankers, store, top_k, num_lists),
        *_attention_sections(runs, rankers, store, top_k),
        *make_breakdown_section(runs),
        *make_mistakes_section(runs, store),
        *make_variants_section(runs),
        *make_map_section(runs[0], store, map_method),
        *make_verification_section(runs),
        *_training_section(runs),
    ]
    lists, rows_with_lists = collect_explorer(runs, rankers, store, top_k=top_k)
    keep_large([view for section in sections for p in section.parts for view in p.lists], store)
    sections += _query_sections(runs, rows_with_lists)
    warnings = _collect_warnings(runs, store)
    for warning in warnings:
        _LOG.warning("%s", warning)
    subject = "The network" if len(runs) == 1 else first.name
    title = title or "Retrieval report: " + " and ".join(run.name for run in runs)
    page = render_page(
        "report.html.j2",
        title=title,
        subtitle=f"{first.result.num_query} queries against {first.result.num_gallery} gallery "
        "images",
        scripts=("downloads.js", "report.js"),
        summary=_summarise(title, runs),
        verdict=[*describe_run(first, subject=subject), *differences],
        headline=make_headline_table(runs),
        notes=_collect_notes(runs),
        runs=[
            {"name": run.name, "facts": describe_provenance(run), "settings": _settings(run)}
            for run in runs
        ],
        contents=[("provenance", "Provenance"), *((s.id, s.title) for s in sections)],
        sections=sections,
        warnings=warnings,
        thumbnails=store.to_css(),
        lists=lists,
        large=Markup(json.dumps(store.large)),  # base64 has no character that could end a script
    )
    write_text(out, page)
    return Path(out)


def _rank_list_sections(
    runs: Sequence[RunSource],
    rankers: Sequence[Ranker],
    store: ThumbnailStore,
    top_k: int,
    num_lists: int | None,
) -> list[Section]:
    num = num_lists or (12 if len(runs) == 1 else 6)
    legend = _LEGEND if store.has_pictures else _LEGEND.replace("picture", "name")
    section = Section("rank-lists", "Rank lists", note=legend)
    words = {
        "worst": ("Worst queries", num),
        "best": ("Best queries", max(1, num // 3)),
        "random": ("Randomly chosen queries", max(1, num // 2)),
    }
    for run, ranker in zip(runs, rankers, strict=True):
        for how, (heading, count) in words.items():
            lists = view_selection(run, ranker, store, how, count, top_k)
            if lists:
                of_run = f"{run.name}: {heading.lower()}" if len(runs) > 1 else heading
                section.parts.append(Part(heading=of_run, lists=lists))
    return [section] if section.parts else []


def _attention_sections(
    runs: Sequence[RunSource], rankers: Sequence[Ranker], store: ThumbnailStore, top_k: int
) -> list[Section]:
    """Rank lists with attention maps, for the runs that have them (`mtn report --attention`)."""
    section = Section("attention", "What the network looks at", note=_ATTENTION_NOTE)
    for run, ranker in zip(runs, rankers, strict=True):
        maps = AttentionMaps.load(run.folder)
        if maps is None:
            continue
        for how in ("worst", "best"):
            rows = select_queries(run.result.per_query, how, _NUM_ATTENTION)
            lists = [
                view_attention(ranker.rank(row, top_k=top_k), store, maps)
                for row in rows
                if row in maps.query
            ]
            if lists:
                section.parts.append(Part(heading=f"{run.name}, {how} queries", lists=lists))
    return [section] if section.parts else []


def _training_section(runs: Sequence[RunSource]) -> list[Section]:
    figures = draw_training(runs)
    return [Section("training", "Training", [Part(figures=figures)])] if figures else []


def _query_sections(runs: Sequence[RunSource], rows_with_lists: set[int]) -> list[Section]:
    dropped = make_dropped_table(runs[0].result)
    sections = []
    if dropped.rows:
        note = (
            f"{len(dropped.rows)} queries have no true match in the gallery once images of the "
            "query's own camera are ignored. mAP, Rank-k and mINP leave them out."
        )
        sections.append(
            Section("dropped", "Queries without a match", [Part(tables=[dropped])], note)
        )
    table = make_query_table(runs, rows_with_lists)
    note = "Press a query's name to see its rank list. Its address (#q=...) can be kept and sent."
    if len(rows_with_lists) < runs[0].result.num_query:
        note += (
            f" To stay small, this file holds the lists of the {len(rows_with_lists)} worst of "
            f"{runs[0].result.num_query} queries."
        )
    sections.append(Section("queries", "All queries", note=note, explorer=table))
    return sections


def _collect_notes(runs: Sequence[RunSource]) -> list[str]:
    """What the runs say about their numbers, each once, and what the page leaves out."""
    notes = list(dict.fromkeys(note for run in runs for note in run.notes))
    absent = describe_absent(runs)
    return [*notes, absent] if absent else notes


def _collect_warnings(runs: Sequence[RunSource], store: ThumbnailStore) -> list[str]:
    several = len(runs) > 1
    warnings = [f"{run.name}: {text}" if several else text for run in runs for text in run.warnings]
    missing = [f"{split}/{name}" for split, name in store.crops.missing]
    if missing and store.has_pictures:
        flag = store.crops.key
        roots = ", ".join(str(root) for root in store.crops.roots)
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        count = "1 crop" if len(missing) == 1 else f"{len(missing)} crops"
        warnings.append(
            f"{count} could not be read ({roots}), shown as grey placeholders: {shown}. "
            f"Give {'the data root' if flag == 'root' else 'their folder'} with --{flag} to show "
            "them."
        )
    return warnings


def _settings(run: RunSource) -> str:
    settings = {
        "config.yaml": run.config,
        "environment.json": run.environment,
        "results.json": {"protocol": run.result.protocol, "provenance": run.result.provenance},
    }
    return yaml.safe_dump(shorten_paths(settings), sort_keys=False, allow_unicode=True)


def _summarise(title: str, runs: Sequence[RunSource]) -> dict[str, Any]:
    """What the index of all reports shows of this one."""
    result = runs[0].result.to_json_dict()
    return {
        "kind": "report",
        "title": title,
        "runs": [run.name for run in runs],
        "mAP": result["mAP"],
        "rank1": result["cmc"][0] if result["cmc"] else None,
        "num_query": result["num_query"],
        "num_gallery": result["num_gallery"],
        "baselines": dict(collect_baselines(runs)),
    }
