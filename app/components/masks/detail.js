/** One unit under every technique: its numbers, and the formula with them in it. */
class Detail {
  constructor() {
    this.root = make("section", "ds-detail-strip");
    this.title = make("h2", "ds-detail-title");
    this.title.setAttribute("aria-live", "polite");
    this.cards = make("div", "ds-cards");
    this.root.append(this.title, this.cards);
    this.made = new Map();
  }

  show(view) {
    const { unit, looks } = view;
    const first = looks.find((look) => unit < look.part.count);
    this.title.textContent = first ? `${unitName(first.part, unit)}: ${this.state(first, unit)}` : "Choose a unit";
    this.cards.replaceChildren(...looks.map((look) => this.card(look, unit, view)));
  }

  state(look, unit) {
    const value = look.activation[unit];
    const size = look.part.count;
    if (value === 0) return "activation 0, at rest";
    let above = 0;
    for (let i = 0; i < size; i += 1) if (look.activation[i] > value) above += 1;
    return `activation ${short(value)}, ${above === 0 ? "the most active" : `number ${above + 1}`} of ${size}`;
  }

  card(look, unit, view) {
    const { part } = look;
    const card = make("div", "ds-card");
    const head = make("p", "ds-card-head");
    head.append(swatchLine(part.style, view.colour(part)), make("strong", "", part.title));
    card.append(head);
    if (unit >= part.count) {
      card.append(make("p", "", `Acts elsewhere in the block, on ${part.count} units.`));
      return card;
    }
    card.append(make("p", "ds-verdict", verdict(look, unit)), make("p", "ds-worked", worked(look, unit, view.p)));
    const often = look.kept(unit);
    if (often !== undefined) card.append(make("p", "ds-often", `Stays in ${percent(often)} of ${view.data.frequency_draws} draws; 1 − p is ${percent(1 - view.p)}.`));
    const incoming = look.weightsOf(unit);
    if (incoming) card.append(this.weights(look, incoming, view));
    return card;
  }

  weights(look, { weights, falls }, view) {
    const canvas = (this.strip ??= make("canvas"));
    canvas.setAttribute("role", "img");
    const inputs = weights.length;
    canvas.setAttribute("aria-label", `The ${inputs} weights of this unit; those that fell are crossed out`);
    const width = Math.max(120, Math.min(280, view.cardWidth() - 24));
    const columns = Math.min(inputs, Math.max(8, Math.floor(width / Math.max(4, Math.sqrt((width * 110) / inputs)))));
    const size = width / columns;
    const context = sized(canvas, width, Math.ceil(inputs / columns) * size);
    const marks = new Path2D();
    for (let i = 0; i < inputs; i += 1) {
      const [x, y] = [(i % columns) * size, Math.floor(i / columns) * size];
      const fell = falls[i] <= look.step;
      context.fillStyle = fell ? css(view.colours.drained) : view.colours.diverging.css(0.5 + weights[i] / (2 * look.part.weight_top));
      context.fillRect(x, y, size - 0.75, size - 0.75);
      if (fell) addMark(marks, x, y, size - 0.75);
    }
    stroke(context, marks, view.colours.mark, size);
    return canvas;
  }
}

function unitName(part, unit) {
  if (part.units.length === 1) return `Unit ${unit + 1}`;
  const [, rows, columns] = part.units;
  const inside = unit % (rows * columns);
  return `Map ${Math.floor(unit / (rows * columns)) + 1}, row ${Math.floor(inside / columns) + 1}, column ${(inside % columns) + 1}`;
}

function verdict(look, unit) {
  const { part } = look;
  if (look.step === 0) return "p is 0: nothing happens.";
  if (part.drops === "units") {
    if (look.fell(unit)) return look.activation[unit] === 0 ? "Falls, though it was at rest." : "Falls.";
    if (look.activation[unit] === 0) return "Stays, at rest.";
    const factor = look.factor(unit);
    return factor === 1 ? "Stays as it is." : `Stays, scaled by ${short(factor)}.`;
  }
  if (part.drops === "weights") return look.step === look.part.answers.shape[1] - 1 ? "All its weights fall; its bias stays." : "Stays; some of its weights fall.";
  return look.activation[unit] === 0 ? "At rest: a factor does not move it." : `Is multiplied by ${short(look.factor(unit))}.`;
}

/** The technique's formula with this unit's numbers in place of its letters. */
function worked(look, unit, p) {
  const { part } = look;
  const fell = look.fell(unit);
  const incoming = look.weightsOf(unit);
  if (part.drops === "weights" && !incoming) return "Fetching the weights of this unit …";
  const numbers = {
    x: short(look.activation[unit]),
    factor: part.drops === "units" && fell ? "0" : short(look.factor(unit)),
    y: short(look.out(unit)),
    p: p.toFixed(2),
    score: look.score ? short(look.score[unit]) : "",
    cut: look.score ? short(look.threshold(unit)) : "",
    sign: fell ? part.falls_when : (AGAINST[part.falls_when] ?? ""),
    weights: incoming ? incoming.falls.length : "",
    kept: incoming ? incoming.falls.reduce((kept, at) => kept + (at > look.step), 0) : "",
  };
  return part.worked.replace(/\{(\w+)\}/g, (_, name) => numbers[name]).replaceAll(";  ", "\n");
}

const AGAINST = { "<": "≥", "≤": ">", "≥": "<", ">": "≤" };
