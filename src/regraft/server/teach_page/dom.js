// Elements made of text alone: nothing here, or anywhere, writes HTML.

export const at = (id) => document.getElementById(id);

/** made("p", { class: "quiet", onclick }, "text", child, …) */
export function made(tag, facts = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((one) => one !== null && one !== undefined && one !== ""));
  return element;
}

export const button = (text, onclick, facts = {}) => made("button", { type: "button", onclick, ...facts }, text);

/** 0.9876 as "98.8 %", of few pictures "93 %". */
export function percent(share, digits = 0) {
  return `${(100 * share).toFixed(digits)} %`;
}

export function count(n, noun, plural = `${noun}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? noun : plural}`;
}

export const small = (one) => `small/${one.number}?d=${one.digest}`;
export const large = (one) => `large/${one.number}?d=${one.digest}`;

/** A small picture; its name is what a screen reader hears. */
export function picture(one, facts = {}) {
  return made("img", { src: small(one), alt: one.name, loading: "lazy", decoding: "async", draggable: false, ...facts });
}

let fading = 0;
/** One sentence at the foot of the page, for eyes and screen readers. */
export function say(text, isBad = false) {
  clearTimeout(fading);
  at("says").textContent = text;
  at("says").classList.toggle("bad", isBad);
  fading = setTimeout(() => { at("says").textContent = ""; }, isBad ? 9000 : 3500);
}

/** Asks for a text, or yes or no; resolves to null where it was cancelled. */
export function askPerson(title, words, { what = "", value = "", yes = "Do it" } = {}) {
  at("ask-title").textContent = title;
  at("ask-words").textContent = words;
  at("ask-label").hidden = !what;
  at("ask-what").textContent = what;
  at("ask-input").value = value;
  at("ask-input").required = Boolean(what);
  at("ask-yes").textContent = yes;
  const dialog = at("ask");
  dialog.returnValue = "no";
  dialog.showModal();
  if (what) at("ask-input").select();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? (what ? at("ask-input").value : true) : null);
    }, { once: true });
  });
}
