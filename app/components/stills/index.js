const LARGEST = 16;

export default function (component) {
  const root = component.parentElement.querySelector(".ds-stills");
  return mountView(root, () => new Stills(root), (view) => view.update(component.data));
}

class Stills {
  constructor(root) {
    this.root = root;
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(root);
  }

  update(bytes) {
    if (bytes !== this.bytes) {
      this.bytes = bytes;
      this.panels = unpack(bytes).techniques.map((part) => this.panel(part));
      this.root.replaceChildren(...this.panels.map((panel) => panel.figure));
    }
    this.draw();
  }

  panel(part) {
    const figure = make("figure", "ds-still");
    const canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", part.alt);
    figure.append(make("figcaption", "", part.title), canvas);
    return { figure, canvas, look: new Still(part) };
  }

  draw() {
    if (!this.panels) return;
    const colours = cellColours(pageTheme(this.root));
    const top = Math.max(1e-9, ...this.panels.map(({ look }) => look.activation.reduce((a, b) => Math.max(a, Math.abs(b)), 0)));
    const signed = this.panels.some(({ look }) => look.activation.some((value) => value < 0));
    for (const { figure, canvas, look } of this.panels) {
      const plan = arrange(look.part.units, figure.clientWidth, LARGEST);
      paintUnits(canvas, plan, look, { colours, top, signed, focus: -1 });
    }
  }

  close() {
    this.watcher.disconnect();
  }
}

/** What the painter asks of a look, for a mask that does not depend on p. */
class Still {
  constructor(part) {
    this.part = part;
    this.activation = part.activation.values;
    this.falls = part.fallen?.values;
  }

  fell(i) {
    return this.falls !== undefined && this.falls[i] === 1;
  }

  factor(i) {
    return this.part.factors ? this.part.factors.values[i] : 1;
  }
}
