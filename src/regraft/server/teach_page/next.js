// What to label next: twenty at a time, unsure and unlike each other; and many at once where it is sure.

import { at, button, count, made } from "./dom.js";
import { Asking } from "./asking.js";
import { act, complain, get, picturesOf, state } from "./state.js";

let asking = null;
let isFetching = false;
let isAskedAgain = false; // while an answer was on its way, which may be older than what there is now
let certainty = null; // what was chosen, else the highest that any picture reaches
const skipped = new Set();

export const next = {
  wire() {
    asking = new Asking({
      host: at("next"), empty: words, done: refill, keep: ({ number }) => { skipped.add(number); refill(); },
    });
  },

  key: (event) => asking.key(event),

  async refresh(isFresh = false) {
    drawHead();
    if (isFetching) { isAskedAgain = true; return; }
    const left = asking.questions.filter(isOpen);
    if (!isFresh && left.length > 5 && left.length === asking.questions.length && !isOutdated()) return;
    isFetching = true;
    try {
      const found = await get("api/next?n=20");
      const others = found.pictures.filter((one) => isOpen(one) && one.number !== asking.current?.number);
      asking.show([...shownNow(found.pictures), ...others].map(question));
    } catch (error) {
      complain(error);
    } finally {
      isFetching = false;
    }
    if (isAskedAgain) {
      isAskedAgain = false;
      next.refresh();
    }
  },
};

const isOpen = ({ number }) => !skipped.has(number) && state.pictures.get(number)?.label === null;

/** Whether they were chosen before there was a model that could say what it doubts. */
function isOutdated() {
  return Boolean(state.lesson && !state.lesson.missing) && asking.questions.some((one) => one !== asking.current && one.isUnanswered);
}

/** What is looked at stays first: it must not change under the fingers of who is about to press a key. */
function shownNow(found) {
  const now = asking.current;
  if (!now || !isOpen(now)) return [];
  const guess = state.guesses.get(now.number);
  return [found.find(({ number }) => number === now.number)
    ?? { number: now.number, held: state.pictures.get(now.number).held, top: guess ? [[guess.label, guess.sure]] : [] }];
}

function refill() {
  if (asking.questions.length < 3) next.refresh(true);
}

function question({ number, held, top }) {
  return {
    number, choices: top, best: top[0]?.[0], isUnanswered: !held && !top.length,
    words: held
      ? "Set aside to score on: it teaches nothing, so the model says nothing of it. Your label makes the score honest."
      : top.length ? `The model would say ${top[0][0]}.` : "The model has no answer yet.",
  };
}

function words() {
  if (!state.pictures.size) return "No picture yet: put some in under Pictures.";
  const n = picturesOf("").length;
  if (!n) return "Every picture has a class. Mend shows labels that are probably wrong; Try asks the model about a new picture; Use takes it along.";
  return skipped.size ? "You skipped the rest. They stay without a class." : "The pictures are being looked at …";
}

function drawHead() {
  const n = picturesOf("").length;
  const sure = [0.99, 0.95, 0.9, 0.8].map((above) => [above, [...state.guesses.values()].filter((one) => one.sure >= above).length]);
  const shown = sure.find(([above]) => above === certainty)?.[1] ? certainty : sure.find(([, m]) => m)?.[0];
  const select = made("select", { "aria-label": "Certainty", onchange: () => { certainty = Number(select.value); drawHead(); } },
    ...sure.map(([above, m]) => made("option", { value: String(above), disabled: !m, selected: above === shown }, `${100 * above} % (${m})`)));
  const accept = button("Accept them", () => act("accept", { above: Number(select.value) }));
  asking.head.replaceChildren(
    made("p", {}, made("strong", {}, `${count(n, "picture")} without a class`)),
    ...(sure.at(-1)[1] ? [made("label", {}, "Those that it is sure of by at least ", select), accept] : []),
    ...(skipped.size ? [button("Show the skipped again", () => { skipped.clear(); next.refresh(true); })] : []),
  );
}
