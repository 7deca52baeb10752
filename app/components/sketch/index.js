// The sheet is so many units wide; strokes are kept in them, whatever the size on the screen.
const SIDE = 280;
// On a digit that fills the sheet, as heavy as the strokes of MNIST's.
const BRUSH = 22;
const SEND_AFTER_MS = 250;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export default function (component) {
  const root = component.parentElement.querySelector(".ds-sketch");
  return mountView(root, () => new Sketch(root), (view) => view.update(component.setStateValue));
}

class Sketch {
  constructor(root) {
    this.root = root;
    this.strokes = [];
    this.pen = { x: SIDE / 2, y: SIDE / 2, down: false, shown: false };
    this.sheet = make("canvas");
    this.sheet.tabIndex = 0;
    this.sheet.setAttribute("role", "application");
    this.sheet.setAttribute("aria-label", "Sheet to draw a digit on");
    const hint = make("p", "ds-sketch-hint", "With keys: arrows move the pen, space puts it down or lifts it, backspace undoes.");
    hint.id = "ds-sketch-hint";
    this.sheet.setAttribute("aria-describedby", hint.id);
    this.said = make("p", "ds-sketch-said");
    this.said.setAttribute("role", "status");
    this.undoButton = this.button("Undo", () => this.undo());
    this.clearButton = this.button("Clear", () => this.clear());
    const buttons = make("div", "ds-sketch-buttons");
    buttons.append(this.undoButton, this.clearButton);
    root.replaceChildren(this.sheet, buttons, hint, this.said);
    this.listen();
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.sheet);
  }

  button(text, onPress) {
    const button = make("button", "", text);
    button.type = "button";
    button.onclick = onPress;
    return button;
  }

  listen() {
    this.sheet.onpointerdown = (event) => this.pointerDown(event);
    this.sheet.onpointermove = (event) => this.pointerMove(event);
    this.sheet.onpointerup = this.sheet.onpointercancel = (event) => this.pointerUp(event);
    this.sheet.onkeydown = (event) => this.key(event);
    this.sheet.onblur = () => this.lift();
  }

  update(setStateValue) {
    this.setStateValue = setStateValue;
    this.theme = pageTheme(this.root);
    this.draw();
  }

  at(event) {
    const box = this.sheet.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
  }

  pointerDown(event) {
    if (this.pointer !== undefined || event.button !== 0) return;
    this.lift();
    this.pointer = event.pointerId;
    this.sheet.setPointerCapture(event.pointerId);
    this.strokes.push([this.at(event)]);
    clearTimeout(this.waiting);
    this.draw();
  }

  pointerMove(event) {
    if (event.pointerId !== this.pointer) return;
    const between = event.getCoalescedEvents?.() ?? [];
    for (const part of between.length ? between : [event]) this.strokes.at(-1).push(this.at(part));
    this.draw();
  }

  pointerUp(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = undefined;
    this.changed();
  }

  key(event) {
    const direction = ARROWS[event.key];
    if (direction) this.movePen(direction, event.shiftKey ? 4 : 14);
    else if (event.key === " ") this.pen.down ? this.lift() : this.putDown();
    else if (event.key === "Backspace" || (event.key === "z" && (event.ctrlKey || event.metaKey))) this.undo();
    else return;
    event.preventDefault();
    this.pen.shown = true;
    this.draw();
  }

  movePen([x, y], distance) {
    const within = (value) => Math.min(SIDE, Math.max(0, value));
    this.pen.x = within(this.pen.x + distance * x);
    this.pen.y = within(this.pen.y + distance * y);
    if (!this.pen.down) return;
    this.strokes.at(-1).push([this.pen.x, this.pen.y]);
    this.changed();
  }

  putDown() {
    this.pen.down = true;
    this.strokes.push([[this.pen.x, this.pen.y]]);
    this.say("Pen down");
    this.changed();
  }

  lift() {
    if (this.pen.down) this.say("Pen up");
    this.pen.down = false;
    this.pen.shown = false;
    this.draw();
  }

  undo() {
    if (!this.strokes.pop()) return;
    this.pen.down = false;
    this.say("Last stroke undone");
    this.changed();
  }

  clear() {
    this.strokes = [];
    this.pen = { x: SIDE / 2, y: SIDE / 2, down: false, shown: false };
    this.say("Sheet cleared");
    this.changed();
    this.sheet.focus();
  }

  say(text) {
    this.said.textContent = text;
  }

  /** Tells Python a moment after the last change: a digit of several strokes is one answer, not one a stroke. */
  changed() {
    this.draw();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.setStateValue("drawing", this.image()), SEND_AFTER_MS);
  }

  /** The drawing as on paper, as a data URL; empty for an empty sheet. */
  image() {
    if (this.strokes.length === 0) return "";
    const paper = make("canvas");
    paper.width = paper.height = SIDE;
    this.paint(paper, "#fff", "#000");
    return paper.toDataURL("image/png");
  }

  draw() {
    if (!this.theme) return;
    const pixels = Math.round(this.sheet.clientWidth * devicePixelRatio) || SIDE;
    if (this.sheet.width !== pixels) this.sheet.width = this.sheet.height = pixels;
    const context = this.paint(this.sheet, this.theme.ground, this.theme.text);
    if (this.pen.shown) this.paintPen(context);
    this.undoButton.disabled = this.clearButton.disabled = this.strokes.length === 0;
    this.sheet.dataset.strokes = this.strokes.length;
  }

  paint(canvas, ground, ink) {
    const context = canvas.getContext("2d");
    context.setTransform(canvas.width / SIDE, 0, 0, canvas.height / SIDE, 0, 0);
    context.fillStyle = ground;
    context.fillRect(0, 0, SIDE, SIDE);
    Object.assign(context, { strokeStyle: ink, lineWidth: BRUSH, lineCap: "round", lineJoin: "round" });
    for (const [first, ...others] of this.strokes) {
      context.beginPath();
      context.moveTo(...first);
      // A dot is a line of no length: some browsers draw nothing for it.
      context.lineTo(first[0] + 0.01, first[1]);
      for (const point of others) context.lineTo(...point);
      context.stroke();
    }
    return context;
  }

  paintPen(context) {
    context.beginPath();
    context.arc(this.pen.x, this.pen.y, BRUSH / 2, 0, 2 * Math.PI);
    Object.assign(context, { lineWidth: 4, strokeStyle: this.theme.ground });
    context.stroke();
    Object.assign(context, { lineWidth: 2, strokeStyle: this.theme.text });
    context.stroke();
  }

  close() {
    clearTimeout(this.waiting);
    this.resized.disconnect();
  }
}
