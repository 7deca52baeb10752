/** Where the cells of a layer lie on a canvas of this width: one grid, or one a feature map. */
function arrange(units, width, most) {
  if (units.length === 1) {
    const columns = columnsFor(units[0]);
    const size = Math.min(most, Math.floor(width / columns)) || 1;
    return { kind: "grid", count: units[0], columns, size, width: columns * size, height: Math.ceil(units[0] / columns) * size };
  }
  const [maps, rows, columns] = units.length === 3 ? units : [1, units[0], units.slice(1).reduce((a, b) => a * b, 1)];
  const square = Math.ceil(Math.sqrt((maps * rows) / columns));
  const size = Math.max(1, Math.floor(width / (square * (columns + 1))));
  const across = Math.min(maps, Math.max(1, Math.floor(width / (size * (columns + 1)))));
  const down = Math.ceil(maps / across);
  return {
    kind: "maps", count: maps * rows * columns, maps, rows, columns, across, size,
    width: across * (columns + 1) * size, height: down * (rows + 1) * size,
  };
}

/** A divisor of n that makes a grid a little wider than high, where there is one. */
function columnsFor(n) {
  const side = Math.ceil(Math.sqrt(n));
  for (let columns = side; columns <= 2 * side; columns += 1) if (n % columns === 0) return columns;
  return Math.ceil(side * 1.2);
}

function cellAt(plan, place) {
  if (plan.kind === "grid") return [(place % plan.columns) * plan.size, Math.floor(place / plan.columns) * plan.size];
  const area = plan.rows * plan.columns;
  const map = Math.floor(place / area);
  const inside = place % area;
  return [
    ((map % plan.across) * (plan.columns + 1) + (inside % plan.columns)) * plan.size,
    (Math.floor(map / plan.across) * (plan.rows + 1) + Math.floor(inside / plan.columns)) * plan.size,
  ];
}

function placeAt(plan, x, y) {
  const column = Math.floor(x / plan.size);
  const line = Math.floor(y / plan.size);
  if (plan.kind === "grid") return column < plan.columns ? line * plan.columns + column : -1;
  const [across, down] = [Math.floor(column / (plan.columns + 1)), Math.floor(line / (plan.rows + 1))];
  const [inX, inY] = [column % (plan.columns + 1), line % (plan.rows + 1)];
  if (across >= plan.across || inX === plan.columns || inY === plan.rows) return -1;
  return ((down * plan.across + across) * plan.rows + inY) * plan.columns + inX;
}

/** The cells of one technique. ``order`` maps places to units; ``focus`` is a unit. */
function paintUnits(canvas, plan, look, { order, colours, top, focus, signed }) {
  const context = sized(canvas, plan.width, plan.height);
  // Behind a BatchNorm units lie below 0 too: colours then diverge around it.
  const shade = signed ? (value) => colours.diverging.css(0.5 + value / (2 * top)) : (value) => colours.activation.css(value / top);
  const gap = plan.size >= 5 ? 1 : 0;
  const inner = plan.size - gap;
  const strong = new Path2D();
  const faint = new Path2D();
  const keeps = look.cuts && look.part.keeps && plan.size >= 7;
  for (let place = 0; place < plan.count; place += 1) {
    const unit = order ? order[place] : place;
    const [x, y] = cellAt(plan, place);
    const active = look.activation[unit] !== 0;
    const fell = look.fell(unit);
    if (!look.falls) paintFactor(context, x, y, inner, look.factor(unit), active, colours);
    else if (keeps) paintShare(context, x, y, inner, look.cuts[unit], fell, look.activation[unit] / top, colours);
    else {
      context.fillStyle = fell && active ? css(colours.drained) : active ? shade(look.activation[unit]) : css(colours.rest);
      context.fillRect(x, y, inner, inner);
    }
    if (fell && plan.size >= 3) addMark(active ? strong : faint, x, y, inner);
  }
  stroke(context, faint, colours.faint, plan.size);
  stroke(context, strong, colours.mark, plan.size);
  if (focus >= 0 && focus < plan.count) ring(context, ...cellAt(plan, order ? order.indexOf(focus) : focus), inner, colours);
}

function stroke(context, path, colour, size) {
  context.strokeStyle = colour;
  context.lineWidth = size >= 9 ? 1.4 : 1;
  context.stroke(path);
}

function ring(context, x, y, size, colours) {
  context.strokeStyle = css(colours.ground);
  context.lineWidth = 4;
  context.strokeRect(x - 0.5, y - 0.5, size + 1, size + 1);
  context.strokeStyle = colours.focus;
  context.lineWidth = 2;
  context.strokeRect(x - 0.5, y - 0.5, size + 1, size + 1);
}

/** A factor diverges around 1; a unit at rest is drawn small, since a factor does not move it. */
function paintFactor(context, x, y, size, factor, active, colours) {
  context.fillStyle = css(colours.rest);
  context.fillRect(x, y, size, size);
  const inset = active || size < 4 ? 0 : size * 0.32;
  context.fillStyle = colours.diverging.css(0.5 + (factor - 1) / 3);
  context.fillRect(x + inset, y + inset, size - 2 * inset, size - 2 * inset);
}

/** A keep probability fills that share of the cell. */
function paintShare(context, x, y, size, share, fell, level, colours) {
  context.fillStyle = css(colours.rest);
  context.fillRect(x, y, size, size);
  const filled = size * share;
  context.fillStyle = fell ? css(colours.drained) : level > 0 ? colours.activation.css(level) : css(mix(colours.ground, colours.text, 0.16));
  context.fillRect(x, y + size - filled, size, filled);
}

/** The weight matrix, a row a unit: weights that fell are drained. Small ones share a pixel, which makes a density. */
function paintWeights(canvas, width, height, look, { colours, top, focus, bitmap }) {
  const context = sized(canvas, width, height);
  const [out, inputs] = look.part.weight.shape;
  const pixels = weightPixels(look, out, inputs, colours, top, bitmap);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "medium";
  context.drawImage(pixels, 0, 0, width, height);
  if (focus < 0 || focus >= out) return;
  const line = height / out;
  context.strokeStyle = css(colours.ground);
  context.lineWidth = 4;
  context.strokeRect(1, focus * line - 1.5, width - 2, line + 3);
  context.strokeStyle = colours.focus;
  context.lineWidth = 1.5;
  context.strokeRect(1, focus * line - 1.5, width - 2, line + 3);
}

function weightPixels(look, out, inputs, colours, top, bitmap) {
  if (bitmap.width !== inputs || bitmap.height !== out) Object.assign(bitmap, { width: inputs, height: out });
  const context = bitmap.getContext("2d");
  const image = context.createImageData(inputs, out);
  const words = new Uint32Array(image.data.buffer);
  const drained = pixel(colours.drained);
  const kept = weightColours(look.part, colours, top);
  const { falls, step } = look;
  for (let i = 0; i < words.length; i += 1) words[i] = falls[i] <= step ? drained : kept[i];
  context.putImageData(image, 0, 0);
  return bitmap;
}

/** The colours of weights that stay: once a page's colours, not once a frame. */
function weightColours(part, colours, top) {
  if (part.colouredFor !== colours) {
    part.colouredFor = colours;
    part.colours = Uint32Array.from(part.weight.values, (weight) => colours.diverging.pixel(0.5 + weight / (2 * top)));
  }
  return part.colours;
}

/** The share of weights that fell, block by block, where there are too many to send. */
function paintDensity(canvas, width, height, look, { colours, bitmap }) {
  const context = sized(canvas, width, height);
  const [, steps, rows, columns] = look.part.density.shape;
  Object.assign(bitmap, { width: columns, height: rows });
  const inner = bitmap.getContext("2d");
  const image = inner.createImageData(columns, rows);
  const words = new Uint32Array(image.data.buffer);
  const start = (look.draw * steps + look.step) * rows * columns;
  for (let i = 0; i < words.length; i += 1) words[i] = colours.activation.pixel(1 - look.part.density.values[start + i] / 255);
  inner.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0, width, height);
}

/** Two masks at once: what falls under both, under one alone, under none. */
function paintDifference(canvas, plan, first, second, { order, colours, pair, focus }) {
  const context = sized(canvas, plan.width, plan.height);
  const inner = plan.size - (plan.size >= 5 ? 1 : 0);
  for (let place = 0; place < plan.count; place += 1) {
    const unit = order ? order[place] : place;
    const [x, y] = cellAt(plan, place);
    const [a, b] = [first.fell(unit), second.fell(unit)];
    context.fillStyle = css(colours.rest);
    context.fillRect(x, y, inner, inner);
    if (a) corner(context, x, y, inner, pair[0], true);
    if (b) corner(context, x, y, inner, pair[1], false);
  }
  if (focus >= 0 && focus < plan.count) ring(context, ...cellAt(plan, order ? order.indexOf(focus) : focus), inner, colours);
}

/** Half a cell, cut along its diagonal: the upper left or the lower right. */
function corner(context, x, y, size, colour, upper) {
  context.fillStyle = colour;
  context.beginPath();
  context.moveTo(x + size, y);
  context.lineTo(x, y + size);
  context.lineTo(upper ? x : x + size, upper ? y : y + size);
  context.fill();
}
