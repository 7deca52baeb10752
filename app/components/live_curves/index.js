// Saying these again changes nothing; saying a step again would take another one.
const REPEATABLE = new Set(["pause", "resume", "stop"]);
const TICK = 1000;
const IDLE_TICK = 10000;
// While somebody waits for what was just asked for.
const WISH_TICK = 250;
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
    this.stories = new Map();
    this.awaited = new Map();
    this.refusals = new Map();
    this.failures = 0;
    this.eager = 0;
    this.impatient = 0;
    this.seq = 0;
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
    this.stopAll.onclick = () => this.wish("stop", this.active(), { all: true });
    this.head = make("div", "ds-head");
    this.head.append(this.headline, this.stopAll);

    this.charts = new Charts(this);
    this.story = make("p", "ds-key ds-loss-story");
    this.choices = new Choices(() => this.draw());
    this.list = make("ul", "ds-runs");
    this.barred = make("p", "ds-key ds-barred", "Pausing, stepping, changing and stopping runs needs the access code: enter it at the top of the page.");
    this.barred.hidden = true;
    this.root.replaceChildren(this.head, this.charts.root, this.choices.root, this.story, this.barred, this.list, this.charts.masks);
  }

  /** New data from the page, a change of theme, or both. */
  update(data, setTriggerValue) {
    this.send = setTriggerValue;
    this.plotlyUrl = data.plotly;
    this.able = data.able;
    if (data.excerpt && !this.excerpt) this.keepTo(data.excerpt);
    this.excerpt = data.excerpt;
    const ids = data.runs.map((run) => run.id);
    const same = ids.join() === this.runs.map((run) => run.id).join();
    this.runs = data.runs;
    if (!same) {
      this.seq = 0;
      this.points = new Map();
      this.states = new Map();
      this.refusals = new Map();
      this.list.replaceChildren();
      this.rows.clear();
      for (const id of [...this.stories.keys()]) this.closeStory(id);
      for (const run of this.runs) this.addRow(run);
    }
    this.recolour();
    this.choices.show(this.runs.length);
    this.root.hidden = !this.runs.length;
    this.refuse(data.refused);
    if (data.started && data.started !== this.started) {
      this.reveal();
      this.impatient = Date.now() + FIRST_HOPE;
    }
    this.started = data.started;
    this.draw();
    this.poll();
  }

  /** Shows a part of it all, as a lesson does: { parts, curves, alt }. */
  keepTo({ parts, curves }) {
    this.root.classList.add("ds-excerpt");
    this.head.hidden = true;
    this.choices.keepTo(curves);
    this.choices.root.hidden = !parts.includes("key");
    this.story.hidden = !parts.includes("story");
    this.list.hidden = !parts.includes("runs");
    for (const { figure } of this.charts.large) figure.hidden = !parts.includes(figure.dataset.chart);
  }

  addRow(run) {
    const row = new Row(run, (verb, changes) => this.wish(verb, [run.id], changes && { changes }), () => this.toggleStory(run));
    this.list.append(row.item);
    this.rows.set(run.id, row);
  }

  toggleStory(run) {
    if (this.stories.has(run.id)) this.closeStory(run.id);
    else this.openStory(run);
  }

  /** What the run's last single batch did, below its row. */
  openStory(run) {
    if (!this.stories.has(run.id)) {
      for (const id of [...this.stories.keys()]) this.closeStory(id);
      const story = new Story(run, () => this.closeStory(run.id));
      this.stories.set(run.id, story);
      this.rows.get(run.id).tell(story.root);
    }
    this.stories.get(run.id).fetch(this.states.get(run.id)?.batch);
  }

  closeStory(id) {
    this.stories.get(id)?.close();
    this.stories.delete(id);
    this.rows.get(id)?.tell(undefined);
  }

  /** A batch that was asked for opens its story; another one replaces what an open story shows. */
  followBatch(row, { batch }) {
    const { id } = row.run;
    const awaited = this.awaited.has(id) && batch !== this.awaited.get(id);
    if (!batch || !(awaited || this.stories.has(id))) return;
    this.awaited.delete(id);
    this.openStory(row.run);
  }

  reveal() {
    if (innerWidth <= 640) this.root.scrollIntoView({ behavior: "smooth", block: "start" });
  }

  /** The page's answer to wishes that cannot be met: { turn, ids, sentence }. */
  refuse(refused) {
    if (!refused || refused.turn === this.refusedTurn) return;
    this.refusedTurn = refused.turn;
    for (const id of refused.ids) {
      this.wishes.delete(id);
      this.rows.get(id)?.refuse(refused.sentence);
    }
    // Below an open panel it may lie beyond the edge of the screen.
    this.rows.get(refused.ids[0])?.trouble.scrollIntoView({ block: "nearest" });
    this.show();
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
    const began = performance.now();
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
    const calm = this.awaitsFirst() ? FIRST_TICK : this.wishes.size ? WISH_TICK : lively ? TICK : IDLE_TICK;
    // Counted from the last question, so that curves move once a second, however long an answer takes.
    const wait = this.failures ? Math.min(TICK * this.failures, 5000) : Math.max(FIRST_TICK, calm - (performance.now() - began));
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
      const marked = this.marksOf(id).length;
      this.states.set(id, run ?? { status: "gone", reason: "This run was deleted." });
      if (!run) continue;
      fresh ||= run.points.step.length > 0 || marked !== this.marksOf(id).length;
      points.set(id, appended(points.get(id), run.points));
    }
    if (fresh) this.draw();
  }

  marksOf(id) {
    return this.states.get(id)?.marks ?? [];
  }

  stepOf(id) {
    return this.points.get(id)?.step.at(-1) ?? 0;
  }

  recolour() {
    this.theme = pageTheme(this.root);
    for (const row of this.rows.values()) row.recolour(this.colour(row.run));
    for (const story of this.stories.values()) story.draw();
  }

  colour(run) {
    return this.theme.dark ? run.style.dark : run.style.light;
  }

  /** ``more``: the changes of an "adjust", or that runs which are not shown are meant too. */
  wish(verb, ids, more) {
    if (!ids.length) return;
    const now = Date.now();
    for (const id of ids) {
      this.wishes.set(id, { verb, at: now, sent: now, step: this.stepOf(id), marks: this.marksOf(id).length });
      this.rows.get(id)?.refuse("");
      if (verb === "step-batch") this.awaited.set(id, this.states.get(id)?.batch ?? null);
    }
    this.send("wish", { verb, ids, ...more });
    this.show();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.poll(), WISH_TICK);
    this.eager = now + PATIENCE;
  }

  /** A wish said while the page was not connected is lost on the way; saying it again changes nothing else. */
  insist(id, wish) {
    wish.sent = Date.now();
    this.send("wish", { verb: wish.verb, ids: [id] });
  }

  show() {
    const active = this.active();
    this.barred.hidden = this.able || Boolean(this.excerpt) || ![...this.states.values()].some((state) => changeable(state));
    this.stopAll.hidden = !this.able || active.length < 2;
    const line = this.trouble || headline(this.runs, this.states);
    if (this.headline.textContent !== line) this.headline.textContent = line;
    this.headline.classList.toggle("ds-trouble", Boolean(this.trouble));
    for (const [id, row] of this.rows) this.showRow(id, row);
  }

  showRow(id, row) {
    const state = this.states.get(id);
    if (!state) return;
    this.heed(id, row, state);
    const wish = this.wishes.get(id);
    const done = wish && granted(wish, state, this.stepOf(id), this.marksOf(id).length);
    if (wish && (done || Date.now() - wish.at > HOPE)) this.wishes.delete(id);
    else if (wish && REPEATABLE.has(wish.verb) && Date.now() - wish.sent > RESEND) this.insist(id, wish);
    row.show(state, this.wishes.get(id), this.able);
    this.followBatch(row, state);
  }

  /** A change that the run itself could not make is told once, and not of a run that had ended before. */
  heed(id, row, { refused, status }) {
    const turn = refused?.turn ?? null;
    const known = this.refusals.has(id) ? this.refusals.get(id) : ACTIVE.has(status) ? null : turn;
    this.refusals.set(id, turn);
    if (turn === null || turn === known) return;
    this.wishes.delete(id);
    row.refuse(refused.sentence);
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
    this.charts.draw(Plotly);
    const words = lossStory(this.runs, this.points);
    if (this.story.textContent !== words) this.story.textContent = words;
    this.count();
  }

  /** How many raw points are drawn: read by tests and by people who look at the page's source. */
  count() {
    let total = 0;
    for (const columns of this.points.values()) total += columns.step.length;
    this.root.dataset.points = String(total);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onVisible);
    for (const story of this.stories.values()) story.close();
    this.charts.close();
  }
}
