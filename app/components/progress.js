// What a person has done of the lessons, in their browser alone.

const PROGRESS = "dropscope-lessons";

/** Lesson → the steps whose question was answered, and the step that was open last. */
function progressOfLessons() {
  try {
    const kept = JSON.parse(localStorage.getItem(PROGRESS));
    return kept && typeof kept === "object" ? kept : {};
  } catch {
    return {}; // no storage, or something else in it
  }
}

function noteStep(lesson, step, answered) {
  const all = progressOfLessons();
  const before = all[lesson] ?? {};
  const answers = new Set(Array.isArray(before.answered) ? before.answered : []);
  if (answered) answers.add(step);
  all[lesson] = { step, answered: [...answers] };
  try {
    localStorage.setItem(PROGRESS, JSON.stringify(all));
  } catch {
    // A browser that keeps nothing: the address still does.
  }
}
