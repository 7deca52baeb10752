export default function (component) {
  const root = component.parentElement.querySelector(".ds-lessons");
  const kept = progressOfLessons();
  root.replaceChildren(...component.data.lessons.map((lesson) => card(lesson, kept[lesson.key], component.setTriggerValue)));
}

function card(lesson, done, tell) {
  const item = make("li");
  const link = make("a", "ds-lesson-card");
  link.href = `?lesson=${lesson.key}`;
  link.onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    tell("open", lesson.key);
  };
  const count = Math.min(done?.answered?.length ?? 0, lesson.steps);
  const bar = make("span", "ds-lesson-bar");
  const filled = make("span");
  filled.style.width = `${(100 * count) / lesson.steps}%`;
  bar.append(filled);
  bar.setAttribute("aria-hidden", "true");
  const all = count === lesson.steps;
  const state = count === 0 ? `${lesson.steps} steps, ${lesson.minutes} minutes` : all ? "✓ all steps answered" : `${count} of ${lesson.steps} steps answered`;
  link.append(
    make("span", "ds-lesson-number", String(lesson.number)),
    make("strong", "", lesson.title),
    make("span", "ds-lesson-about", lesson.about),
    bar,
    make("span", "ds-lesson-state", state),
  );
  item.append(link);
  return item;
}
