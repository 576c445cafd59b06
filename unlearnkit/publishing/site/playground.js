"use strict";
// Shows measured places only: a path's steps, its start and the oracle. Texts of models go in as text nodes.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const THUMB = 22, FLOOR = 168; // the slider's thumb, as in the style; where the chart's zero is
  const GROUPS = [["forget", "to forget"], ["neighbour", "near-neighbours"], ["retain", "all others"]];
  const CHOICES = ["request", "method", "layers", "epoch"]; // in this order: each is among the paths left by those before
  const chosen = { model: "0", request: "", method: "", layers: "", epoch: "", step: NaN };

  const element = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const drawn = (tag, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const nats = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
  const model = () => data.models[Number(chosen.model)];
  const states = () => [model().start, ...path().steps];

  // -- what can be chosen --------------------------------------------------------------------------------
  function options(name) { // of one control, given those before it
    let left = model().paths;
    for (const before of CHOICES.slice(0, CHOICES.indexOf(name))) left = left.filter((p) => p[before] === chosen[before]);
    return [...new Set(left.map((p) => p[name]))];
  }
  function path() {
    return model().paths.find((p) => CHOICES.every((name) => p[name] === chosen[name]));
  }
  function settle() { // every choice one that was measured; one that is not falls back to the first
    if (!data.models[Number(chosen.model)]) chosen.model = "0";
    for (const name of CHOICES) {
      const known = options(name);
      if (!known.includes(chosen[name])) chosen[name] = known.includes("all") ? "all" : known[0];
    }
    const last = path().steps.length, mark = path().matched;
    if (!Number.isInteger(chosen.step)) chosen.step = mark === null ? 1 : mark;
    chosen.step = Math.min(Math.max(chosen.step, 0), last);
  }

  // -- the address ---------------------------------------------------------------------------------------
  function read() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const name of ["model", ...CHOICES]) if (given.has(name)) chosen[name] = given.get(name);
    chosen.step = given.has("step") && /^\d{1,4}$/.test(given.get("step")) ? Number(given.get("step")) : NaN;
  }
  function write() {
    const told = new URLSearchParams(Object.entries(chosen).map(([k, v]) => [k, String(v)]));
    try {
      history.replaceState(null, "", `#${told}`);
    } catch { // a frame may have no address
    }
  }

  // -- what is shown -------------------------------------------------------------------------------------
  function fill(name, values, titles) {
    const select = $(name);
    select.replaceChildren(...values.map((value) => {
      const option = element("option", titles(value));
      option.value = value;
      return option;
    }));
    select.value = chosen[name];
    select.disabled = values.length < 2;
  }
  function showControls() {
    fill("model", data.models.map((_, k) => String(k)), (k) => data.models[k].title);
    fill("request", options("request"), (v) => model().requests[v]);
    fill("method", options("method"), (v) => data.methods[v]);
    fill("layers", options("layers"), (v) => data.layers[v] || v);
    const epochs = options("epoch");
    $("of-epoch").hidden = epochs.length < 2 && epochs[0] === "";
    $("epoch").max = epochs.length - 1;
    $("epoch").value = epochs.indexOf(chosen.epoch);
    $("epoch").disabled = epochs.length < 2;
    $("epoch-now").textContent = chosen.epoch;
    $("epoch").setAttribute("aria-valuetext", chosen.epoch);
    const last = path().steps.length;
    $("step").max = last;
    $("step").value = chosen.step;
    $("about").textContent = model().about;
  }
  function place(k) {
    return k ? `step ${k} of ${path().steps.length}, ${path().steps[k - 1].at}` : "before: the fine-tuned model";
  }
  function showChart() {
    const chart = $("chart"), width = chart.clientWidth, all = states(), oracle = model().oracle;
    const x = (k) => THUMB / 2 + ((width - THUMB) * k) / (all.length - 1);
    const values = [...all, oracle].flatMap((s) => s.nll).filter((v) => v !== null);
    const top = Math.log1p(Math.max(1, ...values) * 1.1);
    const y = (v) => FLOOR - ((FLOOR - 12) * Math.log1p(v)) / top;
    const parts = [];
    for (const tick of [0, 1, 2, 5, 10, 20, 50, 100]) {
      if (Math.log1p(tick) > top) continue;
      parts.push(drawn("line", { x1: 0, x2: width, y1: y(tick), y2: y(tick), stroke: "#e3e3e3" }));
      parts.push(drawn("text", { x: -8, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
    }
    parts.push(drawn("rect", { x: x(chosen.step) - 13, y: 4, width: 26, height: FLOOR - 4, fill: "#f0f0f0", rx: 4 }));
    const level = y(oracle.nll[0]);
    parts.push(drawn("line", { x1: 0, x2: width, y1: level, y2: level, stroke: "#007a59", "stroke-dasharray": "5 4" }));
    all.forEach((state, k) => {
      const [forget, neighbour, retain] = state.nll;
      const now = k === chosen.step ? 1 : 0.55;
      if (retain !== null) parts.push(drawn("path", { d: `M${x(k)} ${y(retain) - 6}l6 11h-12z`, fill: "#6b6b6b", opacity: now }));
      if (neighbour !== null) parts.push(drawn("rect", { x: x(k) - 4.5, y: y(neighbour) - 4.5, width: 9, height: 9, fill: "#0072b2", opacity: now }));
      if (forget !== null) parts.push(drawn("circle", { cx: x(k), cy: y(forget), r: 5.5, fill: "#d55e00", opacity: now }));
    });
    chart.replaceChildren(...parts);
    chart.setAttribute("aria-label", `Mean NLL at ${all.length} measured places. ${$("match-now").textContent}`);
  }
  function showNumbers() {
    const { matched } = path(), oracle = model().oracle, state = states()[chosen.step];
    if (matched === null) {
      $("match-now").textContent = "No mark: these steps do not get to matched forgetting.";
    } else {
      const gap = path().steps[matched - 1].nll[0] - oracle.nll[0];
      const side = gap < 0 ? "short of it" : "beyond it";
      $("match-now").textContent = `◆ Nearest measured step to matched forgetting: ${matched}, ${nats(Math.abs(gap))} nats ${side}.`;
    }
    $("go").hidden = $("mark").hidden = matched === null;
    $("mark").style.setProperty("--at", matched / path().steps.length);
    const told = place(chosen.step) + (chosen.step === matched ? "; the mark" : "");
    $("now").textContent = `Now: ${told}.`;
    $("step").setAttribute("aria-valuetext", told);
    $("numbers").tBodies[0].replaceChildren(...GROUPS.map(([name, title], k) => {
      const row = element("tr"), head = element("th", title, name);
      head.scope = "row";
      row.append(head, ...[model().start, state, oracle].map((s) => element("td", nats(s.nll[k]))));
      return row;
    }));
  }
  function said(title, place, k, answer) {
    const box = element("div"), [nll, ...texts] = place.said[k], list = element("ul");
    const text = (tag, index, kind) => {
      const words = model().texts[index];
      if (words === "") return element(tag, "(nothing)", "none");
      return element(tag, words, `text ${kind} ${words === answer ? "known" : ""}`);
    };
    box.append(element("h4", title), text("div", texts[0], "greedy"));
    list.append(...texts.slice(1).map((index) => text("li", index, "")));
    list.setAttribute("aria-label", "samples");
    box.append(list, element("div", `NLL of the answer: ${nats(nll)}`, "nll"));
    return box;
  }
  function showFacts() {
    const state = states()[chosen.step];
    $("facts").replaceChildren(...model().facts.map((fact, k) => {
      const card = element("article"), head = element("h3"), two = element("div", undefined, "two");
      head.append(element("span", `${fact.prompt} …`, "text"));
      const who = element("div", `${fact.asked ? "To forget" : "To keep"}; taught: `, "who");
      who.append(element("span", fact.answer, "text"));
      two.append(said("this model", state, k, fact.answer), said("the oracle", model().oracle, k, fact.answer));
      card.append(head, who, two);
      return card;
    }));
  }
  function show() {
    settle();
    showControls();
    showNumbers();
    showChart();
    showFacts();
    write();
  }

  // -- what is done --------------------------------------------------------------------------------------
  for (const name of ["model", "request", "method", "layers"]) {
    $(name).addEventListener("change", () => {
      chosen[name] = $(name).value;
      chosen.step = NaN;
      show();
    });
  }
  $("epoch").addEventListener("input", () => {
    chosen.epoch = options("epoch")[Number($("epoch").value)];
    chosen.step = NaN;
    show();
  });
  $("step").addEventListener("input", () => {
    chosen.step = Number($("step").value);
    show();
  });
  $("go").addEventListener("click", () => {
    chosen.step = path().matched;
    show();
  });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || /^(SELECT|INPUT)$/.test(event.target.tagName)) return;
    event.preventDefault();
    chosen.step += step;
    show();
  });
  addEventListener("hashchange", () => {
    read();
    show();
  });
  addEventListener("resize", showChart);
  $("legend").replaceChildren(
    element("span", "● facts to forget", "key forget"), element("span", "■ near-neighbours", "key neighbour"),
    element("span", "▲ all others that are scored", "key retain"),
    element("span", "- - facts to forget, oracle", "key oracle"),
    element("span", "Mean NLL of the answers, nats a token (logarithmic); points are what was measured."));
  $("address").hidden = self !== top;
  read();
  show();
})();
