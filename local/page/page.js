// Shows what /state says, each second, and sends what the buttons say to /actions. Much of the state was written by
// callers and by Clopos: all of it is put into the page as text, never as HTML.

const REFRESH_MS = 1000;
const AT_ONCE_MS = 100; // after a click: the message of an action that takes longer is there by then
const shown = {}; // what each part of the page shows now

const part = (id) => document.getElementById(id);
const clock = (at) => new Date(at * 1000).toISOString().slice(11, 19);

function make(tag, properties, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  element.append(...content.flat());
  return element;
}

// A name may break after an underscore and before a capital, and nowhere else.
const name = (text) => String(text).split(/(?<=_)|(?<=[a-z])(?=[A-Z])/).flatMap((word) => [word, make("wbr", {})]);
// What is between backticks is code.
const prose = (text) => text.split("`").flatMap((words, index) => (index % 2 ? make("code", {}, words) : name(words)));
const verdict = (outcome, error) => [make("b", { class: outcome }, outcome), " ", make("span", {}, name(error ?? ""))];

// A row is what stands below it, if anything does, and its cells.
function table(id, columns, rows) {
  const heads = columns.map(([title, kind]) => make("th", { scope: "col", class: kind }, title));
  const body = rows.flatMap(([below, ...cells]) => [
    make("tr", {}, cells.map((cell, index) => make("td", { class: columns[index][1] }, cell ?? ""))),
    ...(below ? [make("tr", {}, make("td", { class: "below", colspan: cells.length }, prose(below)))] : []),
  ]);
  return make("table", { "aria-labelledby": `${id}-title` },
    make("thead", {}, make("tr", {}, heads)), make("tbody", {}, body));
}

function results(rows) {
  const columns = [["Time (UTC)", "time"], ["Source", "source"], ["Order", "id"], ["Outcome", ""],
    ["Attempts", "number wide"], ["Duration (ms)", "number wide"]];
  return table("results", columns, rows.map((row) => [row.said, clock(row.at), row.source, row.order_id,
    verdict(row.outcome, row.error), row.attempts, row.duration_ms]));
}

function outcomes(events) {
  const columns = [["Order", "id"], ["Outcome", ""], ["Source", "source"], ["webhook-id", "webhook-id wide"]];
  return table("outcomes", columns, events.map((event) => {
    const { error, order } = event.result;
    const receipt = order?.receipt_id ? `, receipt ${order.receipt_id}` : "";
    const below = order ? `It is ${order.status}${receipt}` : "";
    return [below, event.order_id, verdict(event.outcome, error), event.source, event.webhook_id];
  }));
}

const nothing = (tag, text) => make(tag, { class: "none" }, text);
const listOf = (items, make, otherwise) => (items.length ? items.map(make) : [nothing("li", otherwise)]);

// What each part of the page shows: the state that it depends on, and the elements.
const PARTS = {
  messages: [(s) => s.messages, (all) => listOf(all, ({ at, text, kind }) =>
    make("li", { class: kind }, `${clock(at)} UTC `, prose(text)), "Ready")],
  tiles: [(s) => [s.queue, s.orders && s.statuses, s.answer], ([queue, statuses, answer]) => {
    const orders = Object.entries(statuses ?? {}).map(([status, count]) =>
      [`orders ${status}${status === "IGNORE" ? " (cancelled)" : ""}`, count]);
    const tiles = [...Object.entries(queue), ...orders, ...(answer ? [["Clopos answers", answer]] : [])];
    return tiles.map(([title, value]) => make("div", {}, make("dt", {}, title), make("dd", {}, value)));
  }],
  results: [(s) => s.results, (rows) =>
    rows.length ? results(rows) : nothing("p", "Nothing yet. Cancel an order with one of the buttons.")],
  letters: [(s) => [s.dead_letters, s.queue["dead letters"]], ([letters, count]) => letters.length
    ? [nothing("li", `${letters.length} of ${Math.max(count, letters.length)}`), ...letters.map((letter) =>
      make("li", {}, make("b", {}, name(letter.code)), " ", prose(letter.message),
        make("code", {}, letter.body, letter.cut ? "…" : ""), make("small", {}, letter.cut)))]
    : nothing("li", "Empty")],
  outcomes: [(s) => s.outcomes, (events) => (events.length ? outcomes(events) : nothing("p", "None yet"))],
  orders: [(s) => s.orders ?? [], (all) => all.map(([id, status]) =>
    make("li", { class: status }, `${id} `, make("b", {}, status)))],
};

function show(state) {
  for (const [id, [select, render]] of Object.entries(PARTS)) {
    const seen = JSON.stringify(select(state));
    if (shown[id] === seen) continue;
    shown[id] = seen;
    part(id).replaceChildren(...[render(select(state))].flat());
  }
  for (const element of document.querySelectorAll("[data-simulator]")) element.hidden = state.answer === null;
  for (const button of document.querySelectorAll("[data-action^='answer/']"))
    button.ariaPressed = String(button.dataset.action === `answer/${state.answer}`);
  for (const button of document.querySelectorAll(".on-letters")) button.disabled = !state.dead_letters.length;
}

// The server runs inside the stack: if it is gone, or says that the rest is gone, nothing here is true any more.
function showStopped(isStopped) {
  document.body.classList.toggle("stopped", isStopped);
  document.querySelector("main").inert = isStopped;
  const text = "The stack has stopped. What you see is what was last known. Start it again with: make start";
  if (isStopped !== Boolean(part("stopped").textContent)) part("stopped").textContent = isStopped ? text : "";
}

async function refresh() {
  try {
    const answer = await fetch("/state");
    if (!answer.ok) throw new Error(await answer.text());
    show(await answer.json());
    showStopped(false);
  } catch (error) {
    console.info(error);
    showStopped(true);
  }
}

async function refreshAlways() {
  await refresh();
  setTimeout(refreshAlways, REFRESH_MS);
}

document.addEventListener("click", (event) => {
  const action = event.target.closest("[data-action]")?.dataset.action;
  if (!action) return;
  fetch(`/actions/${encodeURI(action)}`, { method: "POST" }).then(refresh, refresh);
  setTimeout(refresh, AT_ONCE_MS);
});
refreshAlways();
