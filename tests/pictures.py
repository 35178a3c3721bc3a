"""Pictures of the dashboards, drawn from their JSON: titles, queries, thresholds and units, with what a run has shown.

`make pictures` runs igbot for two minutes, under a real Prometheus, and writes docs/images. Grafana draws
better; this needs none.
"""

import asyncio
import math
import re
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import dates, patches, ticker
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.dashboards import DASHBOARDS, Query, board
from tests.prometheus import Labels
from tests.readings import COLORS, color_at, measured, said
from tests.tools import ROOT

IMAGES = ROOT / "docs/images"
WIDTH, COLUMNS, ROW, DPI = 1600, 24, 38, 100
PAGE, PANEL, EDGE, INK, FAINT = "#111217", "#181b1f", "#2c3036", "#d8d9da", "#8e9299"
PALETTE = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#b877d9", "#5794f2", "#ffa6b0", "#96d98d", "#fade2a")
Points = Sequence[tuple[float, float]]
Drawn = Sequence[tuple[Labels, Points]]
Panel = Mapping[str, Any]


def named(legend: str, labels: Labels) -> str:
    """A legend with its labels filled in; without one, the labels."""
    return re.sub(r"\{\{(\w+)\}\}", lambda hit: labels.get(hit[1], ""), legend)


def rows(panel: Panel, data: Mapping[str, Drawn]) -> list[tuple[str, Points]]:
    """The series of a panel, by the names of its legend."""
    found = []
    for target in panel.get("targets", []):
        for labels, points in data.get(target["expr"], ()):
            found.append((named(target["legendFormat"], labels), points))
    return found


class Sheet:
    """One dashboard on one figure; places are pixels from the top left."""

    def __init__(self, height: int, span: tuple[float, float]) -> None:
        """An empty page, for plots of that time."""
        self.height, self.span = height, span
        self.figure: Figure = plt.figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor=PAGE)

    def box(self, x: float, y: float, w: float, h: float, color: str, edge: str = "none") -> None:
        """A filled box."""
        place = (x / WIDTH, 1 - (y + h) / self.height)
        self.figure.add_artist(
            patches.Rectangle(
                place, w / WIDTH, h / self.height, facecolor=color, edgecolor=edge, linewidth=1, zorder=-1
            )
        )

    def write(self, x: float, y: float, text: str, size: float, color: str = INK, **options: Any) -> None:
        """A text whose top left is there."""
        given = {"va": "top", "ha": "left", **options}
        self.figure.text(x / WIDTH, 1 - y / self.height, text, fontsize=size, color=color, **given)

    def axes(self, x: float, y: float, w: float, h: float) -> Axes:
        """A plot."""
        made: Axes = self.figure.add_axes((x / WIDTH, 1 - (y + h) / self.height, w / WIDTH, h / self.height))
        return made


def height_of(path: Path) -> int:
    """How high a dashboard's picture is, in pixels."""
    return 60 + ROW * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board(path)["panels"])


def draw(path: Path, data: Mapping[str, Drawn], to: Path) -> Path:
    """Draw one dashboard, by its own queries' data; return the picture's path."""
    read = board(path)
    times = [at for drawn in data.values() for _, points in drawn for at, _ in points]
    sheet = Sheet(height_of(path), (min(times), max(times)))
    sheet.write(14, 18, read["title"], 15, weight="bold")
    for panel in read["panels"]:
        at = panel["gridPos"]
        x, y = at["x"] * WIDTH / COLUMNS + 4, 56 + at["y"] * ROW + 4
        w, h = at["w"] * WIDTH / COLUMNS - 8, at["h"] * ROW - 8
        sheet.box(x, y, w, h, PANEL, EDGE)
        sheet.write(x + 10, y + 9, panel["title"], 8.5, weight="bold")
        KINDS[panel["type"]](sheet, panel, rows(panel, data), (x, y + 30, w, h - 30))
    to.mkdir(parents=True, exist_ok=True)
    made = to / f"{path.stem}.png"
    sheet.figure.savefig(made, facecolor=PAGE)
    plt.close(sheet.figure)
    return made


Place = tuple[float, float, float, float]


def draw_text(sheet: Sheet, panel: Panel, _rows: object, place: Place) -> None:
    """What to do, as plain text."""
    x, y, w, _ = place
    plain = panel["options"]["content"].replace("**", "").replace("`", "")
    sheet.write(x + 10, y + 4, textwrap.fill(plain, int(w / 6.9)), 9, linespacing=1.5)


def newest(points: Points) -> float:
    """The last value."""
    return points[-1][1] if points else math.nan


def draw_stat(sheet: Sheet, panel: Panel, found: Sequence[tuple[str, Points]], place: Place) -> None:
    """Each value in the color of its threshold."""
    x, y, w, h = place
    defaults = panel["fieldConfig"]["defaults"]
    across = len(found) if w / max(len(found), 1) > 110 else max(1, int(w // 130))
    down = math.ceil(len(found) / across) if found else 1
    for n, (name, points) in enumerate(found):
        value = newest(points)
        cw, ch = (w - 8) / across, (h - 8) / down
        cx, cy = x + 4 + n % across * cw, y + 4 + n // across * ch
        sheet.box(cx + 2, cy + 2, cw - 4, ch - 4, color_at(value, defaults["thresholds"]))
        lift = 12 if name else 0
        text = said(value, defaults)
        size = max(9.0, min(22.0, ch / 4.2, cw / max(len(text), 1) / 0.85))
        sheet.write(cx + cw / 2, cy + ch / 2 + lift, text, size, "white", ha="center", va="center", weight="bold")
        if name:
            sheet.write(cx + cw / 2, cy + 9, name, 8, "white", ha="center")


def draw_bars(sheet: Sheet, panel: Panel, found: Sequence[tuple[str, Points]], place: Place) -> None:
    """One bar a value, its name above."""
    x, y, w, h = place
    defaults = panel["fieldConfig"]["defaults"]
    most = max([newest(points) for _, points in found] + [1.0])
    each = (h - 8) / max(len(found), 1)
    for n, (name, points) in enumerate(found):
        value, top = newest(points), y + 4 + n * each
        color = color_at(value, defaults["thresholds"])
        sheet.write(x + 10, top + 2, name, 8, FAINT)
        sheet.box(x + 10, top + 18, w - 70, max(6.0, each - 26), "#22252b")
        sheet.box(x + 10, top + 18, (w - 70) * value / most, max(6.0, each - 26), color)
        middle = top + 18 + max(6.0, each - 26) / 2
        sheet.write(x + w - 14, middle, said(value, defaults), 11, color, ha="right", va="center", weight="bold")


def draw_series(sheet: Sheet, panel: Panel, found: Sequence[tuple[str, Points]], place: Place) -> None:
    """Lines, or areas on top of each other, with thresholds dashed and a legend of what is not always zero."""
    x, y, w, h = place
    defaults = panel["fieldConfig"]["defaults"]
    axes = sheet.axes(x + 62, y + 6, w - 78, h - 64)
    style(axes, defaults["unit"])
    fixed = {one["matcher"]["options"]: one["properties"][0]["value"]["fixedColor"] for one in overrides(panel)}
    alive = {n: one for n, one in enumerate(found) if any(value > 0 for _, value in one[1])}
    shades = {
        name: COLORS[fixed[name]] if name in fixed else PALETTE[n % len(PALETTE)] for n, (name, _) in alive.items()
    }
    drawn = list(alive.values())
    (stacked if defaults["custom"]["stacking"]["mode"] == "normal" else lines)(axes, drawn, shades)
    limits(axes, defaults, some=bool(drawn))
    axes.set_xlim(*moments([(sheet.span[0], 0), (sheet.span[1], 0)]))
    told = [(name or panel["title"], color) for name, color in shades.items()]
    entries(sheet, told or [("nothing in this time", EDGE)], (x, y + h - 30, w, 26))


def overrides(panel: Panel) -> list[Any]:
    """The series that have a color of their own."""
    found: list[Any] = panel["fieldConfig"]["overrides"]
    return found


def moments(points: Points) -> list[float]:
    """Times as matplotlib has them."""
    return [float(dates.date2num(datetime.fromtimestamp(at, UTC))) for at, _ in points]


def lines(axes: Axes, alive: Sequence[tuple[str, Points]], shades: Mapping[str, str]) -> None:
    """One line a series."""
    for name, points in alive:
        values = [value if math.isfinite(value) else math.nan for _, value in points]
        axes.plot(moments(points), values, color=shades[name], linewidth=1.6)
        axes.fill_between(moments(points), values, color=shades[name], alpha=0.08, linewidth=0)


def stacked(axes: Axes, alive: Sequence[tuple[str, Points]], shades: Mapping[str, str]) -> None:
    """One area a series, each on the one before; a moment that a series lacks counts as zero."""
    times = sorted({at for _, points in alive for at, _ in points})
    floor = [0.0] * len(times)
    for name, points in alive:
        known = dict(points)
        top = [low + max(0.0, known.get(at, 0.0)) for low, at in zip(floor, times, strict=True)]
        when = moments([(at, 0.0) for at in times])
        axes.fill_between(when, floor, top, color=shades[name], alpha=0.3, linewidth=0)
        axes.plot(when, top, color=shades[name], linewidth=1.4)
        floor = top


def style(axes: Axes, unit: str) -> None:
    """Grafana's dark look."""
    axes.set_facecolor(PANEL)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.grid(color="#2a2d33", linewidth=0.8)
    axes.tick_params(colors=FAINT, labelsize=7.5, length=0)
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=5))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: measured(value, unit)))


def limits(axes: Axes, defaults: Mapping[str, Any], *, some: bool) -> None:
    """The thresholds as dashed lines, where they are near enough to be seen."""
    axes.set_ylim(bottom=0)
    top = axes.get_ylim()[1]
    if not some:
        axes.set_ylim(0, 1)
        return
    if defaults["custom"]["thresholdsStyle"]["mode"] == "off":
        return
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is not None and step["value"] < 4 * top:
            axes.axhline(step["value"], color=COLORS[step["color"]], linewidth=1.2, linestyle=(0, (5, 4)))
    axes.set_ylim(0, max(axes.get_ylim()[1], top) * 1.05)


def entries(sheet: Sheet, named_colors: Sequence[tuple[str, str]], place: Place) -> None:
    """The legend in one or two lines; what does not fit is counted."""
    x, y, w, _ = place
    at, line = x + 12, 0
    for n, (name, color) in enumerate(named_colors):
        need = 22 + 5.6 * len(name)
        if at + need > x + w and at > x + 12:
            at, line = x + 12, line + 1
        if line > 1:
            sheet.write(x + w - 12, y + 14, f"and {len(named_colors) - n} more", 7.5, FAINT, ha="right")
            return
        sheet.box(at, y + line * 14 + 4, 10, 3, color)
        sheet.write(at + 14, y + line * 14, name, 7.5, FAINT)
        at += need


KINDS = {"text": draw_text, "stat": draw_stat, "bargauge": draw_bars, "timeseries": draw_series}


def by_query(seen: Mapping[Query, Drawn], path: Path) -> dict[str, Drawn]:
    """A run's data by the queries as the dashboard's file has them."""
    found = [(query, series) for query, series in seen.items() if query.board == path.stem]
    asked = [target["expr"] for panel in board(path)["panels"] for target in panel.get("targets", [])]
    return {text: series for text, (_, series) in zip(asked, found, strict=True)}


def draw_all(seen: Mapping[Query, Drawn], to: Path) -> list[Path]:
    """Draw every dashboard with what a run has shown."""
    return [draw(path, by_query(seen, path), to) for path in DASHBOARDS]


def main() -> None:
    """Let an evening pass and draw it."""
    from tests.system.night import evening

    with tempfile.TemporaryDirectory() as folder:
        seen = asyncio.run(evening(Path(folder)))
    for made in draw_all(seen, IMAGES):
        print(f"wrote {made.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
