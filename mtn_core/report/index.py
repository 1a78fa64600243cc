"""Index pages: one for a profile's workbook run, one for all reports of a folder."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mtn_core.files import write_text
from mtn_core.report.page import render_page
from mtn_core.report.verdict import describe_against_baselines, list_baselines

_LOG = logging.getLogger(__name__)
SUMMARY_NAME = "mtn-summary"
_HEAD_BYTES = 65536  # the summary stands at the top of the file
_NO_SUMMARY = dict.fromkeys(
    ("title", "kind", "runs", "mAP", "rank1", "num_query", "num_gallery", "written")
)


def write_profile_index(
    folder: str | Path,
    title: str,
    notebooks: Sequence[tuple[str, Path | str | None, float | None, str]],
    report_html: str | Path | None,
    headline: Mapping[str, Any],
    *,
    advice: str = "",
) -> Path:
    """Write ``folder/index.html``: verdict, headline numbers, links to notebooks and report.

    Args:
        folder: Folder of one profile, such as ``reports/smoke``; made if absent.
        title: Page title.
        notebooks: ``(title, html path or None, minutes or None, status)`` in order; status is a
            word such as ``passed``, ``failed`` or ``not run``, or ``partly: `` and what is missing.
        report_html: The retrieval report, or None where there is none.
        headline: mAP as fractions by name: ``trained`` and any of ``untrained``,
            ``color_histogram``; a value may also be a mapping with the key ``mAP``.
        advice: What a reader should know before the numbers; stands above them.

    Returns:
        The path of the index page.
    """
    folder = Path(folder)
    scores = {name: as_map_fraction(value) for name, value in headline.items()}
    trained = scores.pop("trained", None)
    failed = [name for name, _, _, status in notebooks if status == "failed"]
    summary = {"kind": "workbook", "title": title, "mAP": trained, "failed": len(failed)}
    page = render_page(
        "profile_index.html.j2",
        title=title,
        subtitle="Workbook run: notebooks and retrieval report",
        summary=summary,
        sentences=describe_against_baselines(trained, scores),
        scores=[("the trained network", trained), *list_baselines(scores)],
        notebooks=[
            (name, _relative_link(path, folder), minutes, status)
            for name, path, minutes, status in notebooks
        ],
        failed=failed,
        advice=advice,
        report=_relative_link(report_html, folder),
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"


def write_reports_index(reports_dir: str | Path) -> Path:
    """Write ``reports_dir/index.html``: all reports below it with their headline numbers.

    Only pages that this package wrote are listed; each carries its numbers in its head, so the
    index needs no run folder.

    Returns:
        The path of the index page.
    """
    reports_dir = Path(reports_dir)
    reports_dir.mkdir(parents=True, exist_ok=True)
    own = reports_dir / "index.html"
    entries = []
    for path in sorted(reports_dir.rglob("*.html")):
        hidden = any(part.startswith(".") for part in path.relative_to(reports_dir).parts)
        if path == own or hidden or not path.is_file():  # hidden: still being written
            continue
        try:
            summary = _usable(read_summary(path))
        except OSError as error:
            _LOG.warning("%s is left out of the index: %s", path, error.strerror)
            continue
        if summary is None:
            continue
        entries.append({**_NO_SUMMARY, **summary, "link": _relative_link(path, reports_dir)})
    page = render_page(
        "reports_index.html.j2",
        title="Retrieval reports",
        subtitle=f"{len(entries)} pages in this folder",
        entries=entries,
    )
    write_text(own, page)
    return own


class _SummaryReader(HTMLParser):
    """Finds ``<meta name="mtn-summary" content="JSON">``."""

    summary: dict[str, Any] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "meta" and values.get("name") == SUMMARY_NAME:
            try:
                self.summary = json.loads(values.get("content") or "")
            except (ValueError, RecursionError):
                self.summary = None


def read_summary(path: str | Path) -> dict[str, Any] | None:
    """The headline numbers that a page carries in its head, or None for any other page."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES).decode("utf-8", errors="replace")
    reader = _SummaryReader()
    reader.feed(head)
    return reader.summary if isinstance(reader.summary, dict) else None


def _usable(summary: dict[str, Any] | None) -> dict[str, Any] | None:
    """A summary without the values that are not what this package writes."""
    if not summary:
        return None
    kinds: dict[str, type | tuple[type, ...]] = {
        **dict.fromkeys(("title", "kind", "written"), str),
        **dict.fromkeys(("mAP", "rank1"), (int, float)),
        **dict.fromkeys(("num_query", "num_gallery"), int),
        "runs": list,
    }
    kept = {key: summary[key] for key in kinds if isinstance(summary.get(key), kinds[key])}
    if "runs" in kept:
        kept["runs"] = [str(run) for run in kept["runs"]]
    return kept or None


def as_map_fraction(value: Any) -> float | None:
    """The mAP in ``value``: a fraction itself, or a mapping with the key ``mAP``."""
    if isinstance(value, Mapping):
        value = value.get("mAP")
    return None if value is None else float(value)


def _relative_link(path: str | Path | None, folder: Path) -> str | None:
    if path is None:
        return None
    return Path(os.path.relpath(Path(path).resolve(), folder.resolve())).as_posix()
