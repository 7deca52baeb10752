// What the list of runs says, in words.

const ACTIVE = new Set(["queued", "running", "paused"]);
const RESUMABLE = new Set(["paused", "stopped", "failed", "lost"]);
const WAITING = {
  pause: "pausing after this step …",
  resume: "going on …",
  stop: "stopping after this step …",
  "step-batch": "training one batch …",
  "step-epoch": "training to the end of the epoch …",
  adjust: "changing at the next step …",
};

/** Whether there is anything to wish of a run. */
function changeable({ status }) {
  return ACTIVE.has(status) || RESUMABLE.has(status);
}

/** Whether what was wished has come about: ``wish.step`` and ``wish.marks`` tell how far the run was at the time. */
function granted(wish, state, step, marks) {
  if (wish.verb === "pause") return state.status !== "running" && !state.resuming;
  if (wish.verb === "resume") return state.resuming || !RESUMABLE.has(state.status);
  if (wish.verb === "stop" || !ACTIVE.has(state.status)) return !ACTIVE.has(state.status);
  if (wish.verb === "adjust") return marks > wish.marks;
  return state.status === "paused" && step > wish.step;
}

function headline(runs, states) {
  const known = runs.map((run) => states.get(run.id)).filter(Boolean);
  if (known.length < runs.length) return "Looking for the runs …";
  const number = (status) => known.filter((state) => state.status === status).length;
  const parts = [];
  for (const [status, word] of [["done", "finished"], ["running", "running"], ["paused", "paused"], ["queued", "waiting"], ["stopped", "stopped"], ["failed", "failed"], ["lost", "lost"]])
    if (number(status)) parts.push(`${number(status)} ${word}`);
  const device = known.find((state) => state.device)?.device;
  const where = device ? ` on ${device}` : "";
  const all = known.length === 1 ? "1 run" : `${known.length} runs`;
  return number("done") < known.length ? `${all}: ${parts.join(", ")}${where}` : `${all} finished${where}`;
}

function describe(state) {
  const at = state.epochs ? `epoch ${Math.min(state.epochs, Math.floor(state.epoch ?? 0) + 1)} of ${state.epochs}` : "";
  if (state.status === "queued") return waits(state);
  if (state.status === "running") {
    const speed = state.images_per_s ? `${Math.round(state.images_per_s).toLocaleString("en").replaceAll(",", "\u202f")} images/s` : "";
    const left = state.eta_s === null ? "" : `${duration(state.eta_s)} left`;
    return [state.epoch === null ? "starting" : at, left, speed].filter(Boolean).join(" · ");
  }
  if (state.resuming) return [at, "waits for a free place", ordered(state)].filter(Boolean).join(" · ");
  if (state.status === "paused") return [`paused in ${at}`, ordered(state)].filter(Boolean).join(" · ");
  if (state.status === "done") {
    const score = state.test_accuracy === null ? "done" : `${(100 * state.test_accuracy).toFixed(1)} % on the test set`;
    const spent = state.train_seconds === null ? "" : `${duration(state.train_seconds)} of training`;
    return [score, spent, state.reason].filter(Boolean).join(" · ");
  }
  if (state.status === "stopped") return `stopped in ${at}`;
  return [state.status, state.reason].filter(Boolean).join(": ");
}

function waits(state) {
  if (!state.place) return "waits for a free place";
  const begins = state.starts_in_s === null ? "" : `, in about ${duration(Math.max(1, Math.round(state.starts_in_s)))}`;
  return [(state.place === 1 ? "next in the queue" : `number ${state.place} in the queue`) + begins, ordered(state)].filter(Boolean).join(" · ");
}

/** Changes that wait until the run goes on, and take effect at its next step. */
function ordered({ waiting }) {
  if (!waiting) return "";
  return waiting === 1 ? "changes when it goes on" : `${waiting} changes when it goes on`;
}

function duration(seconds) {
  if (seconds < 10 && !Number.isInteger(seconds)) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** A run as a person tells it from the others. */
function called(run) {
  return [run.name, run.detail].filter(Boolean).join(" · ");
}

/** A mark's changes: "p 0.5 → 0.3, lr 0.001 → 0.0001". */
function changesText(changes) {
  return changes.map(({ name, before, after }) => `${String(name).replaceAll("_", " ")} ${valueText(before)} → ${valueText(after)}`).join(", ");
}

/** What a run has by now of all that was changed: "now p 0.3". */
function nowText(marks) {
  const now = new Map(marks.flatMap(({ changes }) => changes.map(({ name, after }) => [name, after])));
  const parts = [...now].map(([name, value]) => `${String(name).replaceAll("_", " ")} ${valueText(value)}`);
  return parts.length ? `now ${parts.join(", ")}` : "";
}

function valueText(value) {
  if (value === null || value === undefined) return "automatic";
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "number") return String(Number(value.toPrecision(4)));
  if (!Array.isArray(value)) return String(value);
  return [...new Set(value)].length === 1 ? valueText(value[0]) : value.map(valueText).join(", ");
}

/** What training and validation loss of the latest epoch have to do with each other; empty before there is one. */
function lossStory(runs, points) {
  const found = runs.map((run) => [run, lastEpoch(points.get(run.id))]).filter(([, at]) => at);
  if (!found.length) return "";
  const [run, at] = found.reduce((best, each) => (each[1].loss - each[1].validation > best[1].loss - best[1].validation ? each : best));
  const noise = run.technique === "none" ? "" : "with dropout on and ";
  const off = run.technique === "none" ? "after the epoch" : "with dropout off";
  const numbers = `${at.loss.toFixed(3)} while it trained, ${at.quiet.toFixed(3)} on training images ${off}, ${at.validation.toFixed(3)} on validation images`;
  const where = `${called(run)}, epoch ${Math.round(at.epoch)}: loss ${numbers}.`;
  if (at.validation < at.loss && at.quiet <= at.validation)
    return `Validation lies below training only because training is measured ${noise}while the network still learns. ${where}`;
  return where;
}

function lastEpoch(columns) {
  for (let i = (columns?.step.length ?? 0) - 1; i >= 0; i -= 1) {
    const [loss, quiet, validation] = ["loss", "train_eval_loss", "val_loss"].map((name) => columns[name]?.[i] ?? null);
    if (columns.kind[i] === "epoch" && loss !== null && quiet !== null && validation !== null) return { epoch: columns.epoch[i], loss, quiet, validation };
  }
  return undefined;
}
