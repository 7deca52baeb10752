/** Saves a drawn figure as a PNG: what is shown now, with its title and legend inside, on the ground of the page. */
async function savePicture(Plotly, plot, title, legend, theme) {
  const width = Math.max(plot.clientWidth, 640);
  const image = await Plotly.toImage(pictureOf(plot, title, legend, theme), {
    format: "png",
    width,
    height: Math.max(plot.clientHeight, 300) + 64 + (legend.length > 1 ? 24 * Math.ceil(legend.length / 4) : 0),
    scale: 2,
  });
  const link = make("a");
  link.href = image;
  link.download = `${title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "") || "figure"}.png`;
  link.click();
}

function pictureOf(plot, title, legend, theme) {
  const named = new Set();
  const data = plot.data.map((trace) => {
    const group = trace.legendgroup;
    const first = group && trace.visible !== false && trace.fill === undefined && !named.has(group);
    if (first) named.add(group);
    return { ...trace, name: group ? plotlyText(group) : "", showlegend: Boolean(first) };
  });
  const { margin, ...layout } = plot.layout;
  return {
    data,
    layout: {
      ...layout,
      paper_bgcolor: theme.ground,
      title: { text: plotlyText(title), font: { size: 15 }, x: 0.02, xanchor: "left", y: 0.98, yanchor: "top" },
      showlegend: legend.length > 1,
      legend: { orientation: "h", x: 0, y: -0.18, yanchor: "top", font: { size: 12 } },
      margin: { ...margin, t: 52, r: Math.max(margin?.r ?? 0, 16) },
      autosize: false,
    },
  };
}

/** Plotly reads a little markup: names are shown as they are. */
function plotlyText(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
