// A wrong code is answered late on purpose.
const WAIT_MS = 30000;

export default function (component) {
  const root = component.parentElement.querySelector(".ds-access");
  return mountView(root, () => new Access(root), (view) => view.update(component.data));
}

class Access {
  constructor(root) {
    this.root = root;
    this.said = make("p", "ds-access-said");
    this.said.setAttribute("role", "status");
  }

  update({ url, held }) {
    if (this.held === held) return;
    this.url = url;
    this.held = held;
    this.button = make("button", "", held ? "Forget the code in this browser" : "Enter");
    this.button.type = "submit";
    this.field = held ? null : this.codeField();
    this.root.replaceChildren(...(held ? [] : [this.label(), this.field]), this.button, this.said);
    this.root.onsubmit = (event) => {
      event.preventDefault();
      this.send();
    };
  }

  label() {
    const label = make("label", "", "Access code");
    label.htmlFor = "ds-access-code";
    return label;
  }

  codeField() {
    const field = make("input");
    field.id = "ds-access-code";
    field.autocomplete = "off";
    field.autocapitalize = "characters";
    field.spellcheck = false;
    field.maxLength = 40;
    field.placeholder = "XXXX-XXXX-XXXX";
    return field;
  }

  async send() {
    this.button.disabled = true;
    this.said.textContent = this.held ? "" : "Checking…";
    const wrong = await this.ask();
    if (wrong === null) {
      // The page's socket was opened without the cookie, or with it: only a new one knows.
      location.reload();
      return;
    }
    this.said.textContent = wrong;
    this.button.disabled = false;
    this.field?.select();
  }

  // null, or what is wrong as a sentence.
  async ask() {
    const headers = { "Content-Type": "application/json" };
    const request = this.held
      ? { method: "DELETE" }
      : { method: "POST", headers, body: JSON.stringify({ code: this.field.value }) };
    try {
      const reply = await fetch(this.url, { ...request, signal: AbortSignal.timeout(WAIT_MS) });
      return reply.ok ? null : (await reply.json()).error;
    } catch {
      return "The server did not answer: try again.";
    }
  }

  close() {}
}
