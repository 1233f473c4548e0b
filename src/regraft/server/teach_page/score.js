// The score: in one line above everything, and all of it on a page of its own.

import { at, button, count, made, percent, picture } from "./dom.js";
import { sentence, state } from "./state.js";

let openList = () => {};

export function wireScore({ look }) {
  openList = look;
}

/** The line above: how good, how sure, what changed, what would help. */
export function drawLine() {
  const { lesson, progress } = state;
  at("working").hidden = !progress;
  if (progress) {
    at("progress").max = progress.total;
    at("progress").value = progress.done;
    at("progress-words").textContent = `looking at pictures: ${progress.done} of ${progress.total}`;
  }
  at("trouble").hidden = !state.trouble;
  at("trouble").textContent = state.trouble;
  const version = String(lesson?.number);
  if (!lesson || at("score").dataset.version === version) return; // a live region is read out anew
  at("score").replaceChildren(...line(lesson));
  at("score").dataset.version = version;
}

function line(lesson) {
  if (lesson.missing) return [made("span", { class: "quiet" }, `To begin: ${lesson.missing}.`)];
  const score = lesson.score;
  if (!score) {
    return [made("strong", {}, "It answers, but has no score yet."), made("span", { class: "quiet" }, "About every fifth picture is set aside to score on; none of yours so far. A few more will do.")];
  }
  const { value, low, high } = score.accuracy;
  const parts = [
    made("span", { class: "big" }, percent(value)),
    made("span", {}, `right (${percent(low)} to ${percent(high)}), on ${count(score.n, "picture")} set aside`),
  ];
  const change = changed(lesson);
  if (change) parts.push(change);
  if (lesson.n_changed) parts.push(made("span", { class: "quiet" }, `${count(lesson.n_changed, "answer")} changed`));
  const unscored = score.per_class.filter((one) => !one.n).map((one) => one.label);
  if (unscored.length) parts.push(made("span", { class: "down" }, `nothing of ${unscored.join(", ")} is set aside yet`));
  if (lesson.waiting.length) parts.push(made("span", { class: "down" }, `${lesson.waiting.join(", ")}: too few pictures yet`));
  if (lesson.helps) parts.push(made("span", { class: "quiet" }, `${lesson.helps.n} more of ${lesson.helps.label} would help most`));
  return parts;
}

function changed({ score, before }) {
  if (!before) return null;
  const by = score.accuracy.value - before.accuracy.value;
  if (Math.abs(by) < 0.0005) return null;
  return made("span", { class: by > 0 ? "up" : "down" }, `${by > 0 ? "▲" : "▼"} ${percent(Math.abs(by), 1)}`);
}

/** The page of its own. */
export function drawScore() {
  const host = at("scored");
  const { lesson } = state;
  if (!lesson || lesson.missing || !lesson.score) {
    host.replaceChildren(made("p", { class: "quiet" }, sentence(lesson?.missing || "no score yet: none of the labelled pictures is among those that are set aside")));
    return;
  }
  host.replaceChildren(made("div", { class: "cards2" }, perClass(lesson.score), curve(lesson), weak(lesson), honest(lesson)));
}

function perClass({ per_class: rows }) {
  const body = rows.map(({ label, n, recall }) => made("tr", {},
    made("th", { scope: "row" }, label),
    made("td", {}, n ? range(recall) : made("span", { class: "quiet" }, "none set aside yet")),
    made("td", { class: "n" }, n ? `${percent(recall.value)} of ${n}` : "")));
  return made("section", { class: "panel" }, made("h2", {}, "Each class: how much of it is found"), made("table", { class: "per" }, made("tbody", {}, ...body)));
}

function range({ value, low, high }) {
  const band = made("i");
  band.style.left = `${100 * low}%`;
  band.style.width = `${100 * (high - low)}%`;
  const point = made("b");
  point.style.left = `${100 * value}%`;
  return made("div", { class: "range", role: "img", "aria-label": `${percent(value)}, between ${percent(low)} and ${percent(high)}` }, band, point);
}

function weak({ confusions, helps }) {
  const lists = confusions.slice(0, 5).map((one) => made("div", {},
    made("p", {}, made("strong", {}, `${count(one.numbers.length, "picture")} of ${one.label} taken for ${one.taken_for}`)),
    thumbs(one.numbers)));
  const words = helps ? `${helps.n} more of ${helps.label} would help most.` : "No class stands out.";
  return made("section", { class: "panel" }, made("h2", {}, "Where it is weak"), made("p", {}, lists.length ? words : "It takes no labelled picture for another class."),
    lists.length ? made("p", { class: "quiet small" }, "Of all labelled pictures, those that teach too, each answered by a model that had not learnt from it; the score counts those set aside alone.") : null, ...lists);
}

function thumbs(numbers) {
  const found = numbers.map((number) => state.pictures.get(number)).filter(Boolean);
  return made("div", { class: "thumbs" }, ...found.slice(0, 12).map((one) => made("button", { type: "button", "aria-label": `Look at ${one.name}`, onclick: () => openList(one, found) }, picture(one, { alt: "" }))));
}

function honest({ score, n_teaching: n }) {
  const groups = score.n_groups ? ` (${count(score.n_groups, "group")} that belong together)` : "";
  return made("section", { class: "panel" }, made("h2", {}, "What the score stands on"),
    made("p", {}, `${count(n, "picture")} teach. ${count(score.n, "picture")}${groups} are set aside: by their content alone, never because the model doubted them. They teach nothing, and the model tells you nothing of them before you label them.`),
    made("p", { class: "quiet" }, "Labels that you gave because the model was unsure are harder than chance would have it; no score is made from them. The interval says how much chance is in the score: with few pictures, much."),
    button("Show those set aside", () => openList(null, [...state.pictures.values()].filter((one) => one.held && one.label))));
}

const SVG = "http://www.w3.org/2000/svg";

function drawn(tag, facts, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(facts)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function curve({ points }) {
  const panel = made("section", { class: "panel" }, made("h2", {}, "The score while it was taught"));
  const found = points.filter((one) => Number.isFinite(one.low));
  if (found.length < 2) {
    panel.append(made("p", { class: "quiet" }, "The curve begins with the next pictures."));
    return panel;
  }
  const [W, H, left, bottom] = [420, 190, 48, 26];
  const most = Math.max(...found.map((one) => one.n_teaching));
  const least = Math.min(...found.map((one) => one.low), 0.5);
  const x = (n) => left + ((W - left - 10) * n) / most;
  const y = (share) => 8 + ((H - bottom - 8) * (1 - share)) / (1 - least || 1);
  const svg = drawn("svg", { viewBox: `0 0 ${W} ${H}`, class: "curve", role: "img" });
  const last = found.at(-1);
  svg.append(drawn("title", {}, `From ${percent(found[0].accuracy)} with ${found[0].n_teaching} pictures to ${percent(last.accuracy)} with ${last.n_teaching}`));
  for (const share of [least, (1 + least) / 2, 1]) {
    svg.append(drawn("line", { class: "grid", x1: left, x2: W - 10, y1: y(share), y2: y(share) }), drawn("text", { x: left - 5, y: y(share) + 4, "text-anchor": "end" }, percent(share)));
  }
  const sorted = [...found].sort((a, b) => a.n_teaching - b.n_teaching);
  const band = [...sorted.map((one) => `${x(one.n_teaching)},${y(one.high)}`), ...sorted.reverse().map((one) => `${x(one.n_teaching)},${y(one.low)}`)];
  svg.append(drawn("polygon", { class: "band", points: band.join(" ") }), drawn("polyline", { class: "line", points: sorted.reverse().map((one) => `${x(one.n_teaching)},${y(one.accuracy)}`).join(" ") }));
  svg.append(drawn("text", { x: W - 10, y: H - 6, "text-anchor": "end" }, `${most} pictures that teach`));
  panel.append(svg);
  return panel;
}
