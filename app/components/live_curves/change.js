// The settings of a run that may change while it trains.

class Change {
  /** ``run.fields``: { name, label, kind, value, … }; ``send(changes)`` gets those that differ. */
  constructor(run, marks, send) {
    this.send = send;
    this.root = make("form", "ds-change");
    this.root.noValidate = true;
    this.root.setAttribute("aria-label", `Change ${run.name} ${run.detail}`);
    this.fields = run.fields.map((field) => new Field(field));
    const fields = make("div", "ds-fields");
    fields.append(...this.fields.map((field) => field.root));
    this.apply = make("button", "ds-button ds-primary", "Apply");
    this.apply.type = "submit";
    this.note = make("p", "ds-key");
    this.note.setAttribute("role", "status");
    const foot = make("div", "ds-change-foot");
    foot.append(this.apply, this.note);
    this.root.append(fields, foot);
    this.root.onsubmit = (event) => {
      event.preventDefault();
      this.submit();
    };
    this.root.oninput = () => this.say("");
    this.show(marks, false);
  }

  focus() {
    this.fields[0]?.input.focus();
  }

  show(marks, waiting) {
    this.apply.disabled = waiting;
    for (const field of this.fields) field.follow(marks);
    if (!this.said) this.note.textContent = "Takes effect at the next step; the curves carry a mark there.";
  }

  say(sentence) {
    this.said = sentence;
    this.note.textContent = sentence || "Takes effect at the next step; the curves carry a mark there.";
  }

  submit() {
    const changed = this.fields.filter((field) => field.changed());
    const wrong = changed.map((field) => field.problem()).find(Boolean);
    if (wrong || !changed.length) {
      this.say(wrong || "Nothing differs from what the run has now.");
      return;
    }
    const changes = {};
    for (const field of changed) {
      if (field.knob) (changes.knobs ??= {})[field.name] = field.value();
      else changes[field.name] = field.value();
    }
    this.say("");
    this.send(changes);
  }
}

class Field {
  constructor({ name, knob, label, kind, value, low, high, step, options, help, optional }) {
    Object.assign(this, { name, knob, label, kind, optional, first: value });
    this.root = make("label", "ds-field");
    this.root.title = help ?? "";
    this.input = make(kind === "choice" ? "select" : "input");
    if (kind === "choice") this.input.append(...options.map((word) => Object.assign(make("option", "", word), { value: word })));
    else if (kind === "switch") this.input.type = "checkbox";
    else if (kind === "numbers") this.input.inputMode = "decimal";
    else {
      this.input.type = "number";
      for (const [key, bound] of Object.entries({ min: low, max: high })) if (bound !== null && bound !== undefined) this.input[key] = bound;
      this.input.step = step ?? "any";
      if (optional) this.input.placeholder = "automatic";
    }
    this.root.append(make("span", "", label), this.input);
    this.set(value);
  }

  /** What the run has now, unless a person has begun to write something else. */
  follow(marks) {
    let value = this.first;
    for (const mark of marks) for (const change of mark.changes) if (change.name === this.name) value = change.after;
    if (JSON.stringify(value) === JSON.stringify(this.known)) return;
    if (this.changed()) this.known = value;
    else this.set(value);
  }

  set(value) {
    this.known = value;
    if (this.kind === "switch") this.input.checked = Boolean(value);
    else if (this.kind === "numbers") this.input.value = [value].flat().join(", ");
    else this.input.value = value ?? "";
    this.now = this.value();
  }

  value() {
    if (this.kind === "switch") return this.input.checked;
    if (this.kind === "choice") return this.input.value;
    if (this.kind === "number") return this.input.value === "" ? null : Number(this.input.value);
    const values = this.input.value.split(/[\s,;]+/).filter(Boolean).map(Number);
    return values.length === 1 ? values[0] : values;
  }

  changed() {
    return this.input.validity.badInput || JSON.stringify(this.value()) !== JSON.stringify(this.now);
  }

  /** What the browser cannot read; whether a value is allowed is for the run to say. */
  problem() {
    if (this.kind !== "number" && this.kind !== "numbers") return "";
    const values = [this.value()].flat();
    const missing = !values.length || (values.includes(null) && !this.optional);
    return missing || this.input.validity.badInput || values.some(Number.isNaN) ? `${this.label} is not a number.` : "";
  }
}
