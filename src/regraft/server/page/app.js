// The page: pictures in, cards out.

import { ask, Refused } from "./ask.js";
import { openCamera, snap, unavailable } from "./camera.js";
import { Card, percent } from "./card.js";
import { Door } from "./door.js";
import { dropped, pasted } from "./files.js";

const at = (id) => document.getElementById(id);
const AT_ONCE = 4;
const door = new Door();
let models = [];
let limits = null;
let cards = [];
let waiting = [];
let working = 0;
let nPictures = 0;  // of the camera

// -- The model --

async function meet() {
  try {
    const found = await ask(door, "models");
    models = found.models;
    limits = found.limits;
  } catch (error) {
    at("about").textContent = `${error.message}. ${error.cure || ""}`;
    return;
  }
  at("models").replaceChildren(...models.map((one) => new Option(one.name, one.name)));
  at("which").hidden = models.length < 2;
  at("limits").textContent = "They go to the server that gave you this page, and are kept nowhere. "
    + `A file may have ${Math.floor(limits.picture_bytes / 2 ** 20)} MiB.`;
  describe();
}

function model() {
  return models.find((one) => one.name === at("models").value) || models[0];
}

function describe() {
  const { classes, test_score: score, name, offers, missed_promises: missed } = model();
  const shown = classes.slice(0, 6).join(", ") + (classes.length > 6 ? ` and ${classes.length - 6} more` : "");
  const tested = score
    ? ` It classified ${percent(score.accuracy)} of its test images correctly (${score.level * 100} % interval: ${percent(score.low)} to ${percent(score.high)}).`
    : "";
  // What its own test found of what this page offers.
  const found = [...(missed?.coverage || []), ...(missed?.reject || [])].map((words) => ` When it was tested, ${words}.`);
  at("about").textContent = `This model tells apart: ${shown}.${tested}${found.join("")}`;
  document.title = `${name} · Regraft`;
  for (const label of document.querySelectorAll("[data-offers]")) {
    label.hidden = !(offers || []).includes(label.dataset.offers);
    if (label.hidden) label.querySelector("select").value = "";
  }
}

// -- Pictures in, answers out --

function take(files) {
  if (!files.length) return;
  for (const file of files) {
    const card = new Card(file, drop);
    cards.push(card);
    waiting.push(card);
    at("cards").append(card.element);
  }
  at("bar").hidden = false;
  goOn();
}

function goOn() {
  count();
  while (working < AT_ONCE && waiting.length) {
    working += 1;
    answer(waiting.shift()).finally(() => {
      working -= 1;
      goOn();
    });
  }
}

async function answer(card) {
  const asked = (card.asked = Symbol("asked"));
  let row;
  try {
    if (limits && card.file.size > limits.picture_bytes) {
      const most = Math.floor(limits.picture_bytes / 2 ** 20);
      throw new Refused(`the file has more than ${most} MiB`, "make the picture smaller");
    }
    const found = await ask(door, `predict?${query()}`, {
      method: "POST", body: card.file, headers: { "Content-Type": "application/octet-stream" },
    });
    row = found.predictions[0];
  } catch (error) {
    row = { error: error.message, mend: error.cure };
  }
  if (card.asked === asked && cards.includes(card)) card.show(row);
}

function query() {
  const options = new URLSearchParams({ top: at("top").value });
  if (models.length > 1) options.set("model", model().name);
  if (at("heat").checked) options.set("heatmap", "1");
  for (const name of ["coverage", "reject"]) if (at(name).value) options.set(name, at(name).value);
  return options;
}

function askAgain() {
  waiting = [...cards];
  for (const card of cards) card.wait();
  goOn();
}

function drop(card) {
  const next = card.element.nextElementSibling || card.element.previousElementSibling;
  cards = cards.filter((one) => one !== card);
  waiting = waiting.filter((one) => one !== card);
  card.remove();
  (next?.querySelector(".remove") || at("choose")).focus();
  at("bar").hidden = !cards.length;
  count();
}

function clear() {
  for (const card of cards) card.remove();
  cards = [];
  waiting = [];
  at("bar").hidden = true;
  at("choose").focus();
}

function count() {
  const done = cards.filter((card) => card.answer).length;
  const bad = cards.filter((card) => card.answer?.error).length;
  const pictures = cards.length === 1 ? "1 picture" : `${cards.length} pictures`;
  const left = done < cards.length ? `${done} of ${pictures} answered` : pictures;
  at("count").textContent = left + (bad ? `, ${bad} cannot be read` : "");
  if (done === cards.length) arrange();
}

function arrange() {
  const isByDoubt = at("order").value === "unsure";
  const sorted = isByDoubt ? [...cards].sort((a, b) => a.certainty - b.certainty) : cards;
  const isAsItIs = sorted.every((card, place) => at("cards").children[place] === card.element);
  if (!isAsItIs) at("cards").append(...sorted.map((card) => card.element));
}

// -- Answers out as a table --

function save() {
  const rows = [["file", "label", "probability", "set", "none_of_these", "error"]];
  for (const { file, answer } of cards) {
    if (!answer) continue;
    const { label, probability, set, none_of_these: none, error } = answer;
    rows.push([file.name, label, probability, (set || []).join(" "), none ?? "", error]);
  }
  const text = rows.map((row) => row.map(cell).join(",")).join("\r\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv" }));
  link.download = "answers.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Quoted where need be; a spreadsheet must not take a file's name for a formula. */
function cell(value) {
  const text = String(value ?? "");
  const inert = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

// -- What people do --

at("choose").addEventListener("click", () => at("files").click());
at("files").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = "";
});
at("models").addEventListener("change", () => { describe(); askAgain(); });
for (const id of ["top", "heat", "coverage", "reject"]) at(id).addEventListener("change", askAgain);
at("order").addEventListener("change", arrange);
at("save").addEventListener("click", save);
at("clear").addEventListener("click", clear);

let depth = 0;
const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
addEventListener("dragenter", (event) => {
  if (!hasFiles(event)) return;
  depth += 1;
  document.body.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!hasFiles(event)) return;
  depth = Math.max(0, depth - 1);
  if (!depth) document.body.classList.remove("over");
});
addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  depth = 0;
  document.body.classList.remove("over");
  take((await dropped(event.dataTransfer)).map(({ file }) => file));
});
addEventListener("paste", (event) => take(pasted(event.clipboardData)));

at("camera").disabled = Boolean(unavailable);
at("camera").title = unavailable;
at("camera").addEventListener("click", async () => {
  at("shoot").disabled = true;
  const sees = await openCamera({ dialog: at("shutter"), video: at("video"), says: at("shutter-says") });
  at("shoot").disabled = !sees;
  if (sees) at("shoot").focus();
});
at("shoot").addEventListener("click", async () => {
  nPictures += 1;
  const file = await snap(at("video"), `camera ${nPictures}.jpg`);
  if (!file) return;
  at("shutter-says").textContent = `Picture ${nPictures} taken.`;
  take([file]);
});
at("shut").addEventListener("click", () => at("shutter").close());

meet();
