// Keys, times in the viewer's zone, forms that keep what was typed, and the overview's refresh.
// Every page works without it, but for the keys.
"use strict";

const LIST = "queue";
const REFRESH_MS = 10000;
const CLAIM_MS = 60000;
const TOAST_MS = 6000;
const CARD = /^[\s-]*(?:[0-9][\s-]*){13,19}$/;

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// -- times --------------------------------------------------------------------------------------------------------

const moment = new Intl.DateTimeFormat(undefined, {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

function localise(root) {
  for (const one of $$("time[datetime]", root)) {
    const at = new Date(one.getAttribute("datetime"));
    if (!Number.isNaN(at.getTime())) one.textContent = moment.format(at);
  }
  for (const one of $$("text[data-ms]", root)) {
    one.textContent = (one.dataset.form === "day" ? day : clock).format(new Date(Number(one.dataset.ms)));
  }
}

// -- small things -------------------------------------------------------------------------------------------------

function say(text, bad = false) {
  const toast = $("#say");
  if (!toast) return;
  toast.textContent = text;
  toast.classList.toggle("bad", bad);
  toast.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { toast.hidden = true; }, TOAST_MS);
}

function kept(key, value) {
  try {
    if (value === undefined) return sessionStorage.getItem(key);
    sessionStorage.setItem(key, value);
  } catch (error) {
    // No storage: the list of the queue is not known on the page of a case.
  }
  return null;
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch (error) {
    // For this page alone, then.
  }
}

function isCardNumber(text) {
  if (!CARD.test(text)) return false;
  const digits = text.replace(/[^0-9]/g, "");
  let sum = 0;
  [...digits].reverse().forEach((digit, place) => {
    const value = Number(digit) * (place % 2 ? 2 : 1);
    sum += value > 9 ? value - 9 : value;
  });
  return sum % 10 === 0;
}

// -- queue --------------------------------------------------------------------------------------------------------

function queueRows() {
  return $$("table[data-queue] tbody tr");
}

function choose(row) {
  for (const one of queueRows()) one.classList.toggle("chosen", one === row);
  const link = $("a", row);
  link.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const rows = queueRows();
  if (!rows.length) return false;
  const at = rows.findIndex((row) => row.classList.contains("chosen"));
  choose(rows[Math.min(Math.max(at + by, 0), rows.length - 1)]);
  return true;
}

function rememberQueue() {
  const rows = queueRows();
  if (!rows.length) return;
  const addresses = rows.map((row) => $("a", row).getAttribute("href"));
  kept(LIST, JSON.stringify({ back: location.pathname + location.search, cases: addresses }));
  const came = kept("case");
  const seen = rows.find((row) => $("a", row).getAttribute("href") === came);
  if (seen) seen.classList.add("chosen");
  for (const row of rows) {
    row.addEventListener("click", (event) => {
      if (event.target.closest("a, button") || String(getSelection())) return;
      location.assign($("a", row).href);
    });
  }
}

// -- case ---------------------------------------------------------------------------------------------------------

function caseAddress() {
  const asked = new URLSearchParams(location.search);
  asked.delete("done");
  return `${location.pathname}?${asked}`;
}

function linkQueue() {
  kept("case", caseAddress());
  const list = JSON.parse(kept(LIST) || "null");
  if (!list) return;
  $("[data-back]").href = list.back;
  const at = list.cases.indexOf(caseAddress());
  if (at < 0) return;
  const beside = { "[data-previous]": list.cases[at - 1], "[data-next]": list.cases[at + 1] };
  for (const [selector, address] of Object.entries(beside)) {
    if (!address) continue;
    $(selector).href = address;
    $(selector).hidden = false;
  }
}

function problem(text) {
  const place = $("[data-problem]");
  if (!place) return say(text, true);
  place.textContent = text;
  place.hidden = false;
  return undefined;
}

function post(address, fields) {
  return fetch(address, {
    method: "POST", body: fields, headers: { "X-Requested-With": "fetch" }, credentials: "same-origin",
  });
}

// Whoever has logged in anew, in another tab, has another token than this page; what was typed here must not be lost.
async function renewToken(fields) {
  const answer = await fetch("/api/me", { credentials: "same-origin" });
  if (!answer.ok) return;
  const { csrf } = await answer.json();
  for (const field of $$("input[name=csrf]")) field.value = csrf;
  fields.set("csrf", csrf);
}

async function send(form, button) {
  if (form.dataset.busy) return undefined;
  form.dataset.busy = "1";
  form.setAttribute("aria-busy", "true");
  const fields = new URLSearchParams(new FormData(form));
  if (button && button.name) fields.set(button.name, button.value);
  try {
    let answer = await post(form.action, fields);
    if (answer.status === 403) {
      await renewToken(fields);
      answer = await post(form.action, fields);
    }
    if (answer.status === 401) return problem("Your login has ended. Log in again in another tab, then press once more.");
    const said = await answer.json();
    if (!said.done) return problem(said.text);
    location.assign(said.location);
    return undefined;
  } catch (error) {
    return problem("The console does not answer. Your note is still here: press once more in a moment. It counts once.");
  } finally {
    delete form.dataset.busy;
    form.removeAttribute("aria-busy");
  }
}

async function keepClaim() {
  const place = $("[data-case]");
  if (!place || !place.dataset.mine || document.hidden) return;
  const form = $("form[data-answers]");
  const fields = new URLSearchParams();
  for (const name of ["csrf", "card", "transaction"]) fields.set(name, form.elements[name].value);
  try {
    await post("/case/claim", fields);
  } catch (error) {
    // The next one will tell.
  }
}

// -- overview -----------------------------------------------------------------------------------------------------

async function refresh() {
  const place = $("[data-refresh]");
  if (!place || document.hidden) return;
  try {
    const answer = await fetch(place.dataset.refresh, { headers: { "X-Requested-With": "fetch" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    localise(fresh);
    place.replaceChildren(...fresh.body.childNodes);
    $("[data-refreshed]").textContent = `, last at ${clock.format(new Date())}`;
  } catch (error) {
    $("[data-refreshed]").textContent = ", but the console does not answer now";
  }
}

// -- keys ---------------------------------------------------------------------------------------------------------

function follow(selector) {
  const link = $(selector);
  if (link && link.href && !link.hidden) location.assign(link.href);
}

function pressed(event) {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "Escape" && typing) return typing.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || typing || $("dialog[open]")) return undefined;
  const keyed = $(`[data-key="${CSS.escape(event.key)}"]`);
  const keys = {
    "?": () => $("#help").showModal(),
    "/": () => $("#q").focus(),
    j: () => step(1) || follow("[data-next]"),
    k: () => step(-1) || follow("[data-previous]"),
    m: () => $("#note") && $("#note").focus(),
    q: () => follow("[data-back]"),
  };
  if (keyed) {
    event.preventDefault();
    return keyed.form.requestSubmit(keyed);
  }
  if (keys[event.key] && $("#q")) {
    event.preventDefault();
    keys[event.key]();
  }
  return undefined;
}

// -- start --------------------------------------------------------------------------------------------------------

localise(document);
document.addEventListener("keydown", pressed);
for (const button of $$("[data-theme-toggle]")) button.addEventListener("click", switchTheme);
for (const button of $$("[data-help]")) button.addEventListener("click", () => $("#help").showModal());
for (const form of $$("form[data-send]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form, event.submitter);
  });
}
for (const form of $$("form.search")) {
  form.addEventListener("submit", () => {
    const field = $("input[name=q]", form);
    // A card number must not even reach the address: its last four digits say enough.
    if (isCardNumber(field.value)) field.value = field.value.replace(/[^0-9]/g, "").slice(-4);
  });
}
for (const field of $$("form.filters select")) field.addEventListener("change", () => field.form.requestSubmit());
rememberQueue();
if ($("[data-case]")) {
  linkQueue();
  setInterval(keepClaim, CLAIM_MS);
}
if ($("[data-refresh]")) setInterval(refresh, REFRESH_MS);
