// What is probably wrong, as lists to mend with one key each.

import { at, count, made } from "./dom.js";
import { Asking } from "./asking.js";
import { complain, get, picturesOf, state } from "./state.js";

const LISTS = [
  ["suspects", "Probably wrong labels"], ["copies", "Copies in two classes"],
  ["odd", "Like nothing else"], ["bad", "Cannot be read"],
];
let asking = null;
let chosen = "suspects";
let found = { copies: [], odd: [] };
let ofVersion = null;

const keptKey = () => `regraft-kept:${state.place}`;
const kept = () => new Set(JSON.parse(localStorage.getItem(keptKey()) || "[]"));

export const mend = {
  wire() {
    asking = new Asking({ host: at("mend"), empty: words, keep, keepWords: "It is right" });
  },

  key: (event) => asking.key(event),

  /** Lists that cost the server something are fetched where they are looked at. */
  async refresh(isShown) {
    const version = `${state.lesson?.version}`;
    if (isShown && ofVersion !== version) {
      ofVersion = version;
      if (!asking.current) asking.show(questions(chosen)); // what is known already does not wait
      try {
        const [copies, odd] = await Promise.all([get("api/copies"), get("api/odd")]);
        found = { copies: copies.groups, odd: odd.pictures, whyNone: odd.why_none };
      } catch (error) {
        complain(error);
      }
    }
    drawHead();
    if (isShown) asking.show(questions(chosen));
  },

  get count() {
    return questions("suspects").length;
  },
};

function questions(list) {
  const done = kept();
  const open = (question) => {
    const one = state.pictures.get(question.number);
    return one && !done.has(keyOf(list, one));
  };
  return all(list).filter(open);
}

const keyOf = (list, one) => `${list}:${one.digest}:${one.label}`;

function all(list) {
  if (list === "suspects") {
    return (state.lesson?.suspects || []).filter((one) => state.pictures.get(one.number)?.label === one.given).map((one) => ({
      number: one.number, best: one.suggested, choices: [[one.suggested, one.p_suggested], [one.given, one.p_given]],
      title: `${one.given}? Or ${one.suggested}?`, words: `It is labelled ${one.given}. Pictures like it are ${one.suggested}.`,
    }));
  }
  if (list === "copies") {
    return found.copies.flatMap((group) => {
      const labels = [...new Set(group.map((number) => state.pictures.get(number)?.label).filter(Boolean))];
      return labels.length < 2 ? [] : group.map((number) => ({
        number, choices: [], title: "One picture, two classes", keepWords: "Leave it",
        words: `The same picture is labelled ${labels.join(" and ")}; this one is ${state.pictures.get(number)?.label}.`,
      }));
    });
  }
  if (list === "odd") {
    return found.odd.filter(({ number }) => state.pictures.get(number)?.label === null).map(({ number }) => ({
      number, choices: [], title: "None of these?", keepWords: "Leave it",
      words: "It is unlike everything that the model has learnt. Trash it, or give it a class.",
    }));
  }
  return Object.entries(state.bad).map(([number, [reason]]) => ({
    number: Number(number), choices: [], title: "Cannot be read", words: reason, keepWords: "Leave it",
  }));
}

function keep(question) {
  const one = state.pictures.get(question.number);
  if (!one) return;
  localStorage.setItem(keptKey(), JSON.stringify([...kept(), keyOf(chosen, one)].slice(-5000)));
  drawHead();
}

function drawHead() {
  const buttons = LISTS.map(([name, title]) => made("button", {
    type: "button", "aria-pressed": String(name === chosen), class: name === chosen ? "main" : "",
    onclick: () => { chosen = name; Object.assign(asking, { place: 0, walked: false }); drawHead(); asking.show(questions(name)); },
  }, `${title} (${questions(name).length})`));
  asking.head.replaceChildren(...buttons);
}

function words() {
  if (chosen === "suspects") {
    return picturesOf(null).some((one) => one.label) ? "No label looks wrong." : "Nothing has a label yet.";
  }
  return { copies: "No picture is in two classes.", odd: found.whyNone ? `What is like nothing else cannot be told yet: ${found.whyNone}.` : "No unsorted picture is unlike all others.", bad: "Every picture can be read." }[chosen];
}

export const mendWords = (n) => (n ? count(n, "label") : "");
