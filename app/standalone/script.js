const roots = document.querySelectorAll(".ds-figure");
const drawn = JSON.parse(document.getElementById("figures").textContent).map((data, i) => {
  const figure = new Figure(roots[i]);
  figure.update(data);
  return () => figure.update(data);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((draw) => draw()));
