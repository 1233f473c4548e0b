// A picture that is not kept: what the model of now says of it.

import { at, made, small } from "./dom.js";
import { Card } from "./card.js";
import { send, state } from "./state.js";

let cards = [];
const MOST = 24;

export function tryFiles(files) {
  for (const file of files) {
    const card = new Card(file, drop);
    cards.unshift(card);
    at("cards").prepend(card.element);
    answer(card);
  }
  for (const card of cards.splice(MOST)) card.remove();
}

function drop(card) {
  cards = cards.filter((one) => one !== card);
  card.remove();
  at("try-choose").focus();
}

async function answer(card) {
  try {
    const found = await send("api/try", card.file);
    card.show({ ...found, set: found.set ?? undefined, heatmap: { ...found.heatmap, label: found.label } });
    if (found.why_no_set) card.body.append(made("p", { class: "words quiet" }, `No set of classes can be promised yet: ${found.why_no_set}.`));
    if (found.why_never_none) card.body.append(made("p", { class: "words quiet" }, `Whether it is none of these cannot be told yet: ${found.why_never_none}.`));
    card.body.append(near(found.near));
  } catch (error) {
    card.show({ error: error.message, mend: error.cure });
  }
}

function near(found) {
  const figures = found.filter(({ number }) => state.pictures.has(number)).slice(0, 4).map(({ number, label }) => made("figure", {}, made("img", { src: small(state.pictures.get(number)), alt: "" }), made("figcaption", {}, label)));
  return made("div", {}, made("p", { class: "quiet small" }, "Most like it:"), made("div", { class: "near" }, ...figures));
}
