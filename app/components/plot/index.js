export default function (component) {
  const root = component.parentElement.querySelector(".ds-figure");
  return mountView(root, () => new Figure(root), (view) => view.update(component.data));
}

class Figure {
  constructor(root) {
    this.root = root;
    this.caption = make("figcaption");
    this.title = make("span");
    this.save = make("button", "ds-save", "PNG");
    this.save.type = "button";
    this.save.title = "Save this figure as a picture";
    this.save.onclick = () => this.keepPicture();
    this.caption.append(this.title, this.save);
    this.plot = make("div");
    this.plot.setAttribute("role", "img");
    this.legend = make("div", "ds-legend");
    this.legend.setAttribute("role", "group");
    this.note = make("p", "ds-figure-note");
    this.note.hidden = true;
    root.replaceChildren(this.caption, this.plot, this.note, this.legend);
    // Plotly follows the window, but not a figure that gets another size from what stands around it.
    this.watcher = new ResizeObserver(() => this.fit());
    this.watcher.observe(this.plot);
  }

  update(data) {
    if (this.data === undefined) this.hidden = new Set(data.hidden);
    if (this.data?.figure !== data.figure) this.figure = JSON.parse(data.figure);
    this.data = data;
    this.theme = pageTheme(this.root);
    this.title.textContent = data.title;
    this.save.setAttribute("aria-label", `Save as PNG: ${data.title}`);
    this.plot.setAttribute("aria-label", data.alt);
    this.plot.classList.toggle("ds-square", data.square);
    this.plot.style.height = data.square ? "" : `${innerWidth <= 640 ? Math.min(300, data.height) : data.height}px`;
    this.plot.style.maxHeight = `${data.height}px`;
    this.legend.setAttribute("aria-label", `Shown in: ${data.title}`);
    this.drawLegend();
    this.draw();
  }

  drawLegend() {
    this.legend.replaceChildren(
      ...this.data.legend.map((entry) => {
        const button = make("button");
        button.type = "button";
        const shown = !this.hidden.has(entry.name);
        button.setAttribute("aria-pressed", String(shown));
        button.append(swatchLine(entry, this.theme.dark ? entry.dark : entry.light), make("span", "", entry.name));
        button.onclick = () => this.toggle(entry.name, button);
        return button;
      }),
    );
  }

  toggle(name, button) {
    if (!this.hidden.delete(name)) this.hidden.add(name);
    button.setAttribute("aria-pressed", String(!this.hidden.has(name)));
    this.draw();
  }

  /** The figure is made in the colours for a light page; on a dark one those that have a counterpart change places. */
  recoloured() {
    if (!this.theme.dark) return structuredClone(this.figure);
    const pairs = [...Object.entries(this.data.dark), ...this.data.legend.map((entry) => [entry.light, entry.dark])];
    const dark = new Map(pairs.map(([light, other]) => [light.toLowerCase(), other]));
    return JSON.parse(JSON.stringify(this.figure), (_, value) =>
      typeof value === "string" && value.length < 32 ? (dark.get(value.toLowerCase()) ?? value) : value,
    );
  }

  async draw() {
    try {
      await (this.turn ??= itsTurn(this.root));
      this.Plotly = await loadPlotly(this.data.plotly);
    } catch {
      this.note.textContent = "The chart library did not load from the server; reload the page to try again.";
      this.note.hidden = false;
      return;
    }
    if (this.closed) return;
    this.note.hidden = true;
    const { data, layout } = this.recoloured();
    for (const trace of data) if (this.hidden.has(trace.legendgroup)) trace.visible = false;
    const { template, ...own } = layout;
    this.drawn = true;
    this.drawing = this.Plotly.react(
      this.plot,
      data,
      {
        ...baseLayout(this.theme),
        ...own,
        uirevision: this.data.title,
        xaxis: axis(this.theme, own.xaxis),
        yaxis: axis(this.theme, own.yaxis),
      },
      PLOT_CONFIG,
    );
    await this.drawing;
    this.fit();
  }

  fit() {
    const { width, height } = this.plot._fullLayout ?? {};
    const { clientWidth, clientHeight } = this.plot;
    if (!width || this.closed || !clientWidth || !clientHeight) return;
    if (Math.abs(width - clientWidth) > 1 || Math.abs(height - clientHeight) > 1) this.Plotly.Plots.resize(this.plot);
  }

  async keepPicture() {
    if (!this.drawn || !this.Plotly) return;
    try {
      await savePicture(this.Plotly, this.plot, this.data.title, this.data.legend, this.theme);
    } catch {
      this.note.textContent = "The browser could not make the picture; a smaller figure may work.";
      this.note.hidden = false;
    }
  }

  close() {
    this.closed = true;
    this.watcher.disconnect();
    // Plotly fails at a figure that is taken from it while it draws.
    Promise.resolve(this.drawing).finally(() => this.Plotly?.purge(this.plot));
  }
}
