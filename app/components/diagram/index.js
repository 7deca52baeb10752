const HEIGHT = 150;
const EDGE = { left: 34, right: 8, top: 8, bottom: 22 };
const SPAN = 30;

export default function (component) {
  const root = component.parentElement.querySelector(".ds-diagram");
  return mountView(root, () => new Diagram(root), (view) => view.update(component.data));
}

class Diagram {
  constructor(root) {
    this.canvas = make("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "Not drawn yet");
    this.caption = make("figcaption");
    root.replaceChildren(this.canvas, this.caption);
    this.root = root;
    // Out of sight it costs the masks nothing of their frame.
    this.follow = (event) => this.seen && this.draw(event.detail);
    window.addEventListener("dropscope-masks", this.follow);
    this.watcher = new IntersectionObserver((entries) => {
      this.seen = entries.at(-1).isIntersecting;
      if (this.seen && window.dropscopeMasks) this.draw(window.dropscopeMasks);
    });
    this.watcher.observe(root);
  }

  update(data) {
    this.technique = data.technique;
    if (window.dropscopeMasks) this.draw(window.dropscopeMasks);
  }

  draw(masks) {
    const look = masks.looks?.find((one) => one.part.name === this.technique);
    if (!look || !this.root.clientWidth) return;
    const theme = pageTheme(this.root);
    const colours = cellColours(theme);
    const colour = theme.dark ? look.part.style.dark : look.part.style.light;
    const context = sized(this.canvas, this.root.clientWidth, HEIGHT);
    const scene = look.part.drops === "weights" ? ofWeights(look, masks.unit) : look.score ? ofScores(look) : ofFactors(look);
    if (!scene) return;
    new Frame(context, this.root.clientWidth, scene, theme).draw(colour, colours);
    this.caption.textContent = scene.words;
    this.canvas.setAttribute("aria-label", `${scene.y} against ${scene.x.toLowerCase()}. ${scene.words}`);
  }

  close() {
    window.removeEventListener("dropscope-masks", this.follow);
    this.watcher.disconnect();
  }
}

/** Each unit by its activation and the number that decides on it. */
function ofScores(look) {
  const { part, score } = look;
  const points = [];
  for (const i of evenly(part.count)) {
    if (Number.isFinite(score[i])) points.push({ x: look.activation[i], y: score[i], fell: look.fell(i), cut: look.cuts?.[i] });
  }
  const name = part.worked.split(" = ")[0];
  const side = part.falls_when === "≥" || part.falls_when === ">" ? "above" : "below";
  const line = look.cuts ? undefined : look.cut;
  const words = look.step === 0 ? "p is 0: none falls." : `What lies ${side} the ${look.cuts ? "ticks" : "line"} falls.`;
  return { points, x: "Activation", y: name, line, log: wide(points), words };
}

function ofFactors(look) {
  const points = Array.from(evenly(look.part.count), (i) => ({ x: look.activation[i], y: look.factor(i), fell: false }));
  return { points, x: "Activation", y: look.part.worked.split(" = ")[0], line: 1, words: "Every unit gets a factor around 1; none falls." };
}

/** The weights into the unit that is looked at: their size does not matter. */
function ofWeights(look, unit) {
  const incoming = look.weightsOf(Math.min(unit, look.part.count - 1));
  if (!incoming) return undefined;
  const points = Array.from(evenly(incoming.weights.length), (i) => ({ x: i + 1, y: incoming.weights[i], fell: incoming.falls[i] <= look.step }));
  return { points, x: "Input", y: "w", line: 0, words: `Each weight into unit ${unit + 1} falls alike, whatever its size.` };
}

function evenly(count) {
  const step = Math.max(1, count / 200);
  return Array.from({ length: Math.min(count, 200) }, (_, i) => Math.floor(i * step));
}

/** Whether positive numbers span so many orders that only a logarithm shows them. */
function wide(points) {
  const values = points.map((point) => point.y);
  return points.length > 0 && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > SPAN && Math.max(...values) > 2;
}

class Frame {
  constructor(context, width, scene, theme) {
    Object.assign(this, { context, width, scene, theme });
    const up = scene.log ? Math.log : (value) => value;
    const xs = scene.points.map((point) => point.x);
    const ys = scene.points.map((point) => up(point.y)).concat(Number.isFinite(scene.line) && (!scene.log || scene.line > 0) ? [up(scene.line)] : []);
    const [left, right] = [Math.min(0, ...xs), Math.max(1e-9, ...xs)];
    const [low, high] = [Math.min(...ys), Math.max(...ys)];
    const span = high - low || 1;
    this.x = (value) => EDGE.left + 6 + ((value - left) / (right - left)) * (width - EDGE.left - EDGE.right - 12);
    this.y = (value) => HEIGHT - EDGE.bottom - 5 - ((up(value) - low) / span) * (HEIGHT - EDGE.top - EDGE.bottom - 10);
  }

  draw(colour, colours) {
    const { context, scene } = this;
    this.axes();
    if (scene.line !== undefined && Number.isFinite(scene.line) && (!scene.log || scene.line > 0)) this.cut(scene.line);
    const marks = new Path2D();
    context.fillStyle = colour;
    for (const { x, y, fell, cut } of scene.points) {
      const [left, top] = [this.x(x), this.y(y)];
      if (cut !== undefined) this.tick(left, this.y(cut));
      context.fillStyle = colour;
      if (fell) addMark(marks, left - 3.5, top - 3.5, 7);
      else {
        context.beginPath();
        context.arc(left, top, 2.5, 0, 7);
        context.fill();
      }
    }
    context.strokeStyle = colours.mark;
    context.lineWidth = 1.3;
    context.stroke(marks);
  }

  axes() {
    const { context, theme, width, scene } = this;
    context.strokeStyle = theme.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(EDGE.left, EDGE.top);
    context.lineTo(EDGE.left, HEIGHT - EDGE.bottom);
    context.lineTo(width - EDGE.right, HEIGHT - EDGE.bottom);
    context.stroke();
    context.fillStyle = theme.text;
    context.font = `12px ${theme.font}`;
    context.textAlign = "right";
    context.fillText(`${scene.x} →`, width - EDGE.right, HEIGHT - 6);
    context.textAlign = "left";
    context.save();
    context.translate(12, HEIGHT - EDGE.bottom);
    context.rotate(-Math.PI / 2);
    context.fillText(`${scene.y}${scene.log ? " (log)" : ""} →`, 0, 0);
    context.restore();
  }

  cut(value) {
    const { context, theme, width } = this;
    context.strokeStyle = theme.text;
    context.setLineDash([5, 4]);
    context.beginPath();
    context.moveTo(EDGE.left, this.y(value));
    context.lineTo(width - EDGE.right, this.y(value));
    context.stroke();
    context.setLineDash([]);
  }

  tick(x, y) {
    this.context.fillStyle = this.theme.text;
    this.context.globalAlpha = 0.45;
    this.context.fillRect(x - 3, y - 0.75, 6, 1.5);
    this.context.globalAlpha = 1;
  }
}
