// Comfort for the pages of requests: everything they do works without this file.
"use strict";

(() => {
  document.documentElement.classList.add("js");

  // <button data-counts="sources" data-many="Delete {n} sources"> says how many boxes of that name are ticked.
  const count = () => {
    for (const button of document.querySelectorAll("button[data-counts]")) {
      const n = document.querySelectorAll(`input[name="${CSS.escape(button.dataset.counts)}"]:checked`).length;
      const { one, many, none } = button.dataset;
      button.querySelector(".label").textContent = n === 0 ? none : n === 1 ? one : many.replace("{n}", n);
      button.disabled = n === 0;
    }
    for (const place of document.querySelectorAll("[data-count]")) {
      place.textContent = document.querySelectorAll(`input[name="${CSS.escape(place.dataset.count)}"]:checked`).length;
    }
  };
  document.addEventListener("change", count);
  window.addEventListener("pageshow", count);

  // The panel follows what happens. What somebody is typing is not replaced under their hands; what they have ticked and unfolded stays.
  const typing = (panel) => {
    for (const field of panel.querySelectorAll("input[type=text], textarea")) {
      if (field === document.activeElement || field.value !== field.defaultValue) return true;
    }
    return [...panel.querySelectorAll("input[type=file]")].some((field) => field.files.length) || panel.querySelector("details.confirm[open]");
  };
  // An action that replaces the panel leaves what was acted on where it was before the eyes.
  const place = (row) => ({ id: row && row.id, top: row ? row.getBoundingClientRect().top : 0, y: window.scrollY });
  const backTo = ({ id, top, y }) => {
    const row = id && document.getElementById(id);
    window.scrollTo({ top: row ? window.scrollY + row.getBoundingClientRect().top - top : y, behavior: "instant" });
  };

  // The box of a letter asks first: it is ticked as long as the question stands, and sends nothing by itself.
  document.addEventListener("change", (event) => {
    const asks = event.target.dataset && event.target.dataset.asks;
    const details = asks && document.getElementById(asks);
    if (details) {
      details.open = event.target.checked;
      if (details.open) details.querySelector(".confirm-title").focus({ preventScroll: true });
    }
  });
  document.addEventListener("toggle", (event) => {
    const box = event.target.id && document.querySelector(`input[data-asks="${CSS.escape(event.target.id)}"]`);
    if (box && box.checked !== event.target.open) {
      box.checked = event.target.open;
      if (!event.target.open && !document.activeElement.closest("details[open]")) box.focus({ preventScroll: true });
    }
  }, true);

  let kept = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    const panel = document.getElementById("panel");
    if (!panel || event.detail.target !== panel) return;
    const polled = event.detail.requestConfig && event.detail.requestConfig.verb === "get";
    if (polled && typing(panel)) {
      event.detail.shouldSwap = false;
      return;
    }
    const boxes = [...panel.querySelectorAll("input[type=checkbox][id]")].filter((box) => box.name && box.checked !== box.defaultChecked);
    const folds = [...panel.querySelectorAll("details[id][open]")];
    const row = event.detail.requestConfig && event.detail.requestConfig.elt && event.detail.requestConfig.elt.closest("li.source");
    kept = { place: place(row), boxes: boxes.map((box) => [box.id, box.checked]), folds: folds.map((fold) => fold.id) };
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (kept) {
      for (const [id, checked] of kept.boxes) {
        const box = document.getElementById(id);
        if (box && !box.disabled) box.checked = checked;
      }
      for (const id of kept.folds) {
        const fold = document.getElementById(id);
        if (fold) fold.open = true;
      }
      const stays = kept.place;
      backTo(stays);
      requestAnimationFrame(() => backTo(stays));
      kept = null;
    }
    count();
  });
  count();
})();
