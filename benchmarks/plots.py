"""The plots of docs/benchmarks.md, out of a results file and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Results

# From here on a curve is drawn on a logarithmic axis: on a shorter way, that would make much of little.
_WIDE = 10
FOLDER = Path(__file__).parent.parent / "docs" / "plots"


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture: the curve's name, its title and the words at its axes."""

    curve: str
    title: str
    x: str
    y: str = "seconds, median"


PLOTS = (
    Plot("size", "A cold fetch over loopback", "MiB of the model"),
    Plot("files", "To find every file of a model that is on this machine", "number of files"),
    Plot("processes", "Processes that want one cold model of 64 MiB", "number of processes"),
    Plot("catalog", "Finding one model", "models in the catalog, 100 files each"),
)


def write(results: Results) -> None:
    """Draw every curve that was measured."""
    import matplotlib

    matplotlib.use("svg")
    # Text as text, and the same file from the same results.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "pinformers"})
    FOLDER.mkdir(exist_ok=True)
    for plot in PLOTS:
        points = results.points(plot.curve)
        if points:
            _draw(plot, points)


def _draw(plot: Plot, lines: dict[str, list[tuple[float, float]]]) -> None:
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator

    figure, axes = pyplot.subplots(figsize=(6.4, 4.6))
    for label, points in lines.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set(title=plot.title, xlabel=plot.x, ylabel=plot.y, xscale="log")
    ticks = sorted({x for points in lines.values() for x, _ in points})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    seconds = [y for points in lines.values() for _, y in points]
    if max(seconds) > _WIDE * min(seconds):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set_ylim(bottom=0)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize="small")
    figure.tight_layout()
    figure.savefig(FOLDER / f"{plot.curve}.svg", metadata={"Date": None})
    pyplot.close(figure)
