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


// Milliseconds after which a chart out of sight is drawn when nothing else is to be done.
const OUT_OF_SIGHT = 2000;

/**
 * Comes once ``element`` is in sight, or the page has had its time: plotly.js keeps a page from answering for half a
 * second, and what stands first on it is to be there before.
 */
function itsTurn(element) {
  return new Promise((resolve) => {
    const watcher = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && come());
    const idle = window.requestIdleCallback ?? setTimeout;
    const timer = setTimeout(() => idle(come), OUT_OF_SIGHT);
    const come = () => {
      watcher.disconnect();
      clearTimeout(timer);
      resolve();
    };
    watcher.observe(element);
  });
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
    margin: { l: 44, r: 12, t: 12, b: 44 },
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
    ...more,
    title: { ...more?.title, standoff: 8, font: { family: theme.font, size: 13, color: theme.text } },
  };
}

const PLOT_CONFIG = { displaylogo: false, displayModeBar: false, responsive: true, doubleClick: "reset+autosize" };

const DASHES = { dot: "2 3", dash: "6 4", longdash: "9 4", dashdot: "6 3 2 3", longdashdot: "9 3 2 3" };
const MARKERS = {
  circle: "M12 8a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
  square: "M12.3 4.3h7.4v7.4h-7.4z",
  diamond: "M16 3l5 5l-5 5l-5-5z",
  cross: "M14.5 3.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
  x: "M13.4 3.3L16 5.9L18.6 3.3L20.7 5.4L18.1 8L20.7 10.6L18.6 12.7L16 10.1L13.4 12.7L11.3 10.6L13.9 8L11.3 5.4z",
  "triangle-up": "M16 3l5 9h-10z",
  "triangle-down": "M16 13l5-9h-10z",
  star: "M16 2.5l1.5 3.8l4 .3l-3.1 2.6l1 3.9l-3.4-2.2l-3.4 2.2l1-3.9l-3.1-2.6l4-.3z",
};

/** Line, dash and marker by which a technique is drawn, as a small picture; a marker without a shape here is a circle. */
function swatchLine(style, colour) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 32 16");
  svg.setAttribute("aria-hidden", "true");
  const part = (d, attributes) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    for (const [name, value] of Object.entries(attributes)) path.setAttribute(name, value);
    svg.append(path);
  };
  part("M1 8H31", { stroke: colour, "stroke-width": "2", "stroke-dasharray": DASHES[style.dash] ?? "" });
  const open = style.marker.endsWith("-open");
  const shape = MARKERS[style.marker.replace("-open", "")] ?? MARKERS.circle;
  part(shape, { stroke: colour, "stroke-width": open ? "2" : "0", fill: open ? "var(--st-background-color)" : colour });
  return svg;
}

