// Choices of how to look, kept by this browser.

function remembered(name, fits, fallback) {
  try {
    const stored = JSON.parse(localStorage.getItem(`dropscope.${name}`));
    return fits(stored) ? stored : fallback;
  } catch {
    return fallback;
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(`dropscope.${name}`, JSON.stringify(value));
  } catch {
    // A browser that keeps nothing still draws.
  }
}
