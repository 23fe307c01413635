"use strict";
// A click on the head of a column sorts by it, a second one the other way round; cells that are left out stay last.
const compare = (a, b) => (a.number !== null && b.number !== null ? a.number - b.number : a.text.localeCompare(b.text, "en", { numeric: true }));
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const table = head.closest("table");
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => {
      const cell = row.cells[head.cellIndex];
      const value = cell.dataset.value;
      return { row, text: cell.textContent.trim(), absent: value === "", number: value ? Number(value) : null };
    });
    rows.sort((a, b) => a.absent - b.absent || (falling ? compare(b, a) : compare(a, b)));
    table.tBodies[0].append(...rows.map(({ row }) => row));
  });
}

// A click on a picture opens it large; arrow keys go on to the next one.
const viewer = document.querySelector("#viewer");
const figures = [...document.querySelectorAll("figure.opens")];
let shown = 0;
const show = (number) => {
  shown = (number + figures.length) % figures.length;
  viewer.querySelector("div").replaceChildren(figures[shown].cloneNode(true));
};
figures.forEach((figure, number) => {
  figure.querySelector("button").addEventListener("click", () => {
    show(number);
    viewer.showModal();
  });
});
viewer.addEventListener("click", () => viewer.close());
viewer.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") show(shown + 1);
  if (event.key === "ArrowLeft") show(shown - 1);
});
