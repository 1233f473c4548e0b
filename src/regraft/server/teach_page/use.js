// The model in use: trained by a way, exported, served; every button shows the command it stands for.

import { at, button, count, made, percent, say } from "./dom.js";
import { complain, get, on, post, state } from "./state.js";

let way = "probe";
let budget = "2m";
let facts = null;

const BUDGETS = ["30s", "2m", "10m", "1h"];
const TARGETS = ["onnx", "openvino", "torch", "docker"];

on("job", () => {
  if (!at("use").hidden) use.refresh();
});

export const use = {
  async refresh() {
    try {
      facts = await get("api/use");
      draw();
    } catch (error) {
      complain(error);
    }
  },
};

function draw() {
  at("use").replaceChildren(made("div", { class: "cards2" }, trainPanel(), jobPanel(), quickPanel(), outPanel()), runsPanel());
}

const command = () => facts.ways.find((one) => one.name === way).commands[budget];

function trainPanel() {
  const shown = made("pre", {}, command());
  const budgets = made("select", { "aria-label": "Budget of time", onchange: (event) => { budget = event.target.value; shown.textContent = command(); } },
    ...BUDGETS.map((one) => made("option", { value: one, selected: one === budget }, one)));
  const rows = facts.ways.map((one) => made("label", {},
    made("input", { type: "radio", name: "way", value: one.name, checked: one.name === way, disabled: Boolean(one.why_not), onchange: () => { way = one.name; shown.textContent = command(); } }),
    made("span", {}, made("strong", {}, one.name), `: ${one.help}${one.name === "probe" ? "; takes seconds, begin here" : ""}${one.why_not ? ` (needs ${one.why_not})` : ""} `, one.name === "auto" ? budgets : null)));
  const isRunning = facts.job?.is_running;
  return made("section", { class: "panel" }, made("h2", {}, "Train a model to keep"),
    made("p", { class: "quiet" }, "On the labels of now. The same pictures are set aside, and score it."),
    made("div", { class: "ways" }, ...rows), shown,
    made("div", { class: "buttons" }, button("Train", () => begin("train", { way, budget }), { class: "main", disabled: Boolean(isRunning || state.lesson?.missing) }), copier(command)));
}

function copier(text) {
  return button("Copy", async () => {
    await navigator.clipboard?.writeText(typeof text === "function" ? text() : text).then(() => say("Copied."), () => say("The browser did not allow it; select and copy it by hand.", true));
  });
}

async function begin(what, given) {
  try {
    await post(`api/${what}`, given);
  } catch (error) {
    complain(error);
  }
  await use.refresh();
  reveal(at("job"));
}

/** Who pressed a button far below sees that it did something. */
function reveal(element) {
  const { top, bottom } = element.getBoundingClientRect();
  if (top < 100 || bottom > innerHeight) element.scrollIntoView({ block: "center" });
}

function jobPanel() {
  const { job } = facts;
  if (!job) return made("section", { class: "panel", id: "job" }, made("h2", {}, "What runs"), made("p", { class: "quiet" }, "Nothing yet."));
  const how = job.is_running ? "running …" : job.code === 0 ? "done" : `ended with exit code ${job.code}`;
  const log = made("pre", { class: "log", tabindex: 0, "aria-label": "What the command says" }, job.lines.join("\n") || "…");
  queueMicrotask(() => { log.scrollTop = log.scrollHeight; });
  return made("section", { class: "panel", id: "job" }, made("h2", {}, job.is_running ? "What runs" : "What ran last"), made("pre", {}, job.command), made("p", { role: "status" }, how), log,
    job.is_running ? button("Stop it", () => begin("stop", {})) : null);
}

function quickPanel() {
  return made("section", { class: "panel" }, made("h2", {}, "The model of now"),
    made("p", {}, "What you see above, as it is: a quick head on the network's final features. Training gives a better one, with a report."),
    made("div", { class: "buttons" }, button("Keep the model of now", async () => {
      const kept = await post("api/keep").catch(complain);
      await use.refresh();
      if (!kept) return;
      say(`Kept as ${kept.name}, under Models.`);
      reveal(at("models"));
    }, { disabled: Boolean(!state.lesson || state.lesson.missing) })));
}

function outPanel() {
  const link = (name, words) => made("a", { class: "button", href: `out/${name}`, download: "" }, words);
  return made("section", { class: "panel" }, made("h2", {}, "The labels"),
    made("p", {}, "A picture's class is the folder that it lies in: ", made("code", {}, state.place), ". Take the folder and you have everything. For other programs:"),
    made("div", { class: "buttons" }, link("pictures.csv", "CSV"), link("label-studio.json", "Label Studio"), link("folder.zip", "Zip with the pictures")));
}

function runsPanel() {
  const rows = facts.runs.map((run) => {
    const target = made("select", { "aria-label": `Export ${run.name} to` }, ...TARGETS.map((one) => made("option", {}, one)));
    const shown = made("code", {});
    const update = () => { shown.textContent = run.export[target.value]; };
    target.addEventListener("change", update);
    update();
    const score = run.accuracy ? `${percent(run.accuracy.value)} right (${percent(run.accuracy.low)} to ${percent(run.accuracy.high)}) on ${count(run.n, "picture")}` : "no score";
    return made("li", { class: "panel" }, made("h3", {}, run.name), made("p", {}, score), made("p", { class: "small quiet" }, "Model: ", made("code", {}, run.model)),
      made("div", { class: "buttons" },
        run.has_report ? made("a", { class: "button", href: `report/${encodeURIComponent(run.name)}`, target: "_blank", rel: "noopener" }, "Report") : null,
        made("label", {}, "Export to ", target), button("Export", () => begin("export", { run: run.name, to: target.value }), { disabled: Boolean(facts.job?.is_running) })),
      made("div", { class: "buttons" }, ...["model", ...run.exports].map((part) => made("a", { class: "button", href: `out/${encodeURIComponent(run.name)}/${part}.zip`, download: "" }, `Download ${part}`))),
      made("p", { class: "small" }, shown, " ", copier(() => shown.textContent)),
      made("p", { class: "small" }, "To serve it: ", made("code", {}, run.serve), " ", copier(run.serve)));
  });
  return made("section", { id: "models" }, made("h2", {}, "Models"), rows.length ? made("ul", { class: "runs" }, ...rows) : made("p", { class: "quiet" }, "None yet."));
}
