const AXES = { epoch: "Epoch", step: "Step", seconds: "Training time (s)" };
const ACTIVE = new Set(["queued", "running", "paused"]);
const RESUMABLE = new Set(["paused", "stopped", "failed", "lost"]);
const TICK = 1000;
const IDLE_TICK = 10000;
// Until the first point of what was just started, for at most so long.
const FIRST_TICK = 100;
const FIRST_HOPE = 5000;
const PATIENCE = 10000;
const RESEND = 3000;
const HOPE = 20000;

export default function (component) {
  const root = component.parentElement.querySelector(".ds-live");
  return mountView(root, () => new View(root), (view) => view.update(component.data, component.setTriggerValue));
}

class View {
  constructor(root) {
    this.root = root;
    this.runs = [];
    this.points = new Map();
    this.states = new Map();
    this.rows = new Map();
    this.wishes = new Map();
    this.failures = 0;
    this.eager = 0;
    this.impatient = 0;
    this.seq = 0;
    this.x = readChoice();
    this.build();
    this.onVisible = () => document.hidden || this.poll();
    document.addEventListener("visibilitychange", this.onVisible);
  }

  build() {
    this.headline = make("p", "ds-headline");
    this.headline.setAttribute("role", "status");
    this.stopAll = make("button", "ds-button", "Stop all");
    this.stopAll.type = "button";
    this.stopAll.hidden = true;
    this.stopAll.onclick = () => this.wish("stop", this.active());
    const head = make("div", "ds-head");
    head.append(this.headline, this.stopAll);

    this.charts = [
      this.chart("Loss (cross entropy)", "loss", "val_loss", "Loss per step and on the validation set, one colour a technique"),
      this.chart("Accuracy (%)", "accuracy", "val_accuracy", "Accuracy per step and on the validation set, one colour a technique"),
    ];
    const charts = make("div", "ds-charts");
    charts.append(...this.charts.map((chart) => chart.figure));

    const foot = make("div", "ds-foot");
    foot.append(this.axisChoice(), make("p", "ds-key", "Line: training, smoothed over its raw values. Marks: validation."));
    this.list = make("ul", "ds-runs");
    this.root.replaceChildren(head, charts, foot, this.list);
  }

  chart(title, train, validation, alt) {
    const figure = make("figure", "ds-chart");
    const plot = make("div", "ds-plot");
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", alt);
    figure.append(make("figcaption", "", title), plot);
    return { figure, plot, train, validation, percent: train === "accuracy" };
  }

  axisChoice() {
    const group = make("div", "ds-choice");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Horizontal axis");
    this.axisButtons = Object.keys(AXES).map((name) => {
      const button = make("button", "", name);
      button.type = "button";
      button.dataset.axis = name;
      button.onclick = () => this.chooseAxis(name);
      return button;
    });
    group.append(...this.axisButtons);
    this.markAxis();
    return group;
  }

  chooseAxis(name) {
    this.x = name;
    keepChoice(name);
    this.markAxis();
    this.draw();
  }

  markAxis() {
    for (const button of this.axisButtons) button.setAttribute("aria-pressed", String(button.dataset.axis === this.x));
  }

  /** New data from the page, a change of theme, or both. */
  update(data, setTriggerValue) {
    this.send = setTriggerValue;
    this.plotlyUrl = data.plotly;
    const ids = data.runs.map((run) => run.id);
    const same = ids.join() === this.runs.map((run) => run.id).join();
    this.runs = data.runs;
    if (!same) {
      this.seq = 0;
      this.points = new Map();
      this.states = new Map();
      this.list.replaceChildren();
      this.rows.clear();
      for (const run of this.runs) this.addRow(run);
    }
    this.list.classList.toggle("ds-single", this.runs.length === 1);
    this.recolour();
    this.root.hidden = !this.runs.length;
    if (data.started && data.started !== this.started) {
      this.reveal();
      this.impatient = Date.now() + FIRST_HOPE;
    }
    this.started = data.started;
    this.draw();
    this.poll();
  }

  reveal() {
    if (innerWidth <= 640) this.root.scrollIntoView({ behavior: "smooth", block: "start" });
  }

  active() {
    return this.runs.map((run) => run.id).filter((id) => ACTIVE.has(this.states.get(id)?.status));
  }

  async poll() {
    clearTimeout(this.timer);
    if (this.closed || document.hidden || !this.runs.length) return;
    if (this.polling) {
      this.again = true;
      return;
    }
    this.polling = true;
    try {
      await this.fetchNew();
      this.failures = 0;
      this.trouble = "";
    } catch (error) {
      this.failures += 1;
      this.trouble = error.sentence ?? "The server does not answer. Training goes on in its own process; this page keeps trying.";
    }
    this.polling = false;
    if (this.closed) return;
    this.show();
    const lively = this.active().length || Date.now() < this.eager;
    const calm = this.awaitsFirst() ? FIRST_TICK : lively ? TICK : IDLE_TICK;
    const wait = this.failures ? Math.min(TICK * this.failures, 5000) : calm;
    this.timer = setTimeout(() => this.poll(), this.again ? 0 : wait);
    this.again = false;
  }

  awaitsFirst() {
    return Date.now() < this.impatient && !this.points.get(this.started)?.step.length;
  }

  async fetchNew() {
    const ids = this.runs.map((run) => run.id);
    const points = this.points;
    const url = `/api/runs/${ids.map(encodeURIComponent).join(",")}/metrics?since=${this.seq}`;
    const reply = await fetch(url, { signal: AbortSignal.timeout(PATIENCE) });
    const body = await reply.json();
    if (!reply.ok) throw Object.assign(new Error("refused"), { sentence: body.error });
    // An answer to what was asked before the runs changed is of no use any more.
    if (points !== this.points) return;
    this.seq = body.seq;
    let fresh = false;
    for (const id of ids) {
      const run = body.runs[id];
      this.states.set(id, run ?? { status: "gone", reason: "This run was deleted." });
      if (!run) continue;
      fresh ||= run.points.step.length > 0;
      this.append(id, run);
    }
    if (fresh) this.draw();
  }

  append(id, run) {
    const fresh = run.points;
    const known = this.points.get(id) ?? {};
    const kept = Object.keys(known).length ? keptRows(known, fresh) : [];
    const columns = {};
    for (const [name, values] of Object.entries(fresh)) columns[name] = kept.map((i) => known[name][i]).concat(values);
    this.points.set(id, columns);
  }

  addRow(run) {
    const item = make("li", "ds-run");
    const name = make("div", "ds-name");
    name.append(this.swatch(run), make("strong", "", run.name), make("span", "ds-detail", run.detail));
    const state = make("div", "ds-state");
    const words = make("span", "ds-words", "…");
    const bar = make("div", "ds-bar");
    const fill = make("div", "ds-fill");
    bar.append(fill);
    state.append(words, bar);
    const buttons = make("div", "ds-buttons");
    const toggle = make("button", "ds-button", "Pause");
    const stop = make("button", "ds-button", "Stop");
    for (const button of [toggle, stop]) button.type = "button";
    toggle.onclick = () => this.wish(toggle.dataset.verb, [run.id]);
    stop.onclick = () => this.wish("stop", [run.id]);
    stop.setAttribute("aria-label", `Stop ${run.name} ${run.detail}`);
    buttons.append(toggle, stop);
    item.append(name, state, buttons);
    this.list.append(item);
    this.rows.set(run.id, { run, item, words, fill, toggle, stop, buttons });
  }

  /** The line, dash and marker by which the run is drawn. */
  swatch(run) {
    const plot = make("span", "ds-swatch");
    plot.dataset.run = run.id;
    return plot;
  }

  recolour() {
    this.theme = pageTheme(this.root);
    for (const { run, item, fill } of this.rows.values()) {
      const colour = this.colour(run);
      fill.style.background = colour;
      item.querySelector(".ds-swatch").replaceChildren(swatchLine(run.style, colour));
    }
  }

  colour(run) {
    return this.theme.dark ? run.style.dark : run.style.light;
  }

  wish(verb, ids) {
    if (!ids.length) return;
    for (const id of ids) this.wishes.set(id, { verb, at: Date.now(), sent: Date.now() });
    this.send("wish", { verb, ids });
    this.show();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.poll(), 250);
    this.eager = Date.now() + PATIENCE;
  }

  /** A wish said while the page was not connected is lost on the way; saying it again changes nothing else. */
  insist(id, wish) {
    wish.sent = Date.now();
    this.send("wish", { verb: wish.verb, ids: [id] });
  }

  show() {
    const active = this.active();
    this.stopAll.hidden = active.length < 2;
    const line = this.trouble || headline(this.runs, this.states);
    if (this.headline.textContent !== line) this.headline.textContent = line;
    this.headline.classList.toggle("ds-trouble", Boolean(this.trouble));
    for (const [id, row] of this.rows) this.showRow(id, row);
  }

  showRow(id, row) {
    const state = this.states.get(id);
    if (!state) return;
    const wish = this.wishes.get(id);
    if (wish && (granted(wish.verb, state.status) || Date.now() - wish.at > HOPE)) this.wishes.delete(id);
    else if (wish && Date.now() - wish.sent > RESEND) this.insist(id, wish);
    const words = this.wishes.has(id) ? WAITING[wish.verb] : describe(state);
    if (row.words.textContent !== words) row.words.textContent = words;
    row.item.dataset.status = state.status;
    row.fill.style.width = `${Math.min(100, (100 * (state.epoch ?? 0)) / (state.epochs || 1))}%`;
    const live = ACTIVE.has(state.status);
    row.buttons.hidden = !live && !RESUMABLE.has(state.status);
    row.stop.hidden = !live;
    row.stop.disabled = this.wishes.get(id)?.verb === "stop";
    row.toggle.hidden = state.status === "queued";
    const verb = RESUMABLE.has(state.status) ? "resume" : "pause";
    row.toggle.dataset.verb = verb;
    const label = verb === "pause" ? "Pause" : "Resume";
    if (row.toggle.textContent !== label) row.toggle.textContent = label;
    row.toggle.setAttribute("aria-label", `${label} ${row.run.name} ${row.run.detail}`);
  }

  async draw() {
    let Plotly;
    try {
      Plotly = await loadPlotly(this.plotlyUrl);
    } catch {
      this.trouble = "The chart library did not load from the server; reload the page to try again.";
      this.show();
      return;
    }
    // With no run the library is only made ready for the first.
    if (this.closed || !this.runs.length) return;
    for (const chart of this.charts) {
      const traces = this.traces(chart);
      Plotly.react(chart.plot, traces, this.layout(chart, !traces.some((trace) => trace.x.length)), PLOT_CONFIG);
    }
    this.count();
  }

  /** How many raw points are drawn: read by tests and by people who look at the page's source. */
  count() {
    let total = 0;
    for (const columns of this.points.values()) total += columns.step.length;
    this.root.dataset.points = String(total);
  }

  layout(chart, empty) {
    const theme = this.theme;
    const y = { rangemode: chart.percent ? "normal" : "tozero" };
    if (empty) y.range = chart.percent ? [0, 100] : [0, 2.5];
    const x = { title: { text: AXES[this.x] }, rangemode: "tozero" };
    // The whole way is shown from the start, so that the curve grows into it and the axis stands still.
    if (this.x === "epoch") x.autorangeoptions = { include: [0, this.epochs()] };
    return {
      ...baseLayout(theme),
      // One revision an axis: what a person zoomed stays while points arrive, and falls when x means something else.
      uirevision: this.x,
      xaxis: axis(theme, x),
      yaxis: axis(theme, y),
    };
  }

  epochs() {
    return Math.max(0, ...[...this.states.values()].map((state) => state.epochs ?? 0));
  }

  traces(chart) {
    return this.runs.flatMap((run) => {
      const columns = this.points.get(run.id);
      return columns ? this.runTraces(chart, run, columns) : [];
    });
  }

  runTraces(chart, run, columns) {
    const colour = this.colour(run);
    const who = [run.name, run.detail].filter(Boolean).join(" · ");
    const unit = chart.percent ? ":.1f} %" : ":.4f}";
    const train = series(columns, this.x, chart.train, chart.percent, wholeEpoch);
    const validation = series(columns, this.x, chart.validation, chart.percent);
    const line = { color: colour, width: this.runs.length > 6 ? 1.2 : 2, dash: run.style.dash };
    // Many runs: their raw values would only be a haze.
    const crowded = this.runs.length > 6;
    const raw = { ...thin(train), type: "scatter", mode: "lines", line: { color: colour, width: 1 }, opacity: 0.28, hoverinfo: "skip" };
    const text = (what) => `${escapeMarkup(who)}<br>${what} %{y${unit}<extra></extra>`;
    return [
      ...(crowded ? [] : [raw]),
      { ...thin({ x: train.x, y: smooth(train.y) }), type: "scatter", mode: "lines", line, hovertemplate: text("training, smoothed") },
      {
        ...validation,
        type: "scatter",
        mode: "lines+markers",
        line: { color: colour, width: 1, dash: run.style.dash },
        marker: { symbol: run.style.marker, maxdisplayed: 24, size: crowded ? 6 : 8, color: colour, line: { width: run.style.marker.includes("open") ? 2 : 0, color: colour } },
        hovertemplate: text("validation"),
      },
    ];
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onVisible);
    if (window.Plotly) for (const chart of this.charts) window.Plotly.purge(chart.plot);
  }
}

const CHOICE = "dropscope.axis";

function readChoice() {
  try {
    const stored = localStorage.getItem(CHOICE);
    return stored in AXES ? stored : "epoch";
  } catch {
    return "epoch";
  }
}

function keepChoice(name) {
  try {
    localStorage.setItem(CHOICE, name);
  } catch {
    // A browser that keeps nothing still draws.
  }
}
