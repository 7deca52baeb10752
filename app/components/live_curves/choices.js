// How a person wants to look at the curves: the horizontal axis, smoothing, and which kinds of curves.

const SMOOTHINGS = [0, 0.02, 0.05, 0.1, 0.2];
const CURVES = { train: "training", validation: "validation", quiet: "training images, dropout off" };
// With more runs than this the third curve of each has to be asked for.
const CALM = 3;

class Choices {
  /** ``changed()`` is called after every choice. */
  constructor(changed) {
    this.changed = changed;
    this.number = 0;
    this.x = remembered("axis", (name) => name in AXES, "epoch");
    this.smoothing = remembered("smoothing", (share) => SMOOTHINGS.includes(share), SMOOTHINGS[1]);
    this.chosen = remembered("curves", (value) => value && typeof value === "object", {});
    this.root = make("div", "ds-foot");
    this.root.append(this.axisChoice(), this.smoothingChoice(), this.curveChoice());
  }

  /** Offers these kinds of curves alone, over epochs, whatever was chosen elsewhere; no choice is kept. */
  keepTo(kinds) {
    this.passing = true;
    [this.x, this.smoothing] = ["epoch", SMOOTHINGS[1]];
    this.chosen = Object.fromEntries(Object.keys(CURVES).map((kind) => [kind, kinds.includes(kind)]));
    this.root.replaceChildren(this.root.lastChild);
    for (const button of this.curveButtons) button.hidden = !kinds.includes(button.dataset.curve);
  }

  axisChoice() {
    const group = make("div", "ds-choice");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Horizontal axis");
    this.axisButtons = Object.keys(AXES).map((name) => {
      const button = make("button", "", name);
      button.type = "button";
      button.dataset.axis = name;
      button.onclick = () => this.choose({ x: name }, "axis", name);
      return button;
    });
    group.append(...this.axisButtons);
    return group;
  }

  smoothingChoice() {
    const label = make("label", "ds-smoothing");
    this.smoother = Object.assign(make("input"), { type: "range", min: 0, max: SMOOTHINGS.length - 1, step: 1 });
    this.smoothText = make("output");
    this.smoother.oninput = () => {
      const share = SMOOTHINGS[this.smoother.value];
      this.choose({ smoothing: share }, "smoothing", share);
    };
    label.append(make("span", "", "Smoothing"), this.smoother, this.smoothText);
    return label;
  }

  /** The key of the curves; each of its entries takes its kind of curve away and back. */
  curveChoice() {
    const group = make("div", "ds-curves");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Curves");
    this.curveButtons = Object.entries(CURVES).map(([kind, text]) => {
      const button = make("button", "ds-curve");
      button.type = "button";
      button.dataset.curve = kind;
      button.append(curveSample(kind), make("span", "", text));
      button.onclick = () => {
        const chosen = { ...this.chosen, [kind]: !this.shown[kind] };
        this.choose({ chosen }, "curves", chosen);
      };
      return button;
    });
    group.append(...this.curveButtons);
    return group;
  }

  /** Which kinds of curves are drawn. */
  get shown() {
    return { train: true, validation: true, quiet: this.number <= CALM, ...this.chosen };
  }

  choose(change, name, value) {
    Object.assign(this, change);
    if (!this.passing) remember(name, value);
    this.show(this.number);
    this.changed();
  }

  /** Shows what is chosen, for this number of runs. */
  show(number) {
    this.number = number;
    for (const button of this.axisButtons) button.setAttribute("aria-pressed", String(button.dataset.axis === this.x));
    for (const button of this.curveButtons) button.setAttribute("aria-pressed", String(this.shown[button.dataset.curve]));
    this.smoother.value = SMOOTHINGS.indexOf(this.smoothing);
    const text = this.smoothing ? `over ${100 * this.smoothing} %` : "off";
    this.smoothText.textContent = text;
    this.smoother.setAttribute("aria-valuetext", text);
  }
}
