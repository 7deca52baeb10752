// The records of a run as columns, and what a curve shows of them.

/** The columns with newer records behind those that stay. */
function appended(known, fresh) {
  const kept = known ? keptRows(known, fresh) : [];
  const columns = {};
  for (const [name, values] of Object.entries(fresh)) columns[name] = kept.map((i) => known[name]?.[i] ?? null).concat(values);
  return columns;
}

/** The rows that stay when new ones come: a run that went on from an earlier state replaces what it had done after it. */
function keptRows(known, fresh) {
  const all = known.step.map((_, i) => i);
  if (!fresh.step.length) return all;
  const first = fresh.step[0];
  return all.filter((i) => known.step[i] < first || (known.step[i] === first && known.kind[i] !== fresh.kind[0]));
}

/** A row with the mean over an epoch whose steps have rows of their own: at the epoch's end it would be a spike. */
function wholeEpoch(columns, i) {
  return columns.kind[i] === "epoch" && columns.kind[i - 1] === "step";
}

/** The measured values of one column over x; rows that have none, and those to skip, are left out. */
function series(columns, x, y, percent, skip = () => false) {
  const xs = columns[x] ?? [];
  const ys = columns[y] ?? [];
  const out = { x: [], y: [] };
  for (let i = 0; i < ys.length; i++) {
    if (ys[i] === null || ys[i] === undefined || skip(columns, i)) continue;
    out.x.push(xs[i]);
    out.y.push(percent ? 100 * ys[i] : ys[i]);
  }
  return out;
}

/** The mean over a share of the curve around each point: centred, so that it does not lag behind, narrower at the ends. */
function smooth(values, share) {
  const sums = [0];
  for (const value of values) sums.push(sums[sums.length - 1] + value);
  const widest = Math.floor((values.length * share) / 2);
  return values.map((_, i) => {
    const half = Math.min(i, values.length - 1 - i, widest);
    return (sums[i + half + 1] - sums[i - half]) / (2 * half + 1);
  });
}

/** At most about a thousand points: more cannot be seen, and cost the browser. */
function thin({ x, y }) {
  const stride = Math.ceil(y.length / 1000);
  if (stride <= 1) return { x, y };
  const keep = (_, i) => i % stride === 0 || i === y.length - 1;
  return { x: x.filter(keep), y: y.filter(keep) };
}
