// One run in the list: what it is, how far it is, and what may be done with it.

const STEPS = [["step-batch", "1 batch", "Train one batch, then pause"], ["step-epoch", "1 epoch", "Train to the end of the epoch, then pause"]];

class Row {
  /** ``wish(verb, changes)`` tells the page; ``look()`` opens the last batch that was trained alone. */
  constructor(run, wish, look) {
    this.run = run;
    this.item = make("li", "ds-run");
    const name = make("div", "ds-name");
    this.swatch = make("span", "ds-swatch");
    this.detail = make("span", "ds-detail", run.detail);
    name.append(this.swatch, make("strong", "", run.name), this.detail);
    const state = make("div", "ds-state");
    this.words = make("span", "ds-words", "…");
    this.fill = make("div", "ds-fill");
    const bar = make("div", "ds-bar");
    bar.append(this.fill);
    state.append(this.words, bar);
    this.buttons = make("div", "ds-buttons");
    this.toggle = this.button("Pause", () => wish(this.toggle.dataset.verb));
    this.steps = STEPS.map(([verb, label, title]) => this.button(label, () => this.waiting || wish(verb), title));
    this.change = this.button("Change", () => this.opened(!this.panel));
    this.look = this.button("Last batch", look, "What the last batch that was trained alone did");
    this.look.classList.add("ds-look");
    this.stop = this.button("Stop", () => wish("stop"));
    this.trouble = make("p", "ds-refusal");
    this.trouble.setAttribute("role", "alert");
    this.trouble.hidden = true;
    this.item.append(name, state, this.buttons, this.trouble);
    this.wish = wish;
    this.change.hidden = !run.fields?.length;
    for (const button of [this.change, this.look]) button.setAttribute("aria-expanded", "false");
    this.label(this.change, "Change");
    this.label(this.stop, "Stop");
    this.label(this.look, "Last batch");
    STEPS.forEach(([, label], i) => this.label(this.steps[i], label));
  }

  button(text, onclick, title) {
    const button = make("button", "ds-button", text);
    button.type = "button";
    button.onclick = onclick;
    if (title) button.title = title;
    this.buttons.append(button);
    return button;
  }

  label(button, text) {
    button.setAttribute("aria-label", `${text} ${this.run.name} ${this.run.detail}`);
  }

  recolour(colour) {
    this.fill.style.background = colour;
    this.swatch.replaceChildren(swatchLine(this.run.style, colour));
  }

  /** ``wish``: what was asked for and has not come about, ``able``: whether this person may ask for anything. */
  show(state, wish, able) {
    this.state = state;
    this.waiting = Boolean(wish);
    const words = wish ? WAITING[wish.verb] : describe(state);
    if (this.words.textContent !== words) this.words.textContent = words;
    const detail = [this.run.detail, nowText(state.marks ?? [])].filter(Boolean).join(" · ");
    if (this.detail.textContent !== detail) this.detail.textContent = detail;
    this.item.dataset.status = state.status;
    this.item.dataset.waiting = wish?.verb ?? "";
    this.fill.style.width = `${Math.min(100, (100 * (state.epoch ?? 0)) / (state.epochs || 1))}%`;
    const live = ACTIVE.has(state.status);
    const open = able && changeable(state);
    this.buttons.hidden = !open && !state.batch;
    this.stop.hidden = !able || !live;
    this.stop.disabled = wish?.verb === "stop";
    this.toggle.hidden = !open || state.status === "queued";
    for (const step of this.steps) {
      step.hidden = !open;
      // Not disabled: that would take the keyboard's focus from somebody who takes step after step.
      step.setAttribute("aria-disabled", String(Boolean(wish)));
    }
    this.look.hidden = !state.batch;
    this.change.hidden = this.stop.hidden || !this.run.fields?.length;
    if (this.change.hidden) this.opened(false);
    const verb = RESUMABLE.has(state.status) && !state.resuming ? "resume" : "pause";
    this.toggle.dataset.verb = verb;
    const label = verb === "pause" ? "Pause" : "Resume";
    if (this.toggle.textContent !== label) this.toggle.textContent = label;
    this.label(this.toggle, label);
    this.panel?.show(state.marks ?? [], wish?.verb === "adjust");
  }

  /** Why the last wish was refused, "" for nothing. */
  refuse(sentence) {
    this.trouble.textContent = sentence;
    this.trouble.hidden = !sentence;
  }

  /** Shows the story of a batch below, or takes it away. */
  tell(story) {
    if (story) {
      this.item.append(story);
      story.scrollIntoView({ block: "nearest" });
    }
    this.look.setAttribute("aria-expanded", String(Boolean(story)));
  }

  opened(open) {
    if (open === Boolean(this.panel)) return;
    this.panel?.root.remove();
    this.panel = open ? new Change(this.run, this.state?.marks ?? [], (changes) => this.wish("adjust", changes)) : undefined;
    this.change.setAttribute("aria-expanded", String(open));
    if (!open) return;
    this.panel.root.onkeydown = (event) => {
      if (event.key !== "Escape") return;
      this.opened(false);
      this.change.focus();
    };
    this.item.insertBefore(this.panel.root, this.trouble);
    this.panel.focus();
  }
}
