// What the server knows of the folder, here: asked for once, then only what has changed.

import { ask, Refused } from "./ask.js";
import { at, say } from "./dom.js";
import { Door } from "./door.js";

const door = new Door();

/** Everything that is shown. Pictures by number: {number, path, name, label, held, digest}. */
export const state = {
  version: 0, folder: "", place: "", classes: [], pictures: new Map(), bad: {}, leftOut: {},
  undo: "", redo: "", trouble: "", lesson: null, guesses: new Map(), progress: null, job: null,
};
const heard = new EventTarget();

/** Calls back when "pictures", "lesson", "progress" or "job" has changed. */
export function on(what, hear) {
  heard.addEventListener(what, hear);
}

export function get(path) {
  return ask(door, path);
}

export function post(path, given = {}) {
  return ask(door, path, {
    method: "POST", body: JSON.stringify(given), headers: { "Content-Type": "application/json" },
  });
}

/** A body as it is: a form, a file. */
export function send(path, body) {
  return ask(door, path, { method: "POST", body });
}

/** Does something to the folder and says what was done; false where it was refused. */
export async function act(path, given = {}, words = null) {
  try {
    const done = await post(`api/${path}`, given);
    say(words ?? sentence(past(done.words)));
    await sync();
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

export function complain(error) {
  if (!(error instanceof Refused)) throw error;
  say(sentence(error.message) + (error.cure ? ` ${sentence(error.cure)}` : ""), true);
}

export function sentence(text) {
  return text ? text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "";
}

const DONE = { add: "added", label: "labelled", remove: "removed", merge: "merged", rename: "renamed", "undo:": "undone:", "redo:": "done again:" };

/** "label 1 picture as ants", which is what Undo would take back, as what was done. */
export function past(words) {
  return words.replace(/^\S+/, (verb) => DONE[verb] ?? verb);
}

/** Whether the model says nothing of it: its label will score the model, and must be a person's own. */
export const isUntold = (one) => one.held && one.label === null;

export const label = (numbers, name) => numbers.length && act("label", { pictures: numbers, label: name });
export const remove = (numbers) => numbers.length && act("remove", { pictures: numbers });
export const undo = () => act("undo");
export const redo = () => act("redo");

let syncing = null;
let isStale = false;

/** Fetches what has changed; calls that come meanwhile are one call after it. */
export function sync() {
  if (syncing) {
    isStale = true;
    return syncing;
  }
  syncing = fetchChanges().finally(() => {
    syncing = null;
    if (isStale) {
      isStale = false;
      sync().catch(complain);
    }
  });
  return syncing;
}

async function fetchChanges() {
  const found = await get(`api/pictures?since=${state.version}`);
  if (found.is_all) state.pictures.clear();
  for (const [number, path, flags, digest] of found.pictures) {
    const cut = path.lastIndexOf("/");
    state.pictures.set(number, {
      number, path, digest, name: path.slice(cut + 1), label: cut < 0 ? null : path.slice(0, cut),
      held: Boolean(flags & 1),
    });
  }
  for (const number of found.removed) state.pictures.delete(number);
  const { version, folder, place, classes, bad, undo: back, redo: forth, trouble } = found;
  Object.assign(state, { version, folder, place, classes, bad, undo: back, redo: forth, trouble, leftOut: found.left_out });
  heard.dispatchEvent(new Event("pictures"));
}

async function fetchLesson() {
  const lesson = await get("api/lesson");
  const { numbers, labels, sure } = lesson.guesses;
  state.guesses = new Map(numbers.map((number, row) => [number, { label: lesson.classes[labels[row]], sure: sure[row] }]));
  lesson.guesses = null;
  state.lesson = lesson;
  heard.dispatchEvent(new Event("lesson"));
}

/** The first look, and then the news; a connection that was lost comes back by itself. */
export async function begin() {
  await post("api/session");
  await Promise.all([sync(), fetchLesson()]);
  const news = new EventSource("api/events");
  const listen = (what, hear) => news.addEventListener(what, (event) => hear(JSON.parse(event.data)));
  let wasLost = false;
  news.addEventListener("error", () => {
    wasLost = true;
    state.trouble = "The server cannot be reached. Is it still running? What you see is what it said last.";
    heard.dispatchEvent(new Event("pictures"));
  });
  // Also the first time: something may have changed between the first look and this.
  listen("hello", ({ version }) => {
    if (wasLost && version < state.version) state.version = 0;
    wasLost = false;
    sync().catch(complain);
    fetchLesson().catch(complain);
  });
  listen("changed", () => { sync().catch(complain); });
  listen("taught", () => { state.progress = null; fetchLesson().catch(complain); heard.dispatchEvent(new Event("progress")); });
  listen("progress", (facts) => { state.progress = facts; heard.dispatchEvent(new Event("progress")); });
  listen("trouble", ({ text }) => { state.trouble = text; heard.dispatchEvent(new Event("pictures")); });
  listen("job", (facts) => { state.job = facts; heard.dispatchEvent(new Event("job")); });
}

/** Pictures of a class, without one (""), or all (null). */
export function picturesOf(name) {
  const all = [...state.pictures.values()];
  if (name === null) return all;
  return all.filter((one) => (name === "" ? one.label === null : one.label === name));
}

export function counts() {
  const found = new Map([["", 0], ...state.classes.map((name) => [name, 0])]);
  for (const { label: own } of state.pictures.values()) found.set(own ?? "", (found.get(own ?? "") ?? 0) + 1);
  return found;
}
