const TELL_AFTER = 350;
const PLAY_EVERY = 700;
const LARGEST_CELL = 22;
// Of a technique that has the whole width to itself.
const LARGEST_ALONE = 28;
const BARS = 3;
const SCALE_WIDTH = 64;

export default function (component) {
  const root = component.parentElement.querySelector(".ds-masks");
  return mountView(root, () => new Masks(root), (view) => view.update(component.data, component.setStateValue));
}

class Masks {
  constructor(root) {
    this.root = root;
    this.panels = new Map();
    this.bitmap = make("canvas");
    this.detail = new Detail();
    this.figures = new Figures();
    this.build();
    this.watcher = new ResizeObserver(() => this.data && this.queue());
    this.watcher.observe(this.field);
  }

  build() {
    this.bar = make("div", "ds-masks-bar");
    this.pLabel = this.slider();
    this.draws = this.drawButtons();
    this.bar.append(this.pLabel, this.draws);
    this.field = make("div", "ds-panels");
    this.key = make("div", "ds-cell-key");
    const below = make("div", "ds-below");
    this.ordering = this.orderChoice();
    below.append(this.key, this.ordering);
    this.compare = this.compareControl();
    this.root.replaceChildren(this.bar, this.field, below, this.compare, this.detail.root, this.figures.root);
  }

  slider() {
    const label = make("label", "ds-p");
    this.range = make("input");
    Object.assign(this.range, { type: "range", min: 0, step: 1 });
    this.pText = make("output", "ds-p-value");
    this.range.oninput = () => this.go({ step: Number(this.range.value) });
    label.append(make("span", "", "Drop probability p"), this.range, this.pText);
    return label;
  }

  drawButtons() {
    const group = make("div", "ds-draws");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Random draw");
    const button = (text, label, act) => {
      const made = make("button", "ds-button ds-narrow", text);
      made.type = "button";
      made.setAttribute("aria-label", label);
      made.onclick = act;
      return made;
    };
    const back = button("‹", "Previous draw", () => this.turn(-1));
    const next = button("›", "Next draw", () => this.turn(1));
    this.play = button("Play", "Play the draws", () => this.playing(!this.timer));
    this.drawText = make("span", "ds-draw-text");
    group.append(back, this.drawText, next, this.play);
    return group;
  }

  orderChoice() {
    const group = make("div", "ds-choice");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Order of the units");
    this.sorted = false;
    this.orderButtons = [["as they are", false], ["by activation", true]].map(([text, sorted]) => {
      const made = make("button", "", text);
      made.type = "button";
      made.onclick = () => this.go({ sorted });
      made.sorted = sorted;
      return made;
    });
    group.append(...this.orderButtons);
    const labelled = make("div", "ds-order");
    labelled.append(make("span", "", "Units"), group);
    return labelled;
  }

  compareControl() {
    const box = make("details", "ds-compare");
    const head = make("summary", "", "Compare two masks");
    const row = make("div", "ds-compare-row");
    this.pick = [0, 1].map((i) => {
      const label = make("label", "", i ? "and" : "Units that fall under");
      const select = make("select");
      select.onchange = () => this.queue();
      label.append(select);
      return { label, select };
    });
    this.difference = make("canvas");
    this.difference.setAttribute("role", "img");
    this.differenceText = make("p", "ds-key");
    row.append(...this.pick.map(({ label }) => label));
    box.append(head, row, this.difference, this.differenceText);
    box.ontoggle = () => this.queue();
    return box;
  }

  /** New data from the page, a change of theme, or both. */
  update(bytes, setStateValue) {
    this.tell = setStateValue;
    if (bytes !== this.bytes) this.take(bytes);
    this.theme = pageTheme(this.root);
    this.colours = cellColours(this.theme);
    this.dress();
    this.queue();
  }

  take(bytes) {
    const first = this.data === undefined;
    const before = this.data && { p: this.p, drawn: this.drawn, unit: this.unit, layer: this.data.layer };
    this.bytes = bytes;
    this.data = unpack(bytes);
    const { start } = this.data;
    const same = before?.layer === this.data.layer;
    this.step = nearest(this.data.grid, first ? start.p : before.p);
    this.drawn = Math.min(first ? start.draw : before.drawn, this.data.draws - 1);
    const count = Math.max(...this.data.techniques.map((part) => part.count));
    const wanted = first ? start.unit : same ? before.unit : -1;
    this.unit = wanted >= 0 && wanted < count ? wanted : indexOfMost(this.data.techniques[0].activation.values);
    this.range.max = this.data.grid.length - 1;
    const flat = this.data.techniques.every((part) => part.units.length === 1);
    for (const button of this.orderButtons) button.disabled = !flat;
    this.order = flat && byActivation(this.data.techniques[0].activation.values);
    this.top = Math.max(1e-9, ...this.data.techniques.map((part) => largest(part.activation.values)));
    for (const part of this.data.techniques) part.signed = part.activation.values.some((value) => value < 0);
    if (first && start.sorted) this.sorted = true;
    this.makePanels();
    this.offer();
    this.showParts();
    // A large matrix comes with the weights of one unit: ask for those of the unit that is looked at.
    const rowMissing = this.data.techniques.some((part) => part.density && part.row_unit !== this.unit);
    // In another layer another unit is looked at: the address is to name that.
    if (rowMissing || (!first && !same)) this.tellSoon();
  }

  get p() {
    return this.data.grid[this.step];
  }

  colour(part) {
    return this.theme.dark ? part.style.dark : part.style.light;
  }

  cardWidth() {
    return this.detail.cards.firstElementChild?.clientWidth ?? 240;
  }

  makePanels() {
    this.panels = new Map(this.data.techniques.map((part) => [part.name, this.panel(part)]));
    this.field.replaceChildren(...[...this.panels.values()].map((panel) => panel.root));
  }

  panel(part) {
    const root = make("section", "ds-panel");
    root.dataset.technique = part.name;
    const head = make("h2", "ds-panel-head");
    const swatch = make("span", "ds-swatch");
    head.append(swatch, make("span", "", part.title));
    const canvas = make("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", `Units under ${part.title}. Arrow keys choose a unit; its numbers stand below.`);
    canvas.onpointerdown = (event) => this.point(event, part);
    canvas.onkeydown = (event) => this.press(event, part);
    const count = make("p", "ds-count");
    const bars = make("div", "ds-bars");
    root.append(head, canvas, count, bars);
    return { root, canvas, count, bars, swatch, part };
  }

  /** Colours of the page that are set once, not in every frame. */
  dress() {
    for (const { swatch, part } of this.panels.values()) swatch.replaceChildren(swatchLine(part.style, this.colour(part)));
    this.key.replaceChildren(...cellKey(this.data.techniques, this.colours, this.top));
  }

  offer() {
    const able = this.data.techniques.filter((part) => part.drops === "units");
    const same = able.filter((part) => part.count === able[0].count);
    this.compare.hidden = same.length < 2;
    this.pick.forEach(({ select }, i) => {
      const chosen = same.some((part) => part.name === select.value) ? select.value : same[Math.min(i, same.length - 1)]?.name;
      select.replaceChildren(...same.map((part) => Object.assign(make("option", "", part.title), { value: part.name })));
      if (chosen) select.value = chosen;
    });
  }

  has(part) {
    return this.data.parts.includes(part);
  }

  /** Hides what the page does not ask for. */
  showParts() {
    const { kept, moved } = this.figures;
    const parts = { p: this.pLabel, draws: this.draws, cells: this.field, key: this.key, order: this.ordering, unit: this.detail.root, kept: kept.root, curve: moved.root };
    for (const [part, node] of Object.entries(parts)) node.hidden = !this.has(part);
    this.bar.hidden = !this.has("p") && !this.has("draws");
    this.figures.root.hidden = kept.root.hidden && moved.root.hidden;
    this.compare.hidden ||= !this.has("compare");
    for (const { count, bars } of this.panels.values()) {
      count.hidden = !this.has("count");
      bars.hidden = !this.has("answer");
    }
  }

  go(change) {
    Object.assign(this, change);
    this.queue();
    this.tellSoon();
  }

  tellSoon() {
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.tell("view", { p: this.p, draw: this.drawn, unit: this.unit, sorted: this.sorted }), TELL_AFTER);
  }

  turn(by) {
    this.go({ drawn: (this.drawn + by + this.data.draws) % this.data.draws });
  }

  playing(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => this.turn(1), PLAY_EVERY) : undefined;
    this.play.textContent = on ? "Pause" : "Play";
    this.play.setAttribute("aria-label", on ? "Pause the draws" : "Play the draws");
  }

  point(event, part) {
    const panel = this.panels.get(part.name);
    const box = panel.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    if (part.drops === "weights") {
      this.go({ unit: Math.max(0, Math.min(part.count - 1, Math.floor((y / box.height) * part.count))) });
      return;
    }
    const place = placeAt(panel.plan, x, y);
    if (place >= 0 && place < part.count) this.go({ unit: this.sorted && this.order ? this.order[place] : place });
  }

  press(event, part) {
    const plan = this.panels.get(part.name).plan;
    const line = part.drops === "weights" ? 1 : plan.columns;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -line, ArrowDown: line, Home: -Infinity, End: Infinity };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const order = this.sorted && this.order && part.drops !== "weights" ? this.order : undefined;
    const place = order ? order.indexOf(this.unit) : this.unit;
    const moved = Math.max(0, Math.min(part.count - 1, place + moves[event.key]));
    this.go({ unit: order ? order[moved] : moved });
  }

  /** Draws in the next frame; only once, however often it was asked. */
  queue() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  draw() {
    this.looks = this.data.techniques.map((part) => new Look(part, this.drawn, this.step));
    this.range.value = this.step;
    this.pText.textContent = this.p.toFixed(2);
    this.range.setAttribute("aria-valuetext", this.p.toFixed(2));
    this.drawText.textContent = `draw ${this.drawn + 1} of ${this.data.draws}`;
    for (const button of this.orderButtons) button.setAttribute("aria-pressed", String(button.sorted === (this.sorted && Boolean(this.order))));
    for (const look of this.looks) this.drawPanel(look, this.panels.get(look.part.name));
    if (this.compare.open && !this.compare.hidden) this.drawDifference();
    if (!this.detail.root.hidden) this.detail.show(this);
    if (!this.figures.root.hidden) this.figures.show(this);
    Object.assign(this.root.dataset, { p: this.p.toFixed(2), draw: this.drawn + 1, unit: this.unit + 1 });
    window.dispatchEvent(new CustomEvent("dropscope-masks", { detail: this }));
    window.dropscopeMasks = this;
  }

  drawPanel(look, panel) {
    const { part } = look;
    const width = panel.root.clientWidth;
    panel.plan = arrange(part.units, width, this.panels.size > 1 ? LARGEST_CELL : LARGEST_ALONE);
    const how = { order: this.sorted && this.order ? this.order : undefined, colours: this.colours, top: this.top, signed: part.signed, focus: this.unit, bitmap: this.bitmap };
    if (part.drops === "weights") {
      const height = Math.max(96, panel.plan.kind === "grid" ? panel.plan.height : width * 0.6);
      if (part.density) paintDensity(panel.canvas, width, height, look, how);
      else paintWeights(panel.canvas, width, height, look, { ...how, top: part.weight_top });
    } else paintUnits(panel.canvas, panel.plan, look, how);
    panel.count.textContent = counted(look);
    panel.root.dataset.fallen = look.falls ? countFallen(look).fallen : 0;
    this.drawBars(panel, look);
  }

  drawBars(panel, look) {
    const { classes, clean } = this.data;
    const shown = ranked(clean).slice(0, BARS);
    const winner = indexOfMost(look.answer);
    if (!shown.includes(winner)) shown[shown.length - 1] = winner;
    panel.bars.classList.toggle("ds-words", classes.some((name) => name.length > 3));
    while (panel.bars.children.length < shown.length) panel.bars.append(bar());
    while (panel.bars.children.length > shown.length) panel.bars.lastChild.remove();
    shown.forEach((k, i) => {
      const [name, track, text] = panel.bars.children[i].children;
      name.textContent = classes[k];
      name.title = classes[k];
      panel.bars.children[i].classList.toggle("ds-winner", k === winner);
      track.firstChild.style.width = `${100 * look.answer[k]}%`;
      track.firstChild.style.background = this.colour(look.part);
      track.lastChild.style.left = `${100 * clean[k]}%`;
      text.textContent = `${probability(clean[k])} → ${probability(look.answer[k])}`;
    });
  }

  drawDifference() {
    const chosen = this.pick.map(({ select }) => this.looks.find((look) => look.part.name === select.value));
    if (chosen.includes(undefined)) return;
    const width = Math.min(420, this.compare.clientWidth - 24);
    const plan = arrange(chosen[0].part.units, width, LARGEST_CELL);
    const pair = chosen.map((look) => this.colour(look.part));
    paintDifference(this.difference, plan, ...chosen, { order: this.sorted && this.order ? this.order : undefined, colours: this.colours, pair, focus: this.unit });
    const [a, b] = chosen;
    const count = { both: 0, first: 0, second: 0 };
    for (let i = 0; i < a.part.count; i += 1) {
      if (a.fell(i) && b.fell(i)) count.both += 1;
      else if (a.fell(i)) count.first += 1;
      else if (b.fell(i)) count.second += 1;
    }
    const chance = ((count.both + count.first) * (count.both + count.second)) / a.part.count;
    this.differenceText.textContent =
      `Upper half of a cell: falls under ${a.part.title}; lower half: under ${b.part.title}. ` +
      `${count.both} units fall under both (by chance: ${chance.toFixed(1)}), ` +
      `${count.first} only under ${a.part.title}, ${count.second} only under ${b.part.title}.`;
    this.difference.setAttribute("aria-label", this.differenceText.textContent);
  }

  close() {
    clearInterval(this.timer);
    clearTimeout(this.telling);
    cancelAnimationFrame(this.frame);
    this.watcher.disconnect();
    this.figures.close();
  }
}

function nearest(grid, p) {
  let best = 0;
  grid.forEach((value, i) => {
    if (Math.abs(value - p) < Math.abs(grid[best] - p)) best = i;
  });
  return best;
}

function largest(values) {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

function byActivation(values) {
  return Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);
}

function ranked(values) {
  return Array.from(values.keys()).sort((a, b) => values[b] - values[a]);
}

function bar() {
  const line = make("div", "ds-bar-row");
  const track = make("span", "ds-track");
  track.append(make("span", "ds-track-fill"), make("span", "ds-track-mark"));
  line.append(make("span", "ds-bar-name"), track, make("span", "ds-bar-text"));
  return line;
}

function countFallen(look) {
  let fallen = 0;
  let active = 0;
  const size = look.falls.length;
  for (let i = 0; i < size; i += 1) {
    if (look.falls[i] > look.step) continue;
    fallen += 1;
    if (look.part.drops === "units" && look.activation[i] > 0) active += 1;
  }
  return { fallen, active };
}

function counted(look) {
  const { part } = look;
  if (part.density) return `${percent(meanOf(look))} of ${part.weights.toLocaleString("en")} weights fall`;
  if (!look.falls) return `factors from ${short(least(look))} to ${short(greatest(look))}`;
  const { fallen, active } = countFallen(look);
  if (part.drops === "weights") return `${fallen.toLocaleString("en")} of ${look.falls.length.toLocaleString("en")} weights fall`;
  return `${fallen} of ${part.count} fall, ${active} active`;
}

function meanOf(look) {
  const [, steps, rows, columns] = look.part.density.shape;
  const start = (look.draw * steps + look.step) * rows * columns;
  let sum = 0;
  for (let i = 0; i < rows * columns; i += 1) sum += look.part.density.values[start + i];
  return sum / (255 * rows * columns);
}

function least(look) {
  let low = Infinity;
  for (let i = 0; i < look.part.count; i += 1) low = Math.min(low, look.factor(i));
  return low;
}

function greatest(look) {
  let high = -Infinity;
  for (let i = 0; i < look.part.count; i += 1) high = Math.max(high, look.factor(i));
  return high;
}

/** What the cells mean, with cells as they are drawn. */
function cellKey(techniques, colours, top) {
  const kinds = [];
  const cell = (paint, width) => {
    const canvas = make("canvas");
    canvas.setAttribute("aria-hidden", "true");
    paint(sized(canvas, width, 16));
    return canvas;
  };
  const filled = (colour) => (context) => {
    context.fillStyle = colour;
    context.fillRect(1, 1, 14, 14);
  };
  const marked = (colour, mark) => (context) => {
    filled(colour)(context);
    const path = new Path2D();
    addMark(path, 1, 1, 14);
    stroke(context, path, mark, 14);
  };
  const scale = (shade) => (context) => {
    for (let x = 1; x < SCALE_WIDTH - 1; x += 1) {
      context.fillStyle = shade((x - 1) / (SCALE_WIDTH - 3));
      context.fillRect(x, 1, 1, 14);
    }
  };
  const add = (text, paint, width = 16) => {
    const item = make("span", "ds-cell-key-item");
    item.append(cell(paint, width), make("span", "", text));
    kinds.push(item);
  };
  if (techniques.some((part) => part.drops === "units")) {
    if (techniques.some((part) => part.signed)) add(`activation, ${short(-top)} to ${short(top)}`, scale(colours.diverging.css), SCALE_WIDTH);
    else add(`activation, above 0 to ${short(top)}`, scale(colours.activation.css), SCALE_WIDTH);
    add("at rest (0)", filled(css(colours.rest)));
    add("fell", marked(css(colours.drained), colours.mark));
    add("fell, but was at rest", marked(css(colours.rest), colours.faint));
  }
  if (techniques.some((part) => part.keeps)) add("fill: chance to stay", (context) => paintShare(context, 1, 1, 14, 0.6, false, 0.75, colours));
  if (techniques.some((part) => !part.drops)) {
    add("factor below 1", filled(colours.diverging.css(0.1)));
    add("factor above 1", filled(colours.diverging.css(0.9)));
  }
  if (techniques.some((part) => part.density)) add("a block of weights, paler where more fell", filled(colours.activation.css(0.8)));
  if (techniques.some((part) => part.weight)) {
    add("weight below 0", filled(colours.diverging.css(0.1)));
    add("weight above 0", filled(colours.diverging.css(0.9)));
  }
  return kinds;
}
