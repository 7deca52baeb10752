const TYPES = { u1: Uint8Array, f4: Float32Array, f2: Uint16Array };
let halves;

/** What Python packed: a header in JSON behind its length, then arrays at places that the header names. */
function unpack(bytes) {
  const whole = bytes.slice().buffer;
  const length = new DataView(whole).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(whole, 4, length)));
  for (const part of header.techniques) {
    for (const [name, { type, shape, offset }] of Object.entries(part.arrays)) {
      const size = shape.reduce((a, b) => a * b, 1);
      const values = new TYPES[type](whole, 4 + length + offset, size);
      part[name] = { values: type === "f2" ? fromHalves(values) : values, shape };
    }
    part.count = part.activation?.values.length;
  }
  return header;
}

function fromHalves(values) {
  halves ??= Float32Array.from({ length: 65536 }, (_, bits) => half(bits));
  return Float32Array.from(values, (bits) => halves[bits]);
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : (2 ** -14 * fraction) / 1024);
}

/** One technique at one draw and one step of p: looked up, never computed. */
class Look {
  constructor(part, draw, step) {
    this.part = part;
    this.draw = draw;
    this.step = step;
    const { activation, falls, factor, output, score, threshold, answers } = part;
    const steps = answers.shape[1];
    const classes = answers.shape[2];
    this.activation = activation.values;
    this.falls = falls && falls.values.subarray(draw * falls.shape[1], (draw + 1) * falls.shape[1]);
    this.score = score && score.values.subarray(draw * part.count, (draw + 1) * part.count);
    this.output = output && row(output, draw * steps + step);
    this.answer = answers.values.subarray((draw * steps + step) * classes, (draw * steps + step + 1) * classes);
    this.each = factor.shape.length === 3 ? row(factor, draw * steps + step) : undefined;
    this.common = factor.shape.length === 3 ? undefined : factor.values[draw * steps + step];
    this.cuts = threshold && part.threshold_of === "units" ? row(threshold, step) : undefined;
    this.cut = threshold && part.threshold_of === "draws" ? threshold.values[draw * steps + step] : undefined;
  }

  fell(i) {
    return this.falls !== undefined && this.falls[i] <= this.step;
  }

  factor(i) {
    return this.each ? this.each[i] : this.common;
  }

  threshold(i) {
    return this.cuts ? this.cuts[i] : this.cut;
  }

  /** What leaves the layer. */
  out(i) {
    if (this.output) return this.output[i];
    return this.part.drops === "units" && this.fell(i) ? 0 : this.activation[i] * this.factor(i);
  }

  /** The weights into a unit and where they fall, if they were sent. */
  weightsOf(unit) {
    const { weight, row_unit, row_falls, row_weight } = this.part;
    if (weight) return { weights: row(weight, unit), falls: this.falls.subarray(unit * weight.shape[1], (unit + 1) * weight.shape[1]) };
    return row_weight && row_unit === unit ? { weights: row_weight.values, falls: row(row_falls, this.draw) } : undefined;
  }

  kept(i) {
    const { kept } = this.part;
    return kept && kept.values[this.step * kept.shape[1] + i];
  }
}

function row({ values, shape }, index) {
  const size = shape[shape.length - 1];
  return values.subarray(index * size, (index + 1) * size);
}
