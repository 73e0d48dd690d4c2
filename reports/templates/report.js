"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));
  root.classList.add("js");

  // Colours: as the system, light, dark. Storage may be forbidden for a file; the choice is then for this page only.
  const themes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  const paint = (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    button.textContent = theme[0].toUpperCase() + theme.slice(1);
    button.setAttribute("aria-label", "Colours: " + button.textContent);
  };
  let theme = "auto";
  try { theme = localStorage.getItem("rejoinder-theme") || "auto"; } catch { /* not allowed */ }
  paint(themes.includes(theme) ? theme : "auto");
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(root.dataset.theme || "auto") + 1) % themes.length];
    paint(theme);
    try { localStorage.setItem("rejoinder-theme", theme); } catch { /* not allowed */ }
  });

  // Copy buttons. The text is taken before the button joins it.
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  for (const place of all("[data-copy]")) {
    const text = place.textContent;
    const copier = document.createElement("button");
    copier.type = "button";
    copier.className = "copy";
    copier.textContent = "Copy";
    copier.setAttribute("aria-label", "Copy the " + place.dataset.copy);
    copier.addEventListener("click", async () => {
      await copy(text);
      copier.textContent = "Copied";
      setTimeout(() => { copier.textContent = "Copy"; }, 1500);
    });
    if (place.tagName === "PRE") place.classList.add("copying");
    place.append(copier);
  }

  // The hash is either an anchor (#f-0123456789ab) or a view (#rules?status=fail&q=text), so that both can be linked.
  const form = document.getElementById("filter");
  const articles = all("#findings article");
  const rows = all("#rules tr[data-status]");
  for (const row of rows) row.dataset.family ||= row.closest("tbody").dataset.family;
  const sets = ["status", "level", "branch"];
  const state = { status: new Set(), level: new Set(), branch: new Set(), family: "", q: "" };
  // A rule is found by its own words and by the messages and cases of its findings, but not by raw evidence. Its row
  // and its findings share one text, so that both parts of the page always show the same rules.
  const texts = new Map();
  const own = (article) => all("h3, h4, h5, .statement, summary, .cases, .further", article);
  for (const article of articles) texts.set(article, own(article).map((part) => part.textContent).join(" ").toLowerCase());
  for (const row of rows) {
    const named = (article) => all("h3 a, h4 a, h5 a", article).some((link) => link.hash.slice(1) === row.id);
    const mine = articles.filter(named);
    const parts = [row, ...mine.flatMap(own)];
    const text = parts.map((part) => part.textContent).join(" ").toLowerCase();
    for (const item of [row, ...mine]) texts.set(item, (texts.get(item) || "") + " " + text);
  }
  const fits = (item) =>
    (!state.status.size || item.dataset.status.split(" ").some((name) => state.status.has(name))) &&
    (!state.level.size || item.dataset.level.split(" ").some((name) => state.level.has(name))) &&
    (!state.family || item.dataset.family.split(" ").includes(state.family)) &&
    state.q.toLowerCase().split(/\s+/).every((word) => texts.get(item).includes(word));
  // The map of the contract: a branch is found by its whole path, its choices and what became of it.
  const leaves = all(".tree li").map((item) => {
    const path = [];
    for (let up = item; up; up = up.parentElement.closest("li")) {
      path.unshift(up.querySelector("code").textContent);
    }
    const own = all(":scope > i, :scope > details > p > i", item);
    const bare = item.querySelector("details > p") || (item.querySelector("details, i") ? "" : item);
    const around = item.closest("li[class]");
    const states = around ? [around.className] : own.map((part) => part.className);
    const text = [path.join(""), bare.textContent || ""].join(" ").toLowerCase();
    return { item, text, states };
  });
  const prune = () => {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const active = words.length || state.branch.size;
    const keep = new Set();
    for (const { item, text, states } of leaves) {
      if (!words.every((word) => text.includes(word))) continue;
      if (state.branch.size && !states.some((name) => state.branch.has(name))) continue;
      for (let up = item; up && !keep.has(up); up = up.parentElement.closest("li")) keep.add(up);
    }
    for (const { item } of leaves) {
      item.hidden = active && !keep.has(item);
      const fold = item.querySelector(":scope > details");
      if (fold && active) fold.open = keep.has(item);
    }
    const tree = document.querySelector(".tree");
    if (tree) tree.dataset.none = active && !keep.size ? "No branch of the contract matches." : "";
  };
  const apply = () => {
    prune();
    for (const chip of all("[data-key][aria-pressed]")) {
      chip.setAttribute("aria-pressed", String(state[chip.dataset.key].has(chip.dataset.value)));
    }
    if (!form) return;
    let shown = 0;
    for (const item of articles) item.hidden = !fits(item);
    for (const item of rows) { item.hidden = !fits(item); if (!item.hidden) shown += 1; }
    for (const group of all("#findings .group")) {
      const [found, whole] = [all("article:not([hidden])", group).length, all("article", group).length];
      group.hidden = !found;
      const total = group.querySelector(".total");
      const noun = " " + group.dataset.noun + (whole === 1 ? "" : "s");
      total.textContent = (found < whole ? found + " of " : "") + whole + noun;
    }
    for (const body of all("#rules tbody")) body.hidden = !body.querySelector("tr[data-status]:not([hidden])");
    const active = state.status.size || state.level.size || state.branch.size || state.family || state.q;
    document.getElementById("clear").hidden = !active;
    document.getElementById("shown").textContent = active ? shown + " of " + rows.length + " rules" : "";
    form.querySelector("select").value = state.family;
    const text = form.querySelector("input");
    if (text.value.trim() !== state.q) text.value = state.q;
  };
  const save = () => {
    const query = new URLSearchParams();
    for (const key of sets) if (state[key].size) query.set(key, [...state[key]].join(","));
    for (const key of ["family", "q"]) if (state[key]) query.set(key, state[key]);
    const hash = query.toString() ? "#?" + query.toString() : "#";
    try { history.replaceState(null, "", hash); } catch { /* not allowed */ }
    apply();
  };
  const read = () => {
    const hash = location.hash.slice(1);
    const at = hash.indexOf("?");
    const anchor = at < 0 ? hash : hash.slice(0, at);
    if (at >= 0) {
      const query = new URLSearchParams(hash.slice(at + 1));
      for (const key of sets) state[key] = new Set((query.get(key) || "").split(",").filter(Boolean));
      for (const key of ["family", "q"]) state[key] = query.get(key) || "";
      apply();
    }
    let name = anchor;
    try { name = decodeURIComponent(anchor); } catch { /* as it stands */ }
    const target = name && document.getElementById(name);
    if (!target) return;
    if (target.closest("[hidden]") && at < 0) { reset(); apply(); }
    const below = target.querySelector(":scope > details");
    if (below) below.open = true;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.scrollIntoView();
  };
  const reset = () => { for (const key of sets) state[key].clear(); state.family = ""; state.q = ""; };

  for (const chip of all("[data-key][aria-pressed]")) {
    chip.addEventListener("click", () => {
      const chosen = state[chip.dataset.key];
      if (!chosen.delete(chip.dataset.value)) chosen.add(chip.dataset.value);
      save();
    });
  }
  if (form) {
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelector("select").addEventListener("change", (event) => { state.family = event.target.value; save(); });
    form.querySelector("input").addEventListener("input", (event) => { state.q = event.target.value.trim(); save(); });
    document.getElementById("clear").addEventListener("click", () => { reset(); save(); });
    document.addEventListener("keydown", (event) => {
      const text = form.querySelector("input");
      const typing = event.target.closest && event.target.closest("input, select, textarea");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        text.focus();
      } else if (event.key === "Escape" && event.target === text) {
        state.q = "";
        save();
        text.blur();
      }
    });
  }
  // Following a link to the finding that the address names already changes no hash, but it must still open.
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href^='#']");
    if (link && link.getAttribute("href") === location.hash) { event.preventDefault(); read(); }
  });
  addEventListener("hashchange", read);

  const unfold = document.getElementById("unfold");
  if (unfold) {
    unfold.addEventListener("click", () => {
      const found = all("#findings article:not([hidden]) details");
      const open = found.some((item) => !item.open);
      for (const item of found) item.open = open;
      unfold.textContent = open ? "Close all" : "Open all";
    });
  }

  // What scrolls can be reached by keyboard; what does not is no stop on the way.
  const reach = () => {
    for (const box of all("pre, .scroll")) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
      if (scrolls) box.tabIndex = 0;
      else if (!box.hasAttribute("role")) box.removeAttribute("tabindex");
    }
  };
  let waiting = 0;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(reach, 60); };
  document.addEventListener("toggle", soon, true);
  addEventListener("resize", soon);
  soon();

  // The map of the contract is one stop for the keyboard: arrows go to the nearest part on that side.
  const tiles = all(".map a");
  const readout = document.querySelector(".map + .readout");
  if (tiles.length && readout) {
    const middle = (tile) => {
      const box = tile.querySelector("svg").getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    };
    const sides = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const tell = (tile) => { readout.textContent = tile.querySelector("title").textContent; };
    for (const tile of tiles) {
      tile.addEventListener("pointerenter", () => tell(tile));
      tile.addEventListener("focus", () => {
        for (const other of tiles) other.setAttribute("tabindex", other === tile ? "0" : "-1");
        tell(tile);
      });
      tile.addEventListener("keydown", (event) => {
        const side = sides[event.key];
        if (!side) return;
        event.preventDefault();
        const [x, y] = middle(tile);
        let best = null;
        let least = Infinity;
        for (const other of tiles) {
          const [dx, dy] = middle(other).map((at, axis) => at - [x, y][axis]);
          const along = dx * side[0] + dy * side[1];
          const across = Math.abs(dx * side[1]) + Math.abs(dy * side[0]);
          if (along > 1 && along + 3 * across < least) { best = other; least = along + 3 * across; }
        }
        if (best) best.focus();
      });
    }
  }

  // A hairline through the strips of the load run, with the figures of the second under it.
  const strips = document.querySelector(".strips");
  const table = document.querySelector("#seconds");
  if (strips && table) {
    const heads = all("thead th", table).map((cell) => cell.textContent);
    const lines = all("tbody tr", table).map((row) => all("td", row).map((cell) => cell.textContent));
    const times = lines.map((line) => Number(line[0]));
    const [begin, end, step] = [strips.dataset.begin, strips.dataset.end, strips.dataset.step].map(Number);
    const hair = document.createElement("i");
    const readout = document.getElementById("readout");
    hair.className = "hair";
    hair.hidden = true;
    strips.append(hair);
    strips.addEventListener("pointermove", (event) => {
      const box = strips.querySelector(".plot").getBoundingClientRect();
      const t = begin + (end - begin) * (event.clientX - box.left) / box.width;
      let best = 0;
      times.forEach((time, index) => {
        if (Math.abs(time + step / 2 - t) < Math.abs(times[best] + step / 2 - t)) best = index;
      });
      const x = box.left + box.width * (times[best] + step / 2 - begin) / (end - begin);
      hair.style.left = x - strips.getBoundingClientRect().left + "px";
      hair.hidden = false;
      readout.textContent = heads.map((head, index) => head + " " + lines[best][index]).join("   ");
    });
    strips.addEventListener("pointerleave", () => { hair.hidden = true; readout.textContent = ""; });
  }
  addEventListener("beforeprint", () => { for (const item of all("details")) item.open = true; });
  read();
})();
