// Shared by the chart components: this text is put before each component's own script.

const SVG = "http://www.w3.org/2000/svg";

/**
 * One view an element over all calls that Streamlit makes for it: at the mount, at new data, at another theme.
 * Only the latest call's clean-up closes the view: an earlier one may be told to clean up when a later one already draws.
 */
function mountView(root, create, update) {
  root.dropscopeView ??= create();
  const turn = (root.dropscopeTurn ?? 0) + 1;
  root.dropscopeTurn = turn;
  update(root.dropscopeView);
  return () => {
    if (root.dropscopeTurn !== turn) return;
    root.dropscopeView.close();
    root.dropscopeView = undefined;
  };
}

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}


/** Loads plotly.js once a page, whatever the number of charts; a failed load may be tried again. */
function loadPlotly(url) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  window.dropscopePlotly ??= new Promise((resolve, reject) => {
    const tag = document.createElement("script");
    tag.src = url;
    tag.onload = () => resolve(window.Plotly);
    tag.onerror = () => {
      window.dropscopePlotly = undefined;
      tag.remove();
      reject(new Error("plotly.js did not load"));
    };
    document.head.append(tag);
  });
  return window.dropscopePlotly;
}

/** The page's present colours and font, as Streamlit hands them to components. */
function pageTheme(element) {
  const css = getComputedStyle(element);
  const read = (name) => css.getPropertyValue(`--st-${name}`).trim();
  const ground = read("background-color");
  return {
    dark: luminance(ground) < 0.4,
    ground,
    text: read("text-color"),
    line: read("border-color"),
    panel: read("secondary-background-color"),
    font: read("font"),
  };
}

function luminance(colour) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = colour || "#fff";
  const hex = context.fillStyle;
  if (!hex.startsWith("#")) return 1;
  const part = (i) => parseInt(hex.slice(i, i + 2), 16) / 255;
  return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5);
}

/** What every chart has in common, in the page's colours. */
function baseLayout(theme) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: theme.font, size: 13, color: theme.text },
    margin: { l: 56, r: 12, t: 8, b: 48 },
    hovermode: "closest",
    hoverlabel: {
      bgcolor: theme.panel,
      bordercolor: theme.line,
      font: { family: theme.font, size: 13, color: theme.text },
      align: "left",
    },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    showlegend: false,
  };
}

function axis(theme, more) {
  return {
    gridcolor: theme.line,
    linecolor: theme.line,
    zeroline: false,
    ticks: "",
    automargin: true,
    title: { standoff: 10 },
    ...more,
  };
}

const PLOT_CONFIG = { displaylogo: false, displayModeBar: false, responsive: true, doubleClick: "reset+autosize" };

/** The dash by which a technique is drawn, as a small picture. */
function swatchLine(style, colour) {
  const dashes = { solid: "", dot: "2 3", dash: "6 4", longdash: "9 4", dashdot: "6 3 2 3", longdashdot: "9 3 2 3" };
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 32 12");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", "M1 6H31");
  line.setAttribute("stroke", colour);
  line.setAttribute("stroke-width", "2.5");
  line.setAttribute("stroke-dasharray", dashes[style.dash] ?? "");
  svg.append(line);
  return svg;
}

