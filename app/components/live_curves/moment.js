// One example at one dropout layer in one step: its tensors, the panels that show them, and one unit's numbers.

class Moment {
  constructor(place, example, count) {
    this.place = place;
    this.x = exampleOf(place.activation, example, count);
    this.out = exampleOf(place.out, example, count);
    for (const name of ["mask", "scale", "grad_out", "grad_x"]) this[name] = exampleOf(place[name], example, count);
    this.weights = place.weight && { weight: place.weight, mask: cornerOf(place.weight_mask, example) };
  }

  fell(i) {
    return this.mask !== undefined && this.mask.values[i] === 0;
  }

  scaleAt(i) {
    return this.scale ? this.scale.values[i] : 1;
  }
}

function exampleOf(array, example, count) {
  if (!array) return undefined;
  const size = array.values.length / count;
  return { values: array.values.subarray(example * size, (example + 1) * size), shape: array.shape.slice(1) };
}

/** A mask of weights is one for all examples, or one each. */
function cornerOf(mask, example) {
  const size = mask.shape[1] * mask.shape[2];
  const which = mask.shape[0] > 1 ? example : 0;
  return mask.values.subarray(which * size, (which + 1) * size);
}

/** The panels in the order of the step: { title, note, and what is painted }; ``of``: its cells are the units of ``out``. */
function storyPanels(look) {
  const { x, out, mask, scale, weights } = look;
  const top = Math.max(1e-9, size(x), size(out));
  const signed = [x, out].some(({ values }) => values.some((value) => value < 0));
  const cells = (array, fell, more) => ({
    shape: array.shape, top, signed, of: array.values.length === out.values.length && !weights, ...more,
    look: { part: {}, activation: array.values, falls: true, fell: fell ? (i) => look.fell(i) : () => false },
  });
  const panels = [{ title: weights ? "In: what the weights see" : "In: x", note: `${active(x)} of ${x.values.length} active${partText(look)}`, ...cells(x, false) }];
  if (mask) panels.push({ title: "Mask: who falls", note: fallenText(look), ...cells(x, true) });
  if (weights) panels.push({ title: "Mask on the weights", note: `${percent(meanFallen(weights.mask))} fall; a row a unit, the upper left corner`, weights });
  if (scale) panels.push(scalePanel(look, cells(x, false)));
  panels.push({ title: weights ? "Out" : mask ? "Out: mask · scale · x" : "Out: factor · x", note: `${active(out)} of ${out.values.length} active`, ...cells(out, false), of: true });
  // One scale for both, so that what the mask does to a gradient is seen; behind weights they are of different things.
  const steepest = (array) => Math.max(1e-12, ...(weights ? [array] : [look.grad_out, look.grad_x].filter(Boolean)).map(size));
  const back = (array, fell) => ({ ...cells(array, fell), top: steepest(array), signed: true });
  if (look.grad_out) panels.push({ title: "Back: gradient of out", note: `up to ${short(size(look.grad_out))}`, ...back(look.grad_out, false), of: true });
  if (look.grad_x) panels.push({ title: "Back: gradient of x", note: mask ? "none passes where a unit fell" : `up to ${short(size(look.grad_x))}`, ...back(look.grad_x, Boolean(mask)) });
  return panels;
}

function scalePanel(look, cells) {
  const kept = look.scale.values.filter((_, i) => !look.fell(i));
  const [low, high] = [kept.reduce((a, b) => Math.min(a, b), Infinity), kept.reduce((a, b) => Math.max(a, b), -Infinity)];
  const title = look.mask ? "Scale: who stays grows by" : "Factor of each unit";
  if (!kept.length || high - low < 1e-5) return { title, note: low === 1 ? "nothing: who stays is left as it is" : "the same for all that stay", word: `× ${kept.length ? short(low) : "–"}` };
  const factors = { part: {}, activation: look.x.values, falls: undefined, fell: (i) => look.fell(i), factor: (i) => look.scale.values[i] };
  return { title, note: `from ${short(low)} to ${short(high)}`, ...cells, look: factors };
}

/** The numbers of one unit through the step. */
function unitStory(look, unit) {
  if (unit < 0 || unit >= look.out.values.length) return "";
  const name = `Unit ${unit + 1}`;
  const y = look.out.values[unit];
  const [g, back] = [look.grad_out, look.grad_x].map((array) => array?.values[unit]);
  if (look.weights) return `${name}: ${exact(y)} leaves the layer under this mask${g === undefined ? "" : `; its gradient is ${exact(g)}`}.`;
  const x = look.x.values[unit];
  const factor = look.scaleAt(unit);
  const stays = look.mask ? `${name} stays` : name;
  const forward = look.fell(unit) ? `${name} falls: ${exact(x)} · 0 = ${exact(y)}.` : `${stays}: ${exact(x)} · ${exact(factor)} = ${exact(y)}.`;
  if (g === undefined || back === undefined) return forward;
  return `${forward} Backward: ${exact(g)} · ${look.fell(unit) ? "0" : exact(factor)} = ${exact(back)}.`;
}

/** Three digits that mean something, so that a reader can check a product. */
function exact(value) {
  const size = Math.abs(value);
  if (size === 0 || size >= 1e-3) return String(Number(value.toPrecision(3))).replace("-", "−");
  return value.toExponential(2).replaceAll("-", "−");
}

/** Of a layer with many units the first are kept. */
function partText({ place, out }) {
  const all = place.units.reduce((a, b) => a * b, 1);
  return out.values.length < all ? ` (the first ${out.values.length} of ${all} units are shown)` : "";
}

function fallenText(look) {
  let [fallen, wasActive] = [0, 0];
  for (let i = 0; i < look.mask.values.length; i += 1) {
    if (!look.fell(i)) continue;
    fallen += 1;
    if (look.x.values[i] > 0) wasActive += 1;
  }
  return `${fallen} of ${look.mask.values.length} fall, ${wasActive} of them active`;
}

function active({ values }) {
  return values.reduce((sum, value) => sum + (value > 0), 0);
}

function size({ values }) {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

function meanFallen(mask) {
  return 1 - mask.reduce((sum, value) => sum + value, 0) / mask.length;
}

/** A picture of uint8 (C, H, W), its pixels kept sharp. */
function paintImage(values, [channels, height, width]) {
  const canvas = make("canvas");
  Object.assign(canvas, { width, height });
  const area = width * height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < area; i += 1) {
    const shades = channels === 3 ? [0, 1, 2].map((c) => values[c * area + i]) : [values[i], values[i], values[i]];
    image.data.set([...shades, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

function paintWord(canvas, width, word, colours) {
  const context = sized(canvas, width, 64);
  context.fillStyle = colours.mark;
  context.font = "600 28px sans-serif";
  context.textBaseline = "middle";
  context.fillText(word, 0, 32);
}

/** Weights that stayed in their colours, those that fell drained; ``focus`` is a row. */
function paintWeightCorner(canvas, width, { weight, mask }, { colours, bitmap, focus }) {
  const [rows, columns] = weight.shape;
  const height = Math.max(64, Math.min(width, (width * rows) / columns));
  const context = sized(canvas, width, height);
  Object.assign(bitmap, { width: columns, height: rows });
  const inner = bitmap.getContext("2d");
  const image = inner.createImageData(columns, rows);
  const words = new Uint32Array(image.data.buffer);
  const top = Math.max(1e-9, size(weight)) / 2;
  const drained = pixel(colours.drained);
  for (let i = 0; i < words.length; i += 1) words[i] = mask[i] ? colours.diverging.pixel(0.5 + weight.values[i] / (2 * top)) : drained;
  inner.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0, width, height);
  const line = height / rows;
  if (focus < 0 || focus >= rows) return;
  context.strokeStyle = css(colours.ground);
  context.lineWidth = 4;
  context.strokeRect(1, focus * line - 1, width - 2, line + 2);
  context.strokeStyle = colours.focus;
  context.lineWidth = 1.5;
  context.strokeRect(1, focus * line - 1, width - 2, line + 2);
}
