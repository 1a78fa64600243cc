"""Rank lists of a page: those printed in it, and the data of the one that answers to a click."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from mtn_core.report.page import format_percent
from mtn_core.report.sources import RunSource
from mtn_core.report.thumbnails import PLACEHOLDER_CLASS, ThumbnailStore
from mtn_core.results.attention import AttentionMaps
from mtn_core.results.ranking import RankEntry, Ranker, RankList, select_queries
from mtn_core.results.track_ranking import TrackEntry, TrackRanker
from mtn_core.vehicle import color_name, type_name
from mtn_core.viz.crops import encode_jpeg
from mtn_core.viz.overlay import blend_attention
from mtn_core.viz.style import MARKS, QUERY

_CODES = {"right": 0, "wrong": 1, "ignored": 2}
_MAX_LISTS = 2000  # of names alone, which have no other limit: about 1 MB


def view_rank_list(
    rank_list: RankList, store: ThumbnailStore, *, run_name: str = ""
) -> dict[str, Any]:
    """What the template needs to draw one rank list."""
    hits = [_view_query(rank_list, store)]
    hits += [_view_entry(entry, store) for entry in _shown_entries(rank_list)]
    if rank_list.first_match_is_further_down:
        hits.insert(-1, {"gap": True})
    ap = "no average precision" if np.isnan(rank_list.ap) else f"AP {format_percent(rank_list.ap)}"
    detail = f"{ap}, {rank_list.describe()}"
    if rank_list.num_ignored_hidden:
        detail += f"; {rank_list.num_ignored_hidden} more ignored images not shown"
    title = f"{run_name}: {rank_list.name}" if run_name else rank_list.name
    return {"title": title, "detail": detail, "hits": hits}


def keep_large(views: Sequence[Mapping[str, Any]], store: ThumbnailStore) -> None:
    """Keep larger copies of the crops in printed lists, what tells most before the rest.

    The query, its nearest image and its first match come first, of every list.
    """
    ranked = [[hit for hit in view["hits"] if not hit["gap"]] for view in views]
    telling = [hit for hits in ranked for hit in (*hits[:1], *_telling(hits[1:]))]
    for hit in [*telling, *(hit for hits in ranked for hit in hits)]:
        store.add_large("query" if hit["verdict"] == "query" else "gallery", hit["name"])


def _telling(hits: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    kinds = ("wrong", "right")
    firsts = [next((hit for hit in hits if hit["verdict"] == kind), None) for kind in kinds]
    return [hit for hit in firsts if hit is not None]


def _view_query(rank_list: RankList, store: ThumbnailStore) -> dict[str, Any]:
    camera = _camera_words(rank_list.camid)
    return {
        "verdict": "query",
        "sign": QUERY.sign,
        "thumb": _picture_class(store, "query", rank_list.name),
        "name": rank_list.name,
        "alt": ", ".join([f"query: vehicle {rank_list.pid}", *camera]),
        "pid": rank_list.pid,
        "lines": ["query", f"vehicle {rank_list.pid}", *camera],
        "gap": False,
    }


def _view_entry(entry: RankEntry, store: ThumbnailStore) -> dict[str, Any]:
    rank = "no rank" if entry.rank is None else f"rank {entry.rank}"
    place = "–" if entry.rank is None else f"#{entry.rank}"
    camera = _camera_words(entry.camid)
    return {
        "verdict": entry.verdict,
        "sign": MARKS[entry.verdict].sign,
        "thumb": _picture_class(store, "gallery", entry.name),
        "name": entry.name,
        "pid": entry.pid,
        "alt": ", ".join(
            [
                rank,
                f"{MARKS[entry.verdict].word}: vehicle {entry.pid}",
                *camera,
                f"distance {entry.distance:.2f}",
            ]
        ),
        "lines": [
            f"{place} · d {say_distance(entry.distance)}",
            f"vehicle {entry.pid}",
            *camera,
        ],
        "gap": False,
    }


def say_distance(distance: float) -> str:
    """Three digits, which is what a place below a picture has room for."""
    return f"{distance:.2f}" if abs(distance) < 10 else f"{distance:.1f}"


def _camera_words(camid: int) -> list[str]:
    return [f"camera {camid}"] if camid else []


def _picture_class(store: ThumbnailStore, split: str, name: str) -> str | None:
    """The class of a crop's picture; None where the page shows names instead of pictures."""
    return (store.add(split, name) or PLACEHOLDER_CLASS) if store.has_pictures else None


def view_attention(
    rank_list: RankList, store: ThumbnailStore, maps: AttentionMaps
) -> dict[str, Any]:
    """A rank list whose pictures show where their embeddings come from."""
    view = view_rank_list(rank_list, store)
    shown: list[tuple[str, RankList | RankEntry]] = [("query", rank_list)]
    shown += [("gallery", entry) for entry in _shown_entries(rank_list)]
    pictures = [hit for hit in view["hits"] if not hit["gap"]]
    for hit, (split, item) in zip(pictures, shown, strict=True):
        attention = (maps.query if split == "query" else maps.gallery).get(item.row)
        if attention is not None:
            hit["overlaid"] = True  # the crop alone would not show what the list is about
            crop = store.crops.read(split, item.name, max_side=store.max_side)
            hit["thumb"] = store.add_picture(encode_jpeg(blend_attention(crop, attention)))
            hit["alt"] += ", with its attention map"
    return view


def view_selection(
    run: RunSource, ranker: Ranker, store: ThumbnailStore, how: str, num: int, top_k: int
) -> list[dict[str, Any]]:
    """The rank lists of the worst, best or random queries of a run."""
    rows = select_queries(run.result.per_query, how, num)
    return [view_rank_list(ranker.rank(row, top_k=top_k), store) for row in rows]


def collect_explorer(
    runs: Sequence[RunSource], rankers: Sequence[Ranker], store: ThumbnailStore, *, top_k: int
) -> tuple[Markup, set[int]]:
    """Data of the rank lists that a press on a query shows, worst queries first.

    Args:
        runs: All runs of the report; a press shows the lists of all.
        rankers: One for each run.
        store: Takes the pictures; when it is full, the remaining queries have no list.
        top_k: Images that count in a list.

    Returns:
        JSON that is safe inside a ``script`` element, and the query rows that have lists.
    """
    worst = select_queries(runs[0].result.per_query, "worst", runs[0].result.num_query)
    unmatched = np.flatnonzero(runs[0].result.per_query["ap"].isna()).tolist()
    by_track = [TrackRanker(ranker) for ranker in rankers]
    lists: dict[str, list[dict[str, Any]]] = {}
    gallery: dict[int, list[Any]] = {}
    for row in worst + unmatched:
        ranked = [ranker.rank(row, top_k=top_k) for ranker in rankers]
        shown = [_shown_entries(one) for one in ranked]
        needed = [("query", ranked[0].name)]
        needed += [("gallery", entry.name) for entries in shown for entry in entries]
        if store.is_full_for(needed) if store.has_pictures else len(lists) >= _MAX_LISTS:
            break
        for entry in (entry for entries in shown for entry in entries):
            if entry.row not in gallery:
                thumb = store.add("gallery", entry.name) if store.has_pictures else None
                gallery[entry.row] = [entry.name, entry.pid, entry.camid, thumb]
        lists[str(row)] = [
            _pack_list(one, entries) for one, entries in zip(ranked, shown, strict=True)
        ]
        for packed, tracks in zip(lists[str(row)], by_track, strict=True):
            if tracks.is_known:
                packed["tracks"] = _pack_tracks(
                    tracks.rank(row, top_k=top_k), tracks, store, gallery
                )
        if store.has_pictures:
            lists[str(row)][0]["thumb"] = store.add("query", ranked[0].name)
    data = {"runs": [run.name for run in runs], "gallery": gallery, "lists": lists}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Inside a script element only "<" can end it or open a comment.
    return Markup(text.replace("<", "\\u003c")), {int(row) for row in lists}


def _pack_tracks(
    entries: Sequence[TrackEntry],
    tracks: TrackRanker,
    store: ThumbnailStore,
    gallery: dict[int, list[Any]],
) -> list[list[Any]]:
    """Tracks as the page's script reads them; their images join ``gallery``."""
    images = tracks.gallery
    for entry in entries:
        if entry.row not in gallery:
            name = str(images.names[entry.row])
            # Lists of further queries are worth more than pictures of their tracks.
            thumb = store.known("gallery", name)
            if thumb is None and store.has_pictures and store.num_bytes < store.max_bytes / 2:
                thumb = store.add("gallery", name)
            camid = int(images.camids[entry.row])
            gallery[entry.row] = [name, int(images.pids[entry.row]), camid, thumb]
    return [
        [e.row, round(e.distance, 3), _CODES[e.verdict], e.rank or 0, e.num_images] for e in entries
    ]


def _shown_entries(rank_list: RankList) -> list[RankEntry]:
    first, entries = rank_list.first_match, list(rank_list.entries)
    if first is not None and rank_list.first_match_is_further_down:
        entries.append(first)
    return entries


def _pack_list(rank_list: RankList, entries: Sequence[RankEntry]) -> dict[str, Any]:
    return {
        "name": rank_list.name,
        "pid": rank_list.pid,
        "camid": rank_list.camid,
        "ap": None if np.isnan(rank_list.ap) else round(rank_list.ap, 4),
        "about": rank_list.describe(),
        "hidden": rank_list.num_ignored_hidden,
        "gap": rank_list.first_match_is_further_down,
        "hits": [
            [entry.row, round(entry.distance, 3), _CODES[entry.verdict], entry.rank or 0]
            for entry in entries
        ],
    }


def describe_attributes(color_id: int, type_id: int) -> str:
    """``white SUV``; unknown parts are left out."""
    words = [color_name(int(color_id)), type_name(int(type_id))]
    return " ".join(word for word in words if word != "unknown") or "unknown"
