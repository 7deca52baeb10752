// The charts of all runs together: two that are always seen, and small ones of what falls.

class Charts {
  /** ``view`` is asked for its runs, points, states, choices and theme whenever something is drawn. */
  constructor(view) {
    this.view = view;
    this.large = CHARTS.map(chartFigure);
    this.small = MASK_CHARTS.map(chartFigure);
    this.root = make("div", "ds-charts");
    this.root.append(...this.large.map((chart) => chart.figure));
    const small = make("div", "ds-charts ds-small");
    small.append(...this.small.map((chart) => chart.figure));
    this.masks = make("section", "ds-mask-charts");
    this.masks.hidden = true;
    this.masks.append(make("h2", "", "What falls"), make("p", "ds-key", MASKS_KEY), small);
    this.inSight = new Set();
    this.sight = new IntersectionObserver((entries) => this.sighted(entries), { rootMargin: "300px" });
    for (const { plot } of this.small) this.sight.observe(plot);
  }

  /** Small charts out of sight cost nothing; they are drawn once they come near. */
  sighted(entries) {
    const came = entries.filter(({ isIntersecting, target }) => isIntersecting && !this.inSight.has(target));
    for (const { isIntersecting, target } of entries) this.inSight[isIntersecting ? "add" : "delete"](target);
    if (came.length) this.view.draw();
  }

  draw(Plotly) {
    this.masks.hidden = Boolean(this.view.excerpt) || !this.haveMasks();
    const large = this.large.filter(({ figure }) => !figure.hidden);
    const near = this.small.filter(({ plot }) => this.inSight.has(plot));
    for (const chart of [...large, ...near]) this.drawChart(Plotly, chart);
  }

  drawChart(Plotly, chart) {
    const { runs, points, theme } = this.view;
    const { x, shown, smoothing } = this.view.choices;
    const how = { x, shown, smoothing, crowded: runs.length > CROWD };
    const traces = runs.flatMap((run) => {
      const columns = points.get(run.id);
      return columns ? runTraces(chart, run, columns, { ...how, colour: this.view.colour(run) }) : [];
    });
    const { alt } = this.view.excerpt ?? {};
    if (alt) chart.plot.setAttribute("aria-label", `${chart.title}: ${alt}`);
    const empty = !traces.some((trace) => trace.x.length);
    const layout = chartLayout(chart, theme, { x, epochs: this.epochs(), empty });
    Plotly.react(chart.plot, traces, { ...layout, ...this.marks(chart) }, PLOT_CONFIG);
  }

  marks(chart) {
    const { view } = this;
    const { x } = view.choices;
    const marks = view.runs.flatMap((run) => view.marksOf(run.id).map((mark) => ({ run, colour: view.colour(run), mark })));
    return markShapes(chart, marks.sort((a, b) => a.mark[x] - b.mark[x]), x, this.end(x), view.theme);
  }

  haveMasks() {
    return [...this.view.points.values()].some((columns) => columns.dropped?.some((share) => share !== null));
  }

  /** Where the axis ends. */
  end(x) {
    if (x === "epoch") return this.epochs();
    return Math.max(0, ...[...this.view.points.values()].map((columns) => columns[x]?.at(-1) ?? 0));
  }

  epochs() {
    return Math.max(0, ...[...this.view.states.values()].map((state) => state.epochs ?? 0));
  }

  close() {
    this.sight.disconnect();
    if (window.Plotly) for (const { plot } of [...this.large, ...this.small]) window.Plotly.purge(plot);
  }
}
