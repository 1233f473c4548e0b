// Pictures on their way in: files, folders with their paths, archives, pastes, bursts of a camera.

import { at, button, count, made, say } from "./dom.js";
import { complain, post, send, sentence, state, sync } from "./state.js";

const MOST_FILES = 400;
const MOST_BYTES = 48 * 2 ** 20;
const ARCHIVE = /\.(zip|tar|tgz|tar\.gz|tar\.bz2|tar\.xz)$/i;

let sending = Promise.resolve();

/** Sends them, some at a time; `label` null puts them where their folders say. */
export function take(found, label, together = "") {
  sending = sending.then(() => sendAll(found, label, together)).catch(complain);
  return sending;
}

async function sendAll(found, label, together) {
  const archives = found.filter(({ file }) => ARCHIVE.test(file.name));
  const hidden = ({ path }) => path.split("/").some((part) => part.startsWith(".") || part === "Thumbs.db" || part === "desktop.ini");
  const pictures = found.filter((one) => !ARCHIVE.test(one.file.name) && !hidden(one));
  const total = pictures.length + archives.length;
  if (!total) return;
  const arrived = { added: [], refused: [], n: 0 };
  const show = progress(total);
  let done = 0;
  try {
    for (const some of batches(pictures)) {
      await deliver(arrived, `api/pictures?${query(label, together)}`, formOf(some));
      show((done += some.length));
    }
    for (const { file } of archives) {
      await deliver(arrived, `api/archive?${query(label, "")}`, file);
      show((done += 1));
    }
  } finally {
    show(null);
    await sync();
    report(arrived, pictures, label);
  }
}

function query(label, together) {
  const options = new URLSearchParams();
  if (label) options.set("label", label);
  if (together) options.set("together", together);
  return options;
}

function* batches(found) {
  let some = [];
  let bytes = 0;
  for (const one of found) {
    if (some.length && (some.length >= MOST_FILES || bytes + one.file.size > MOST_BYTES)) {
      yield some;
      some = [];
      bytes = 0;
    }
    some.push(one);
    bytes += one.file.size;
  }
  if (some.length) yield some;
}

function formOf(some) {
  const form = new FormData();
  for (const { file, path } of some) form.append("images", file, path);
  return form;
}

async function deliver(arrived, path, body) {
  const found = await send(path, body);
  arrived.added.push(...found.added);
  arrived.refused.push(...found.refused);
  arrived.n += found.n_refused;
}

function progress(total) {
  at("incoming").hidden = total < 2;
  return (done) => {
    if (done === null) {
      at("incoming").hidden = true;
      return;
    }
    at("incoming-bar").max = total;
    at("incoming-bar").value = done;
    at("incoming-words").textContent = `${done} of ${count(total, "file")}`;
  };
}

/** What came, what was refused and why; where all came from one folder, whether it is a class. */
function report({ added, refused, n }, pictures, label) {
  const parts = [];
  const folders = new Set(pictures.map(({ path }) => path.split("/").slice(0, -1).join("/")));
  const [folder] = folders;
  const isOne = label === null && folders.size === 1 && folder;
  if (n) {
    parts.push(made("p", {}, `${count(n, "file")} not taken:`));
    parts.push(made("ul", {}, ...refused.slice(0, 100).map((one) => made("li", {}, `${one.name}: ${one.reason}${one.mend ? ` (${one.mend})` : ""}`))));
  }
  if (isOne && added.length) {
    const name = folder.split("/").pop();
    parts.push(made("p", {}, `${count(added.length, "picture")} came from the folder ${name}. `, button(`Make ${name} their class`, async () => {
      await post("api/label", { pictures: added, label: name }).catch(complain);
      at("refused").hidden = true;
      await sync();
    })));
  }
  at("refused").hidden = !parts.length;
  if (parts.length) at("refused").replaceChildren(...parts, button("Close", () => { at("refused").hidden = true; }));
  else if (added.length) say(sentence(`${count(added.length, "picture")} added${whereTo(added, label)}`));
}

function whereTo(added, label) {
  if (label) return ` to ${label}`;
  const n = added.filter((number) => state.pictures.get(number)?.label === null).length;
  if (!n) return "";
  return `, ${n === added.length ? "" : `${n} of them `}without a class: choose some and press a class, or go to Next`;
}
