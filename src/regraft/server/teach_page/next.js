// What to label next: twenty at a time, unsure and unlike each other; and many at once where it is sure.

import { at, button, count, made } from "./dom.js";
import { Asking } from "./asking.js";
import { act, complain, get, picturesOf, state } from "./state.js";

let asking = null;
let isFetching = false;
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
    if (isFetching) return;
    const left = asking.questions.filter(({ number }) => state.pictures.get(number)?.label === null);
    if (!isFresh && left.length > 5 && left.length === asking.questions.length) return;
    isFetching = true;
    try {
      const found = await get("api/next?n=20");
      asking.show(found.pictures.filter(({ number }) => !skipped.has(number) && state.pictures.get(number)?.label === null).map(question));
    } catch (error) {
      complain(error);
    } finally {
      isFetching = false;
    }
  },
};

function refill() {
  if (asking.questions.length < 3) next.refresh(true);
}

function question({ number, held, top }) {
  return {
    number, choices: top, best: top[0]?.[0],
    words: held
      ? "Set aside to score on: it teaches nothing, so the model says nothing of it. Your label makes the score honest."
      : top.length ? `The model would say ${top[0][0]}.` : "The model has no answer yet.",
  };
}

function words() {
  if (!state.pictures.size) return "No picture yet: put some in under Pictures.";
  const n = picturesOf("").length;
  if (!n) return "Every picture has a class. Look under Mend for labels that are probably wrong.";
  return skipped.size ? "You skipped the rest. They stay without a class." : "The pictures are being looked at …";
}

function drawHead() {
  const n = picturesOf("").length;
  const sure = [0.99, 0.95, 0.9, 0.8].map((above) => [above, [...state.guesses.values()].filter((one) => one.sure >= above).length]);
  const select = made("select", { "aria-label": "Certainty" }, ...sure.map(([above, m]) => made("option", { value: String(above) }, `${100 * above} % (${m})`)));
  const accept = button("Accept them", () => act("accept", { above: Number(select.value) }));
  asking.head.replaceChildren(
    made("p", {}, made("strong", {}, `${count(n, "picture")} without a class`)),
    ...(sure.at(-1)[1] ? [made("label", {}, "Those that it is sure of by at least ", select), accept] : []),
    ...(skipped.size ? [button("Show the skipped again", () => { skipped.clear(); next.refresh(true); })] : []),
  );
}
