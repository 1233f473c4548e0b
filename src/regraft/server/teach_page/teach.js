// The page of `regraft teach`: views, keys, and what comes in from everywhere.

import { at, button, large, made, say } from "./dom.js";
import { drawClasses, wireClasses } from "./classes.js";
import { grid, targets } from "./grid.js";
import { dropped, named } from "./files.js";
import { take } from "./incoming.js";
import { mend } from "./mend.js";
import { next } from "./next.js";
import { drawLine, drawScore, wireScore } from "./score.js";
import { openShutter, wireShutter } from "./shutter.js";
import { begin, complain, isUntold, label, on, picturesOf, redo, remove, state, undo } from "./state.js";
import { tryFiles } from "./try.js";
import { use } from "./use.js";

const TABS = ["pictures", "next", "mend", "scored", "try", "use"];
let view = "pictures";

// -- Views --

const tabOf = (name) => document.querySelector(`[aria-controls="${name}"]`);

function go(name, isFocused = false) {
  view = name;
  document.body.dataset.view = name;
  for (const one of TABS) {
    const tab = tabOf(one);
    at(one).hidden = one !== name;
    tab.setAttribute("aria-selected", String(one === name));
    tab.tabIndex = one === name ? 0 : -1;
  }
  if (isFocused) tabOf(name).focus();
  else if (name === "next" || name === "mend") at(name).focus({ preventScroll: true });
  refresh(true);
}

function refresh(isNew = false) {
  if (view === "pictures") grid.refresh();
  if (view === "next") next.refresh(isNew);
  mend.refresh(view === "mend");
  if (view === "scored") drawScore();
  if (view === "use" && isNew) use.refresh();
  badges();
}

function badges() {
  const n = picturesOf("").length;
  at("n-next").textContent = n ? n.toLocaleString("en") : "";
  at("n-mend").textContent = mend.count || "";
}

function showClass(name) {
  grid.show(name);
  at("filter").value = name === null ? "all" : `=${name}`;
  for (const id of ["into", "camera-into"]) at(id).value = name ? `=${name}` : "";
  drawClasses(grid.filter);
  if (view !== "pictures") go("pictures");
}

// -- What has changed --

function drawAll() {
  document.title = `${state.folder} · Regraft`;
  at("title").textContent = state.folder;
  for (const [id, words] of [["undo", state.undo], ["redo", state.redo]]) {
    at(id).disabled = !words;
    at(id).title = words ? `${id === "undo" ? "Undo" : "Redo"}: ${words}` : "";
  }
  if (grid.filter && !state.classes.includes(grid.filter)) grid.filter = null;
  drawClasses(grid.filter);
  options(at("into"), [["", "no class, or as their folders say"], ...state.classes.map((name) => [`=${name}`, name])]);
  options(at("camera-into"), [["", "no class"], ...state.classes.map((name) => [`=${name}`, name])]);
  options(at("filter"), [["all", "all"], ["=", "without a class"], ...state.classes.map((name) => [`=${name}`, name])]);
  at("filter").value = grid.filter === null ? "all" : `=${grid.filter}`;
  at("drop").classList.toggle("small", state.pictures.size > 40);
  drawLine();
  refresh();
}

function options(select, rows) {
  const was = select.value;
  select.replaceChildren(...rows.map(([value, words]) => made("option", { value }, words)));
  if (rows.some(([value]) => value === was)) select.value = was;
}

const classIn = (select) => (select.value.startsWith("=") ? select.value.slice(1) : null);

on("pictures", drawAll);
on("lesson", () => { drawLine(); refresh(); });
on("progress", drawLine);

// -- A closer look --

function look(one, among) {
  if (!one) one = among[0];
  if (!one) return say("There are none.");
  const place = among.findIndex((other) => other.number === one.number);
  const bad = state.bad[one.number];
  grid.stand(one.number);
  at("viewer-name").textContent = one.name;
  const image = made("img", { class: "large", src: large(one), alt: one.name });
  at("viewer-body").replaceChildren(bad ? made("p", { class: "notice" }, `${bad[0]}. ${bad[1]}`) : image, made("p", { class: "quiet" }, `${one.label ?? "no class"}${one.held ? "; set aside to score on" : ""} · ${one.path}`));
  const other = (step) => among[place + step] && (() => look(among[place + step], among));
  const give = async (name) => {
    if (await label([one.number], name)) look(state.pictures.get(one.number), among.map((old) => state.pictures.get(old.number) ?? old));
  };
  const trash = async () => { if (await remove([one.number])) at("viewer").close(); };
  const deeds = [
    ...state.classes.slice(0, 9).map((name, key) => made("button", { type: "button", onclick: () => give(name), "aria-pressed": String(name === one.label) }, made("kbd", {}, String(key + 1)), ` ${name}`)),
    button("Where the model looks", () => { image.src = `api/heat/${one.number}?v=${state.lesson?.version}`; }, { disabled: Boolean(!state.lesson || state.lesson.missing || isUntold(one)) }),
    button("Trash", trash),
    button("← Previous", other(-1) || (() => {}), { disabled: !other(-1) }), button("Next →", other(1) || (() => {}), { disabled: !other(1) }),
    button("Close", () => at("viewer").close(), { class: "main" }),
  ];
  at("viewer-deeds").replaceChildren(...deeds);
  at("viewer").onkeydown = (event) => {
    const name = state.classes[Number(event.key) - 1];
    const deed = event.key === "ArrowLeft" ? other(-1) : event.key === "ArrowRight" ? other(1)
      : /^[1-9]$/.test(event.key) && name ? () => give(name)
        : event.key === "0" ? () => give(null) : event.key === "Delete" ? trash : null;
    if (!deed || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    deed();
  };
  if (!at("viewer").open) at("viewer").showModal();
  at("viewer").focus(); // what had the focus was drawn anew
}

// -- What comes in --

async function takeTransfer(transfer, name) {
  const found = await dropped(transfer);
  if (view === "try") tryFiles(found.map(({ file }) => file));
  else take(found, name ?? classIn(at("into")));
}

function wireIncoming() {
  at("choose").addEventListener("click", () => at("files").click());
  at("choose-folder").addEventListener("click", () => at("folder").click());
  for (const id of ["files", "folder"]) {
    at(id).addEventListener("change", (event) => {
      take([...event.target.files].map(named), classIn(at("into")));
      event.target.value = "";
    });
  }
  at("camera").addEventListener("click", () => openShutter((files, key) => take(files.map(named), classIn(at("camera-into")), key)));
  at("try-choose").addEventListener("click", () => at("try-files").click());
  at("try-files").addEventListener("change", (event) => {
    tryFiles([...event.target.files]);
    event.target.value = "";
  });
  at("try-camera").addEventListener("click", () => openShutter((files) => tryFiles(files), { hasClasses: false }));
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (!files.length) return;
    event.preventDefault();
    if (view === "try") tryFiles(files);
    else take(files.map(named), classIn(at("into")));
  });
  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  let depth = 0;
  addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth += 1; document.body.classList.add("over"); } });
  addEventListener("dragleave", (event) => { if (hasFiles(event) && --depth <= 0) { depth = 0; document.body.classList.remove("over"); } });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    depth = 0;
    document.body.classList.remove("over");
    if (!hasFiles(event)) return;
    event.preventDefault();
    takeTransfer(event.dataTransfer, null).catch(complain);
  });
}

// -- Keys --

let goes = false;

function key(event) {
  const isTyping = event.target.closest("input:not([type=radio]):not([type=checkbox]), select, textarea");
  if (isTyping || document.querySelector("dialog[open]") || event.altKey) return;
  const name = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (name === "z") { event.preventDefault(); (event.shiftKey ? redo : undo)(); }
    if (name === "y") { event.preventDefault(); redo(); }
    return;
  }
  if (goes) {
    goes = false;
    const to = { p: "pictures", n: "next", m: "mend", s: "scored", t: "try", u: "use" }[name];
    if (to) { event.preventDefault(); return void go(to); }
  }
  if (name === "g") { goes = true; setTimeout(() => { goes = false; }, 3000); return; }
  if (name === "?") return void at("help").showModal();
  const onTab = event.target.closest("[role=tab]");
  if (onTab && ["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
  if (view === "next" && next.key(event)) return void event.preventDefault();
  if (view === "mend" && mend.key(event)) return void event.preventDefault();
  if (view === "pictures") pictureKey(event);
}

async function pictureKey(event) {
  const numbers = targets();
  const name = /^[1-9]$/.test(event.key) ? state.classes[Number(event.key) - 1] : event.key === "0" ? null : undefined;
  if (name !== undefined && numbers.length) {
    event.preventDefault();
    if (await label(numbers, name)) grid.clear();
  } else if ((event.key === "Delete" || event.key === "Backspace") && numbers.length) {
    event.preventDefault();
    if (await remove(numbers)) grid.clear();
  } else if (/^[1-9]$/.test(event.key) && !numbers.length) say("Choose pictures first; then a number is their class.");
}

function wireTabs() {
  for (const one of TABS) tabOf(one).addEventListener("click", () => go(one));
  at("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const place = TABS.indexOf(view);
    if (step) go(TABS[(place + step + TABS.length) % TABS.length], true);
    else if (event.key === "Home") go(TABS[0], true);
    else if (event.key === "End") go(TABS.at(-1), true);
  });
}

// -- Beginning --

wireTabs();
wireIncoming();
wireShutter();
wireClasses({ show: showClass, take: (transfer, name) => takeTransfer(transfer, name).catch(complain) });
grid.wire({ look });
next.wire();
mend.wire();
wireScore({ look });
at("undo").addEventListener("click", undo);
at("redo").addEventListener("click", redo);
at("help-button").addEventListener("click", () => at("help").showModal());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  if (view !== "pictures") go("pictures");
  at("grid").focus();
});
at("help-shut").addEventListener("click", () => at("help").close());
at("filter").addEventListener("change", (event) => showClass(event.target.value === "all" ? null : event.target.value.slice(1)));
addEventListener("keydown", key);
begin().catch((error) => {
  at("trouble").hidden = false;
  at("trouble").textContent = `${error.message}. ${error.cure ?? ""}`;
});
