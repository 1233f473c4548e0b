"use strict";
// Tables: a click (or Enter) on a heading sorts by it; numbers stand in data-v.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, k) => {
    const cell = row.cells[k], v = cell.dataset.v;
    return v === undefined ? cell.textContent.trim() : v === "" ? -Infinity : Number(v);
  };
  heads.forEach((head, k) => {
    const sort = () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const x = value(a, k), y = value(b, k);
        const order = typeof x === "number" ? x - y : x.localeCompare(y);
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    };
    head.tabIndex = 0;
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (e) => {
      if (e.key === "Enter" || e.key === " ") { e.preventDefault(); sort(); }
    });
  });
}
// The map: pointing at a dot shows its picture, cut out of one sheet.
const map = document.querySelector("svg.map"), box = document.getElementById("hover");
if (map && box) {
  const told = JSON.parse(document.getElementById("map-data").textContent);
  const sheet = document.getElementById("map-sheet");
  const side = Number(sheet.dataset.tile), columns = Number(sheet.dataset.columns), shown = 96;
  const tile = box.querySelector(".tile"), words = box.querySelector(".words");
  const show = (dot) => {
    const i = Number(dot.dataset.i), [path, label, split, called] = told[i];
    if (sheet.src) {
      const scale = shown / side;
      tile.style.backgroundImage = "url(" + sheet.src + ")";
      tile.style.backgroundSize = sheet.naturalWidth * scale + "px " + sheet.naturalHeight * scale + "px";
      tile.style.backgroundPosition =
        -(i % columns) * shown + "px " + -Math.floor(i / columns) * shown + "px";
    }
    words.textContent = label + (called ? ", called " + called : "") + (split ? " (" + split + ")" : "") + " · " + path;
    box.style.display = "block";
    const at = dot.getBoundingClientRect(), room = document.documentElement.clientWidth;
    const left = Math.min(at.left + window.scrollX + 12, window.scrollX + room - box.offsetWidth - 8);
    box.style.left = Math.max(4, left) + "px";
    box.style.top = at.top + window.scrollY + 14 + "px";
  };
  map.addEventListener("pointerover", (e) => { if (e.target.dataset.i) show(e.target); });
  map.addEventListener("click", (e) => { if (e.target.dataset.i) show(e.target); });
  map.addEventListener("pointerleave", () => { box.style.display = "none"; });
}
// What is folded is printed all the same.
window.addEventListener("beforeprint", () => {
  for (const d of document.querySelectorAll("details")) d.open = true;
});
