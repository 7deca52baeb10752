// What the list of runs says, in words.

const WAITING = { pause: "pausing after this step …", resume: "going on …", stop: "stopping after this step …" };

function granted(verb, status) {
  if (verb === "pause") return status !== "running";
  if (verb === "resume") return !RESUMABLE.has(status);
  return !ACTIVE.has(status);
}

function headline(runs, states) {
  const known = runs.map((run) => states.get(run.id)).filter(Boolean);
  if (known.length < runs.length) return "Looking for the runs …";
  const number = (status) => known.filter((state) => state.status === status).length;
  const parts = [];
  for (const [status, word] of [["running", "running"], ["paused", "paused"], ["queued", "waiting"], ["stopped", "stopped"], ["failed", "failed"], ["lost", "lost"]])
    if (number(status)) parts.push(`${number(status)} ${word}`);
  const device = known.find((state) => state.device)?.device;
  const where = device ? ` on ${device}` : "";
  const all = known.length === 1 ? "1 run" : `${known.length} runs`;
  return parts.length ? `${all}: ${parts.join(", ")}${where}` : `${all} finished${where}`;
}

function describe(state) {
  const at = state.epochs ? `epoch ${Math.min(state.epochs, Math.floor(state.epoch ?? 0) + 1)} of ${state.epochs}` : "";
  if (state.status === "queued") return waits(state);
  if (state.status === "running") {
    const speed = state.images_per_s ? `${Math.round(state.images_per_s).toLocaleString("en").replaceAll(",", "\u202f")} images/s` : "";
    const left = state.eta_s === null ? "" : `${duration(state.eta_s)} left`;
    return [state.epoch === null ? "starting" : at, left, speed].filter(Boolean).join(" · ");
  }
  if (state.status === "paused") return `paused in ${at}`;
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
  const begins = state.starts_in_s === null ? "" : state.starts_in_s < 1 ? "begins at once" : `begins in about ${duration(state.starts_in_s)}`;
  return [state.place === 1 ? "next in the queue" : `number ${state.place} in the queue`, begins].filter(Boolean).join(" · ");
}

function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
