// The classes beside the pictures: chosen, made, renamed, merged, removed; what is dropped on one goes into it.

import { askPerson, at, button, count, made } from "./dom.js";
import { act, counts, label, state } from "./state.js";

let open = null;
let pick = () => {};
let takeFiles = () => {};

export function wireClasses({ show, take }) {
  pick = show;
  takeFiles = take;
  at("new-class").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = at("new-name");
    const name = field.value.trim();
    if (!name) return;
    field.value = ""; // at once: who types on meanwhile types the next name
    if (!(await act("class/add", { name })) && !field.value) field.value = name;
  });
}

export function drawClasses(current) {
  const n = counts();
  const rows = [["All pictures", null, state.pictures.size, ""], ["Without a class", "", n.get("") ?? 0, "0"]];
  state.classes.forEach((name, place) => rows.push([name, name, n.get(name) ?? 0, place < 9 ? String(place + 1) : ""]));
  const had = document.activeElement?.closest?.("#classes li")?.dataset.name;
  at("classes").replaceChildren(...rows.map((row) => rowOf(...row, current)));
  if (had !== undefined) [...at("classes").children].find((one) => one.dataset.name === had)?.querySelector("button").focus();
}

function rowOf(words, name, n, key, current) {
  const row = made("li", { class: name === current ? "on" : "" });
  row.dataset.name = String(name);
  row.append(made("button", {
    type: "button", class: "pick", onclick: () => pick(name), "aria-current": name === current ? "true" : null,
    "aria-label": `${words}, ${count(n, "picture")}${key ? `, key ${key}` : ""}`,
  }, key ? made("kbd", {}, key) : made("span"), made("span", { class: "name" }, words), made("span", { class: "n" }, n.toLocaleString("en"))));
  if (name) {
    row.append(made("button", {
      type: "button", class: "more", "aria-expanded": String(open === name), "aria-label": `Rename, merge or remove ${name}`,
      onclick: () => { open = open === name ? null : name; drawClasses(current); },
    }, "⋯"));
    if (open === name) row.append(made("div", { class: "deeds" }, button("Rename", () => rename(name)), button("Merge into …", () => merge(name)), button("Remove", () => removeClass(name, n))));
  }
  if (name !== null) wireDrop(row, name);
  return row;
}

async function rename(name) {
  const to = await askPerson(`Rename ${name}`, "The name of another class merges the two.", { what: "New name", value: name, yes: "Rename" });
  if (to && (await act("class/rename", { name, to }))) open = null;
}

async function merge(name) {
  const others = state.classes.filter((one) => one !== name);
  const to = await askPerson(`Merge ${name} into another class`, `There are: ${others.join(", ") || "no others"}. Undo takes it back.`, { what: "Into", yes: "Merge" });
  if (to && !others.includes(to.trim())) return void act("class/rename", { name, to });
  if (to && (await act("class/rename", { name, to }))) open = null;
}

async function removeClass(name, n) {
  const yes = await askPerson(`Remove the class ${name}`, n ? `Its ${count(n, "picture")} stay, without a class. Undo takes it back.` : "It has no pictures.", { yes: "Remove it" });
  if (yes && (await act("class/remove", { name }))) open = null;
}

function wireDrop(row, name) {
  row.addEventListener("dragover", (event) => {
    event.preventDefault();
    row.classList.add("over");
  });
  row.addEventListener("dragleave", () => row.classList.remove("over"));
  row.addEventListener("drop", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    row.classList.remove("over");
    document.body.classList.remove("over");
    const inner = event.dataTransfer.getData("application/x-regraft");
    if (inner) label(JSON.parse(inner), name || null);
    else takeFiles(event.dataTransfer, name || null);
  });
}
