const KEYS = {
  ArrowRight: ".st-key-lesson-next button",
  PageDown: ".st-key-lesson-next button",
  ArrowLeft: ".st-key-lesson-back button",
  PageUp: ".st-key-lesson-back button",
};
// What has a use of its own for these keys.
const TAKES_KEYS = "input, textarea, select, [contenteditable], [role=slider], [role=application], [role=dialog], [role=listbox]";
const POINTER = '.st-key-lesson-stage a[href^="#"]';

export default function (component) {
  const root = component.parentElement.querySelector(".ds-lesson-said");
  return mountView(root, () => new Guide(root), (view) => view.update(component.data));
}

class Guide {
  constructor(root) {
    this.root = root;
    this.listeners = {
      keydown: (event) => this.key(event),
      pointerover: (event) => this.point(event),
      focusin: (event) => this.point(event),
      click: (event) => this.click(event),
    };
    for (const [name, listener] of Object.entries(this.listeners)) document.addEventListener(name, listener, true);
  }

  update(data) {
    const before = this.data;
    this.data = data;
    noteStep(data.lesson, data.step, data.answered);
    this.speak();
    const same = before?.lesson === data.lesson && before.step === data.step;
    if (before && !same) {
      this.root.textContent = `Step ${data.step}: ${data.title}`;
      document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0);
    }
    // The buttons of the answers are gone: who uses a keyboard goes on behind them.
    if (same && data.told && !before.told) requestAnimationFrame(() => this.toAnswer());
  }

  toAnswer() {
    const answer = document.querySelector(".ds-verdict-line");
    if (!answer) return;
    answer.tabIndex = -1;
    answer.focus({ preventScroll: true });
    const { bottom } = answer.getBoundingClientRect();
    if (bottom > innerHeight || bottom < 0) answer.scrollIntoView({ block: "center" });
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest?.(TAKES_KEYS)) return;
    const selector = KEYS[event.key] ?? (/^[1-9]$/.test(event.key) ? `.st-key-lesson-answer-${event.key} button` : undefined);
    const button = selector && document.querySelector(selector);
    if (!button || button.disabled) return;
    event.preventDefault();
    button.click();
  }

  link(event) {
    return event.target.closest?.(POINTER);
  }

  point(event) {
    const link = this.link(event);
    if (link !== this.pointing) this.speak(link);
  }

  click(event) {
    const link = this.link(event);
    if (!link) return;
    event.preventDefault();
    event.stopPropagation();
    this.speak(link);
    const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
    this.targets(link)[0]?.scrollIntoView({ block: "nearest", behavior });
  }

  targets(link) {
    const selector = this.data.spoken[link.getAttribute("href").slice(1)];
    return selector ? [...document.querySelectorAll(selector)] : [];
  }

  /** Marks what a link in the text speaks of, and nothing else. */
  speak(link) {
    this.pointing = link ?? undefined;
    for (const node of document.querySelectorAll(".ds-spoken")) node.classList.remove("ds-spoken");
    if (link) for (const node of this.targets(link)) node.classList.add("ds-spoken");
  }

  close() {
    for (const [name, listener] of Object.entries(this.listeners)) document.removeEventListener(name, listener, true);
    this.speak();
  }
}
