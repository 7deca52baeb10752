const BUTTON = "[data-testid=stMainMenuButton]";

export default function (component) {
  const root = component.parentElement.querySelector(".ds-theme-menu");
  return mountView(root, () => new ThemeMenu(), (view) => view.update(component.data));
}

class ThemeMenu {
  constructor() {
    // Streamlit makes the button when it likes, and anew with another page.
    this.watcher = new MutationObserver(() => this.name());
    this.watcher.observe(document.querySelector("[data-testid=stHeader]") ?? document.body, { childList: true, subtree: true });
  }

  update({ name }) {
    this.text = name;
    this.name();
  }

  name() {
    const button = document.querySelector(BUTTON);
    if (!button || button.title === this.text) return;
    button.title = this.text;
    button.setAttribute("aria-label", this.text);
  }

  close() {
    this.watcher.disconnect();
  }
}
