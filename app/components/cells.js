// Shared by the components that draw units as cells: colours, and the marks of what fell.

const VIRIDIS = [
  [68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142], [33, 145, 140],
  [34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37],
];
const COOL = [33, 102, 172];
const WARM = [178, 60, 24];
const COOL_DARK = [110, 175, 250];
const WARM_DARK = [255, 150, 90];

/** Colours of cells on this page: functions of a number, and the tones of what is at rest or fell. */
function cellColours(theme) {
  const name = `${theme.ground} ${theme.text} ${theme.dark}`;
  if (cellColours.of !== name) Object.assign(cellColours, { of: name, made: makeColours(theme) });
  return cellColours.made;
}

function makeColours(theme) {
  const ground = rgb(theme.ground);
  const text = rgb(theme.text);
  const [low, high] = theme.dark ? [COOL_DARK, WARM_DARK] : [COOL, WARM];
  return {
    // The more active, the further from the ground: zero lies at the paper end of a light page, the dark end of a dark one.
    activation: table((t) => along(VIRIDIS, theme.dark ? 0.12 + 0.88 * t : 0.92 * (1 - t))),
    // 0 is low, 0.5 neutral, 1 high.
    diverging: table((t) => mix(mix(ground, text, 0.1), t < 0.5 ? low : high, Math.abs(2 * t - 1))),
    rest: mix(ground, text, 0.07),
    drained: mix(ground, text, 0.26),
    mark: css(mix(ground, text, 0.95)),
    faint: css(mix(ground, text, 0.42)),
    focus: theme.dark ? "#FFFFFF" : "#000000",
    ground,
    text,
  };
}

function rgb(colour) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = colour || "#fff";
  const hex = context.fillStyle;
  return hex.startsWith("#") ? [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)) : hex.match(/\d+/g).slice(0, 3).map(Number);
}

function mix(from, to, share) {
  return from.map((value, i) => Math.round(value + (to[i] - value) * share));
}

function along(stops, t) {
  const at = Math.min(1, Math.max(0, t)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(at));
  return mix(stops[i], stops[i + 1], at - i);
}

function css([r, g, b]) {
  return `rgb(${r},${g},${b})`;
}

/** 256 colours, so that no frame computes one. */
function table(colour) {
  const colours = Array.from({ length: 256 }, (_, i) => colour(i / 255));
  const words = colours.map(css);
  const packed = Uint32Array.from(colours, pixel);
  const place = (t) => (t > 0 ? (t < 1 ? Math.round(255 * t) : 255) : 0);
  return { css: (t) => words[place(t)], pixel: (t) => packed[place(t)] };
}

/** One pixel of an ImageData's buffer. */
function pixel([r, g, b]) {
  return (255 << 24) | (b << 16) | (g << 8) | r;
}

/** A canvas of this many CSS pixels, sharp on every screen; its context counts in CSS pixels. */
function sized(canvas, width, height) {
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** Adds the mark of what fell to a path: two diagonals, or one where there is no room for two. */
function addMark(path, x, y, size) {
  const d = Math.max(0.5, size * 0.12);
  path.moveTo(x + d, y + size - d);
  path.lineTo(x + size - d, y + d);
  if (size < 6) return;
  path.moveTo(x + d, y + d);
  path.lineTo(x + size - d, y + size - d);
}

/** A number with the digits that mean something. */
function short(value) {
  if (value === Infinity) return "∞";
  if (value === -Infinity) return "−∞";
  if (Number.isInteger(value)) return String(value).replaceAll("-", "−");
  const size = Math.abs(value);
  const text = size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : size >= 0.01 ? value.toFixed(2) : value.toExponential(1);
  return text.replaceAll("-", "−");
}

function percent(share) {
  const value = 100 * share;
  return `${value > 0 && value < 1 ? "<1" : value < 100 && value > 99 ? ">99" : Math.round(value)} %`;
}

/** A network's chance for a class: never quite 0 or 1, also where its last digits round so. */
function probability(share) {
  return percent(Math.min(Math.max(share, 1e-9), 1 - 1e-9));
}
