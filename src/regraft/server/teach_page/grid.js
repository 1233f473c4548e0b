// Ten thousand pictures, of which only those on the screen exist: a listbox that is drawn as it scrolls.

import { askPerson, at, button, count, made, percent, picture } from "./dom.js";
import { label, picturesOf, remove, state } from "./state.js";

const WIDTH = 150;
const GAP = 8;
const FOOT = 27;
const SPARE_ROWS = 2;

let shown = [];
let placeOf = new Map();
const chosen = new Set();
let active = 0;
let anchor = 0;
let open = () => {};
const tiles = new Map();

export const grid = {
  filter: null,
  get chosen() { return [...chosen]; },

  wire({ look }) {
    open = look;
    const host = at("grid");
    addEventListener("scroll", draw, { passive: true });
    new ResizeObserver(draw).observe(host);
    host.addEventListener("click", click);
    host.addEventListener("dblclick", (event) => { const tile = event.target.closest(".tile"); if (tile) open(shown[tile.place], shown); });
    host.addEventListener("keydown", key);
    host.addEventListener("focus", draw);
    host.addEventListener("dragstart", drag);
    at("order").addEventListener("change", grid.refresh);
  },

  show(name) {
    grid.filter = name;
    chosen.clear();
    active = anchor = 0;
    grid.refresh();
  },

  refresh() {
    const at_ = shown[active]?.number;
    shown = ordered(picturesOf(grid.filter));
    placeOf = new Map(shown.map((one, place) => [one.number, place]));
    for (const number of chosen) if (!placeOf.has(number)) chosen.delete(number);
    active = placeOf.get(at_) ?? Math.min(active, Math.max(0, shown.length - 1));
    for (const tile of tiles.values()) tile.remove();
    tiles.clear();
    draw();
    words();
  },

  clear() {
    chosen.clear();
    redraw();
  },

  /** Puts the cursor on a picture, so that keys act on what was looked at last. */
  stand(number) {
    const place = placeOf.get(number);
    if (place === undefined) return;
    active = anchor = place;
    reveal();
    redraw();
  },
};

function ordered(pictures) {
  const order = at("order").value;
  if (order === "new") return pictures.reverse();
  if (order === "unsure") {
    const sure = (one) => state.guesses.get(one.number)?.sure ?? (one.label === null ? -1 : 2);
    return pictures.sort((a, b) => sure(a) - sure(b));
  }
  return pictures;
}

function measures() {
  const host = at("grid");
  const width = host.clientWidth || 320;
  const columns = Math.max(2, Math.floor((width + GAP) / (WIDTH + GAP)));
  const side = Math.floor((width - (columns - 1) * GAP) / columns);
  return { columns, side, height: side + FOOT + GAP };
}

function draw() {
  const host = at("grid");
  if (host.offsetParent === null) return;
  const { columns, side, height } = measures();
  const rows = Math.ceil(shown.length / columns);
  host.style.height = `${Math.max(0, rows * height - GAP)}px`;
  const top = host.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(-top / height) - SPARE_ROWS) * columns;
  const last = Math.min(shown.length, (Math.ceil((innerHeight - top) / height) + SPARE_ROWS) * columns);
  const wanted = new Set();
  for (let place = first; place < last; place++) wanted.add(shown[place].number);
  for (const [number, tile] of tiles) {
    if (wanted.has(number)) continue;
    tile.remove();
    tiles.delete(number);
  }
  for (let place = first; place < last; place++) {
    const one = shown[place];
    let tile = tiles.get(one.number);
    if (!tile) {
      tile = tileOf(one);
      tiles.set(one.number, tile);
      host.append(tile);
    }
    tile.place = place;
    tile.style.width = `${side}px`;
    tile.style.height = `${side + FOOT}px`;
    tile.style.transform = `translate(${(place % columns) * (side + GAP)}px, ${Math.floor(place / columns) * height}px)`;
    tile.setAttribute("aria-posinset", place + 1);
    tile.setAttribute("aria-setsize", shown.length);
    tile.setAttribute("aria-selected", chosen.has(one.number));
    tile.classList.toggle("active", place === active);
  }
  const current = shown[active] && tiles.get(shown[active].number);
  if (current) host.setAttribute("aria-activedescendant", current.id);
  else host.removeAttribute("aria-activedescendant");
}

function tileOf(one) {
  const bad = state.bad[one.number];
  const guess = state.guesses.get(one.number);
  const words = bad ? "cannot be read" : one.label ?? (guess ? `${guess.label}? ${percent(guess.sure)}` : "no class");
  const tile = made("div", {
    class: "tile", role: "option", id: `tile-${one.number}`, draggable: "true", title: bad ? `${one.path}: ${bad[0]}. ${bad[1]}` : one.path,
    "aria-label": `${one.name}, ${words}${one.held ? ", set aside to score on" : ""}`,
  });
  tile.append(bad ? made("div", { class: "none" }, bad[0]) : picture(one, { alt: "" }));
  tile.append(made("div", { class: "of" }, one.label ? made("b", {}, words) : words));
  if (one.held) tile.append(made("span", { class: "aside", title: "Set aside to score on: it teaches nothing" }, "test"));
  return tile;
}

function redraw() {
  for (const [number, tile] of tiles) tile.setAttribute("aria-selected", chosen.has(number));
  draw();
  words();
}

function words() {
  const where = grid.filter === null ? "" : grid.filter === "" ? " without a class" : ` in ${grid.filter}`;
  at("grid-words").textContent = `${count(shown.length, "picture")}${where}`;
  at("grid-empty").hidden = shown.length > 0;
  at("grid-empty").textContent = state.pictures.size ? "None here." : "No picture yet: drop some above. Two classes with a few pictures each are enough to begin.";
  if (chosen.size && at("chosen-bar").hidden) letThrough(at("chosen-bar"));
  at("chosen-bar").hidden = !chosen.size;
  if (!chosen.size) return;
  at("chosen-words").textContent = `${chosen.size} chosen`;
  const give = (name) => button(name ?? "no class", () => act(() => label([...chosen], name)));
  const names = state.classes.slice(0, 12);
  at("chosen-deeds").replaceChildren(
    made("span", { class: "quiet" }, "label:"), ...names.map(give), button("a new class …", giveNew), give(null),
    button("Trash", () => act(() => remove([...chosen]))), button("Choose none", grid.clear),
  );
}

/** A bar that comes with the first of two clicks lets the second through to the picture beneath. */
function letThrough(bar) {
  bar.style.pointerEvents = "none";
  setTimeout(() => { bar.style.pointerEvents = ""; }, 500);
}

async function giveNew() {
  const name = await askPerson("A new class", `${count(chosen.size, "picture")} will be in it.`, { what: "Name", yes: "Make it" });
  if (name?.trim()) act(() => label([...chosen], name.trim()));
}

async function act(deed) {
  if (await deed()) grid.clear();
}

function click(event) {
  const tile = event.target.closest(".tile");
  if (!tile) return;
  at("grid").focus({ preventScroll: true });
  const { number } = shown[tile.place];
  if (event.shiftKey) range(anchor, tile.place);
  else if (chosen.has(number)) chosen.delete(number);
  else chosen.add(number);
  active = tile.place;
  if (!event.shiftKey) anchor = active;
  redraw();
}

function range(from, to) {
  for (let place = Math.min(from, to); place <= Math.max(from, to); place++) chosen.add(shown[place].number);
}

function key(event) {
  const { columns } = measures();
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: 4 * columns, PageUp: -4 * columns, Home: -shown.length, End: shown.length };
  if (event.key in steps && shown.length) {
    event.preventDefault();
    active = Math.max(0, Math.min(shown.length - 1, active + steps[event.key]));
    if (event.shiftKey) range(anchor, active);
    else anchor = active;
    reveal();
    redraw();
  } else if (event.key === " " && shown[active]) {
    event.preventDefault();
    const { number } = shown[active];
    if (!chosen.delete(number)) chosen.add(number);
    anchor = active;
    redraw();
  } else if (event.key === "Enter" && shown[active]) {
    event.preventDefault();
    open(shown[active], shown);
  } else if (event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    for (const one of shown) chosen.add(one.number);
    redraw();
  } else if (event.key === "Escape") grid.clear();
}

function reveal() {
  const { columns, height } = measures();
  const top = at("grid").getBoundingClientRect().top + Math.floor(active / columns) * height;
  if (top < 130) scrollBy(0, top - 130);
  const bottom = innerHeight - at("chosen-bar").offsetHeight - 20;
  if (top >= 130 && top + height > bottom) scrollBy(0, top + height - bottom);
}

/** What a key or a class that is dropped on acts on: what is chosen, else what has the focus. */
export function targets() {
  if (chosen.size) return [...chosen];
  return document.activeElement === at("grid") && shown[active] ? [shown[active].number] : [];
}

function drag(event) {
  const tile = event.target.closest(".tile");
  if (!tile) return;
  const { number } = shown[tile.place];
  const numbers = chosen.has(number) ? [...chosen] : [number];
  event.dataTransfer.setData("application/x-regraft", JSON.stringify(numbers));
  event.dataTransfer.effectAllowed = "move";
}
