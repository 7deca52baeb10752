const MOST_POINTS = 400;
// While p moves, masks come first: plots follow at once where they are quick, else when p rests (milliseconds).
const QUICK = 20;
const SOON = 30;
const AT_REST = 160;

/** The two plots below the masks, drawn anew as p moves. */
class Figures {
  constructor() {
    this.root = make("div", "ds-charts");
    this.kept = this.figure("ds-kept");
    this.moved = this.figure("ds-moved");
    this.root.append(this.kept.root, this.moved.root);
  }

  figure(name) {
    const root = make("figure", `ds-chart ${name}`);
    const caption = make("figcaption");
    const plot = make("div", "ds-plot");
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", "Not drawn yet");
    const foot = make("div", "ds-figure-foot");
    const legend = make("div", "ds-figure-legend");
    const note = make("p", "ds-key");
    const csv = make("button", "ds-button", "CSV");
    csv.type = "button";
    foot.append(note, csv);
    root.append(caption, plot, legend, foot);
    return { root, caption, plot, legend, note, csv };
  }

  /** Draws when the masks leave time for it; only the latest call counts. */
  show(view) {
    this.view = view;
    const quick = this.cost < QUICK;
    if (this.waiting && quick) return;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      this.waiting = undefined;
      this.draw();
    }, quick ? SOON : AT_REST);
  }

  async draw() {
    const view = this.view;
    try {
      await (this.turn ??= itsTurn(this.root));
      this.Plotly = await loadPlotly(view.data.plotly);
    } catch {
      this.kept.note.textContent = "The chart library did not load from the server; reload the page to try again.";
      return;
    }
    if (this.closed) return;
    const started = performance.now();
    this.name(this.kept, view.looks.filter((look) => look.part.kept), view);
    this.name(this.moved, view.looks, view);
    this.drawKept(view);
    this.drawMoved(view);
    this.cost = performance.now() - started;
  }

  /** Says whose mark and line are whose. */
  name({ legend }, looks, view) {
    const entry = ({ part }) => {
      const item = make("span", "ds-cell-key-item");
      item.append(swatchLine(part.style, view.colour(part)), make("span", "", part.title));
      return item;
    };
    legend.replaceChildren(...looks.map(entry));
  }

  drawKept(view) {
    const { kept } = this;
    const looks = view.looks.filter((look) => look.part.kept);
    const draws = view.data.frequency_draws;
    const nominal = 100 * (1 - view.p);
    const [low, high] = view.data.band[view.step].map((share) => 100 * share);
    const traces = looks.map((look) => this.points(look, view));
    kept.caption.textContent = `How often each unit stays, in ${draws} draws (%)`;
    kept.note.textContent = looks.length
      ? `One mark a unit. Dashed: 1 − p; the band holds 95 of 100 units that stay with probability 1 − p.`
      : "Under these techniques no unit falls.";
    kept.plot.setAttribute("aria-label", this.keptInWords(looks, view));
    const shapes = [
      { type: "rect", xref: "paper", x0: 0, x1: 1, y0: low, y1: high, fillcolor: view.theme.text, opacity: 0.1, line: { width: 0 }, layer: "below" },
      { type: "line", xref: "paper", x0: 0, x1: 1, y0: nominal, y1: nominal, line: { color: view.theme.text, width: 1, dash: "dash" }, layer: "below" },
    ];
    this.Plotly.react(kept.plot, traces, {
      ...baseLayout(view.theme),
      shapes,
      uirevision: "kept",
      xaxis: axis(view.theme, { title: { text: "Activation of the unit" }, rangemode: "tozero" }),
      yaxis: axis(view.theme, { range: [-4, 104], title: { text: "Stays (%)" } }),
    }, PLOT_CONFIG);
    kept.csv.setAttribute("aria-label", `CSV: ${kept.caption.textContent}`);
    kept.csv.onclick = () => save("keep-frequency.csv", ["technique", "unit", "activation", "p", "kept"],
      looks.flatMap((look) => Array.from({ length: look.part.count }, (_, i) => [look.part.title, i + 1, look.activation[i], view.p, look.kept(i)])));
  }

  points(look, view) {
    const { part } = look;
    const units = sample(part.count);
    const colour = view.colour(part);
    return {
      type: "scatter", mode: "markers", name: part.title,
      x: units.map((i) => look.activation[i]),
      y: units.map((i) => 100 * look.kept(i)),
      customdata: units.map((i) => unitName(part, i)),
      marker: { symbol: part.style.marker, color: colour, size: 7, opacity: 0.75, line: { width: part.style.marker.endsWith("open") ? 1.5 : 0, color: colour } },
      hovertemplate: `${part.title}, %{customdata}<br>activation %{x:.2f}<br>stays in %{y:.0f} %<extra></extra>`,
    };
  }

  keptInWords(looks, view) {
    const words = looks.map((look) => {
      const most = indexOfMost(look.activation);
      return `${look.part.title}: the most active unit stays in ${percent(look.kept(most))}`;
    });
    return `How often each unit stays against its activation, at p = ${view.p.toFixed(2)}. ${words.join("; ")}.`;
  }

  drawMoved(view) {
    const { moved } = this;
    const { data } = view;
    const grid = data.grid;
    const label = data.classes[indexOfMost(data.clean)];
    moved.caption.textContent = `Probability of “${label}”, the answer without dropout (%)`;
    moved.note.textContent = `Line: mean of ${data.draws} draws. Band: 80 of 100 draws. Only this layer drops${data.onward ? ", and those behind it" : ""}.`;
    const words = view.looks.map((look) => `${look.part.title} ${probability(look.part.confidence.values[view.step * 3])}`);
    moved.plot.setAttribute("aria-label", `${moved.caption.textContent} as p grows. At p = ${view.p.toFixed(2)}: ${words.join("; ")}.`);
    const column = (part, k) => grid.map((_, i) => 100 * part.confidence.values[3 * i + k]);
    const bands = view.looks.map(({ part }) => ({
      type: "scatter", mode: "lines", hoverinfo: "skip", line: { width: 0 }, fill: "toself", opacity: 0.13,
      fillcolor: view.colour(part), x: [...grid, ...[...grid].reverse()], y: [...column(part, 1), ...column(part, 2).reverse()],
    }));
    const lines = view.looks.map(({ part }) => ({
      type: "scatter", mode: "lines", name: part.title, x: grid, y: column(part, 0),
      line: { color: view.colour(part), dash: part.style.dash, width: 2 },
      hovertemplate: `${part.title}<br>p = %{x:.2f}: %{y:.0f} %<extra></extra>`,
    }));
    this.Plotly.react(moved.plot, [...bands, ...lines], {
      ...baseLayout(view.theme),
      uirevision: "moved",
      shapes: [{ type: "line", yref: "paper", y0: 0, y1: 1, x0: view.p, x1: view.p, line: { color: view.theme.text, width: 1, dash: "dot" } }],
      xaxis: axis(view.theme, { title: { text: "Drop probability p" }, range: [0, 1] }),
      yaxis: axis(view.theme, { range: [-4, 104], title: { text: "Probability (%)" } }),
    }, PLOT_CONFIG);
    moved.csv.setAttribute("aria-label", `CSV: ${moved.caption.textContent}`);
    moved.csv.onclick = () => save("answer-against-p.csv", ["technique", "p", "mean", "low", "high"],
      view.looks.flatMap(({ part }) => grid.map((p, i) => [part.title, p, ...part.confidence.values.subarray(3 * i, 3 * i + 3)])));
  }

  close() {
    this.closed = true;
    clearTimeout(this.waiting);
    for (const { plot } of [this.kept, this.moved]) this.Plotly?.purge(plot);
  }
}

/** At most so many units, evenly spread: more marks than that hide each other. */
function sample(count) {
  const step = Math.max(1, count / MOST_POINTS);
  return Array.from({ length: Math.min(count, MOST_POINTS) }, (_, i) => Math.floor(i * step));
}

function indexOfMost(values) {
  let most = 0;
  for (let i = 1; i < values.length; i += 1) if (values[i] > values[most]) most = i;
  return most;
}

function save(name, columns, rows) {
  const cell = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const text = [columns, ...rows].map((line) => line.map(cell).join(",")).join("\n");
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
