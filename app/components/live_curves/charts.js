// What the charts draw: raw and smoothed curves, validation, and marks where a run was changed.

const AXES = { epoch: "Epoch", step: "Step", seconds: "Training time (s)" };
const CHARTS = [
  { title: "Loss (cross entropy)", train: "loss", quiet: "train_eval_loss", validation: "val_loss", unit: ":.4f}" },
  { title: "Accuracy (%)", train: "accuracy", validation: "val_accuracy", percent: true, unit: ":.1f} %" },
];
const MASK_CHARTS = [
  { title: "Dropped (%)", help: "Of all units, or weights.", train: "dropped", percent: true, unit: ":.1f} %", small: true },
  { title: "Dropped of active units (%)", help: "Of the units that were above 0.", train: "active_dropped", percent: true, unit: ":.1f} %", small: true },
  { title: "Dead examples (%)", help: "Images with no unit left above 0: a layer passes nothing of them on.", train: "dead", percent: true, unit: ":.1f} %", small: true },
];
const MASKS_KEY = "On one training batch at a time, the mean over the dropout layers.";
// More runs than this: their raw values would only be a haze.
const CROWD = 6;
// Labels of marks stand below one another in so many lines.
const LABEL_LINES = 4;
const MOST_LABELS = 12;

function chartFigure(chart) {
  const figure = make("figure", "ds-chart");
  figure.dataset.chart = chart.train;
  const plot = make("div", "ds-plot");
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${chart.title} over the course of training, one colour a technique`);
  const caption = make("figcaption", "", chart.title);
  if (chart.help) caption.append(make("span", "ds-chart-help", chart.help));
  figure.append(caption, plot);
  return { ...chart, figure, plot };
}

/** The curves of one run; ``how``: x, colour, shown, smoothing (a share of the curve), crowded. */
function runTraces(chart, run, columns, how) {
  const { colour, x, shown, crowded } = how;
  const { marker, dash } = run.style;
  const text = (what) => `${escapeMarkup(called(run))}<br>${what} %{y${chart.unit}<extra></extra>`;
  const line = (width, pattern) => ({ color: colour, width, dash: pattern });
  const traces = [];
  if (shown.train || chart.small) {
    const train = series(columns, x, chart.train, chart.percent, chart.small ? undefined : wholeEpoch);
    const what = chart.small ? "one batch" : "training";
    if (!crowded && how.smoothing) traces.push({ ...thin(train), mode: "lines", line: line(1), opacity: 0.28, hoverinfo: "skip" });
    const smoothed = how.smoothing ? smooth(train.y, how.smoothing) : train.y;
    const label = how.smoothing ? `${what}, smoothed` : what;
    // One point alone makes no line, but is what a single batch did.
    const mode = smoothed.length === 1 ? "markers" : "lines";
    traces.push({ ...thin({ x: train.x, y: smoothed }), mode, marker: { symbol: marker, size: 8, color: colour }, line: line(crowded ? 1.2 : 2, dash), hovertemplate: text(label) });
  }
  if (chart.quiet && shown.quiet) {
    const dots = { symbol: "circle", size: 4, maxdisplayed: 24, color: colour };
    traces.push({ ...series(columns, x, chart.quiet), mode: "lines+markers", line: line(1.5, "2px,3px"), marker: dots, hovertemplate: text("training images, dropout off") });
  }
  if (chart.validation && shown.validation) {
    const open = marker.includes("open") ? 2 : 0;
    const look = { symbol: marker, maxdisplayed: 24, size: crowded ? 6 : 8, color: colour, line: { width: open, color: colour } };
    traces.push({ ...series(columns, x, chart.validation, chart.percent), mode: "lines+markers", line: line(1, dash), marker: look, hovertemplate: text("validation") });
  }
  return traces.map((trace) => ({ type: "scatter", ...trace }));
}

/** Vertical lines where runs were changed, each with old → new; ``marks``: { run, colour, mark }, ``end``: where x ends. */
function markShapes(chart, marks, x, end, theme) {
  const shapes = marks.map(({ colour, mark }) => ({
    type: "line", x0: mark[x], x1: mark[x], yref: "paper", y0: 0, y1: 1, layer: "below", line: { color: colour, width: 1.5, dash: "dot" },
  }));
  // Where curves leave room: a loss falls, an accuracy rises.
  const [y, yanchor, way] = chart.percent ? [0, "bottom", 1] : [1, "top", -1];
  const labelled = chart.small ? [] : marks.slice(-MOST_LABELS);
  const annotations = labelled.map(({ run, colour, mark }, i) => {
    const left = mark[x] < 0.6 * end;
    return {
      x: mark[x], xanchor: left ? "left" : "right", xshift: left ? 2 : -2, yref: "paper", y, yanchor, yshift: way * 18 * (i % LABEL_LINES),
      text: escapeMarkup(cutShort(changesText(mark.changes), 26)), hovertext: escapeMarkup(`${called(run)}, after step ${mark.step}: ${changesText(mark.changes)}`),
      showarrow: false, font: { size: 12, color: colour }, bgcolor: theme.ground, borderpad: 1, opacity: 0.92,
    };
  });
  return { shapes, annotations };
}

function cutShort(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** ``x``: what the axis counts, ``epochs``: where the whole way ends, ``empty``: nothing is drawn yet. */
function chartLayout(chart, theme, { x, epochs, empty }) {
  const yaxis = { rangemode: chart.percent && !chart.small ? "normal" : "tozero" };
  // Plotly takes a range that is given for one that a person chose, and would keep it: with the first point it falls.
  if (empty) Object.assign(yaxis, { range: chart.percent ? [0, 100] : [0, 2.5], uirevision: `${x} without points` });
  else if (chart.small) yaxis.autorangeoptions = { include: [0, 5] };
  const xaxis = { title: { text: AXES[x] }, rangemode: "tozero" };
  // The whole way is shown from the start, so that the curve grows into it and the axis stands still.
  if (x === "epoch") xaxis.autorangeoptions = { include: [0, epochs] };
  return {
    ...baseLayout(theme),
    // One revision an axis: what a person zoomed stays while points arrive, and falls when x means something else.
    uirevision: x,
    xaxis: axis(theme, xaxis),
    yaxis: axis(theme, yaxis),
  };
}

/** Plotly reads a little markup in texts: names are shown as they are. */
function escapeMarkup(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("%", "&#37;");
}

/** A short piece of a kind of curve, for the key. */
function curveSample(kind) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 28 12");
  svg.setAttribute("aria-hidden", "true");
  const looks = { train: ["2", ""], validation: ["1", ""], quiet: ["1.5", "2 3"] };
  const part = (name, attributes) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    svg.append(node);
  };
  part("path", { d: "M1 6H27", stroke: "currentColor", "stroke-width": looks[kind][0], "stroke-dasharray": looks[kind][1] });
  if (kind !== "train") part("circle", { cx: 14, cy: 6, r: kind === "quiet" ? 2 : 4, fill: "currentColor" });
  return svg;
}
