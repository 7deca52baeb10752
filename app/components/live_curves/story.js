// What one batch did: images → activations → mask → scale → output → gradients, with the tensors of that step.

const LARGEST_CELL = 14;

class Story {
  constructor(run, close) {
    this.run = run;
    this.example = this.place = 0;
    this.unit = -1;
    this.bitmap = make("canvas");
    this.root = make("section", "ds-story");
    this.root.setAttribute("aria-label", `One batch of ${called(run)}`);
    this.title = make("h2", "", "The last batch …");
    const shut = make("button", "ds-button", "Close");
    shut.type = "button";
    shut.onclick = close;
    const head = make("div", "ds-head");
    head.append(this.title, shut);
    this.pictures = make("div", "ds-pictures");
    this.pictures.setAttribute("role", "group");
    this.pictures.setAttribute("aria-label", "Images of the batch");
    this.pictures.onkeydown = (event) => this.along(event);
    this.places = make("div", "ds-choice");
    this.places.setAttribute("role", "group");
    this.places.setAttribute("aria-label", "Dropout layer");
    this.panels = make("div", "ds-story-panels");
    this.numbers = make("p", "ds-story-numbers");
    this.numbers.setAttribute("role", "status");
    this.updates = make("div", "ds-updates");
    this.root.append(head, this.pictures, this.places, this.panels, this.numbers, this.updates);
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.panels);
  }

  /** Fetches the batch written at ``time``, unless it is shown already. */
  async fetch(time) {
    if (time === this.time) return;
    this.time = time;
    try {
      const reply = await fetch(`/api/runs/${encodeURIComponent(this.run.id)}/step`, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
      if (!reply.ok) throw Object.assign(new Error("refused"), { sentence: (await reply.json()).error });
      this.take(unpack(new Uint8Array(await reply.arrayBuffer())));
    } catch (error) {
      this.time = undefined;
      this.title.textContent = error.sentence ?? "The batch could not be fetched; take another step.";
    }
  }

  take(batch) {
    const [examples, ...places] = batch.techniques;
    this.batch = Object.assign(batch, { images: examples.images, answers: examples.answers, places });
    this.count = batch.images.shape[0];
    this.example = Math.min(this.example, this.count - 1);
    this.place = Math.min(this.place, Math.max(0, places.length - 1));
    this.unit = -1;
    this.title.textContent = `Step ${batch.step}: one batch of ${batch.size} images, loss ${batch.loss?.toFixed(3) ?? "not a finite number"}, learning rate ${valueText(batch.lr)}`;
    this.pictures.replaceChildren(...Array.from({ length: this.count }, (_, i) => this.picture(i)));
    this.places.replaceChildren(...places.map((place, i) => this.choice(`${place.title}, p ${valueText(place.p)}`, () => this.go({ place: i, unit: -1 }))));
    this.places.hidden = places.length < 2;
    this.root.dataset.step = String(batch.step);
    this.draw();
    this.drawUpdates();
  }

  choice(text, onclick) {
    const button = make("button", "", text);
    button.type = "button";
    button.onclick = onclick;
    return button;
  }

  picture(i) {
    const { images, answers, labels, classes } = this.batch;
    const button = make("button", "ds-picture");
    button.type = "button";
    const size = images.values.length / this.count;
    const canvas = paintImage(images.values.subarray(i * size, (i + 1) * size), images.shape.slice(1));
    const chances = answers.values.subarray(i * classes.length, (i + 1) * classes.length);
    const said = chances.indexOf(Math.max(...chances));
    // Of answers that are no numbers none is the largest.
    const says = said < 0 ? ["no answer"] : [classes[said], probability(chances[said])];
    const text = make("span", said === labels[i] ? "" : "ds-wrong", [cutShort(says[0], 9), ...says.slice(1)].join(" · "));
    button.append(canvas, text);
    button.setAttribute("aria-label", `Image ${i + 1}: a ${classes[labels[i]]}; the network says ${says.join(", ")}`);
    button.title = button.getAttribute("aria-label");
    button.onclick = () => this.go({ example: i });
    return button;
  }

  along(event) {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    this.go({ example: (this.example + move + this.count) % this.count });
    this.pictures.children[this.example].focus();
  }

  go(change) {
    Object.assign(this, change);
    this.draw();
  }

  draw() {
    if (!this.batch) return;
    [...this.pictures.children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === this.example)));
    [...this.places.children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === this.place)));
    const place = this.batch.places[this.place];
    if (!place) {
      this.numbers.textContent = "This network has no dropout layer to look at.";
      return;
    }
    const look = new Moment(place, this.example, this.count);
    if (this.unit < 0) this.unit = look.out.values.findIndex((value) => value !== 0);
    this.colours = cellColours(pageTheme(this.root));
    const wanted = storyPanels(look);
    if (this.panels.dataset.names !== wanted.map(({ title }) => title).join()) this.makePanels(wanted);
    wanted.forEach((panel, i) => this.drawPanel(panel, this.panels.children[i]));
    this.numbers.textContent = unitStory(look, this.unit);
  }

  makePanels(wanted) {
    this.panels.dataset.names = wanted.map(({ title }) => title).join();
    this.panels.replaceChildren(...wanted.map(({ title, of }, i) => {
      const figure = make("figure", "ds-story-panel");
      const canvas = make("canvas");
      canvas.setAttribute("role", "img");
      if (of) {
        canvas.tabIndex = 0;
        canvas.setAttribute("role", "application");
        canvas.onpointerdown = (event) => this.point(event, canvas);
        canvas.onkeydown = (event) => this.press(event, canvas);
      }
      figure.append(make("figcaption", "", `${i + 1}  ${title}`), canvas, make("p", "ds-key"));
      return figure;
    }));
  }

  drawPanel(panel, figure) {
    const [, canvas, note] = figure.children;
    note.textContent = panel.note;
    canvas.setAttribute("aria-label", `${panel.title}: ${panel.note}${panel.of ? ". Arrow keys choose a unit; its numbers stand below." : ""}`);
    const width = figure.clientWidth;
    if (!width) return;
    if (panel.word) {
      paintWord(canvas, width, panel.word, this.colours);
      return;
    }
    if (panel.weights) {
      paintWeightCorner(canvas, width, panel.weights, { colours: this.colours, bitmap: this.bitmap, focus: this.unit });
      return;
    }
    canvas.plan = arrange(panel.shape, width, LARGEST_CELL);
    paintUnits(canvas, canvas.plan, panel.look, { colours: this.colours, top: panel.top, signed: panel.signed, focus: panel.of ? this.unit : -1 });
  }

  point(event, canvas) {
    const box = canvas.getBoundingClientRect();
    const unit = placeAt(canvas.plan, event.clientX - box.left, event.clientY - box.top);
    if (unit >= 0 && unit < canvas.plan.count) this.go({ unit });
  }

  press(event, canvas) {
    const line = canvas.plan.columns;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -line, ArrowDown: line, Home: -Infinity, End: Infinity };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.go({ unit: Math.max(0, Math.min(canvas.plan.count - 1, this.unit + moves[event.key])) });
  }

  drawUpdates() {
    const { updates } = this.batch;
    const shares = updates.map(({ norm, before }) => (norm === null ? null : before > 0 ? norm / before : 0));
    const most = Math.max(1e-12, ...shares);
    this.updates.replaceChildren(make("p", "", "Then the weights moved, by this share of their length:"));
    updates.forEach(({ title }, i) => {
      const line = make("div", "ds-update");
      const track = make("span", "ds-update-track");
      const fill = make("span", "ds-update-fill");
      fill.style.width = `${(100 * shares[i]) / most}%`;
      track.append(fill);
      line.append(make("span", "", title), track, make("span", "", shares[i] === null ? "no number" : `${short(100 * shares[i])} %`));
      this.updates.append(line);
    });
    this.updates.hidden = !updates.length;
  }

  close() {
    this.watcher.disconnect();
    this.root.remove();
  }
}
