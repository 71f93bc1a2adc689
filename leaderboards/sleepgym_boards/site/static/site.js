// Sorts and filters a board's table, chooses methods for its pictures, compares two methods.
// A table shows so many rows at first; only these are laid out again by a sort.
// Numbers of methods arrive through receiveMethod, called by small scripts beside the pages.
"use strict";

const SleepGym = (() => {
  const ROWS = 30; // as in the style sheet
  const LETTERS = "ABCDEFGHIJ";
  const SUFFIXES = "kMGTPE";
  const byId = (id) => document.getElementById(id);

  // ---- formats: the same as formatting.py ----

  const minus = (text) => text.replace("-", "\u2212");
  const share = (value) => minus(Math.abs(value) < 0.0005 ? "0.000" : value.toFixed(3));
  function amount(value) {
    if (value < 0) return "\u2212" + amount(-value);
    if (value && value < 0.1) return value.toPrecision(1);
    let scaled = value;
    for (const suffix of ["", ...SUFFIXES]) {
      if (scaled < 999.5) {
        const text = scaled.toFixed(scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2);
        return (text.includes(".") ? text.replace(/\.?0+$/, "") : text) + suffix;
      }
      scaled /= 1000;
    }
    return value.toExponential(2);
  }
  function readNumber(text) {
    const found = /^(-?[\d.]+(?:e[-+]?\d+)?)([kMGTPE]?)/.exec(text.replace("\u2212", "-"));
    return found ? Number(found[1]) * 1000 ** (SUFFIXES.indexOf(found[2]) + 1) : null;
  }

  // ---- a board ----

  function startBoard() {
    const table = byId("methods");
    const body = table.tBodies[0];
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    const groupOf = new Map([...body.rows].filter((row) => row.classList.contains("group"))
      .map((row) => [row.textContent.trim(), row]));
    const more = byId("more");
    const cellOf = new Map();
    const headings = [...table.querySelectorAll("th button")].map((button) => button.parentElement);
    // Columns of the second heading row stand where the first row's groups begin.
    const groups = [...table.querySelectorAll("th[scope=colgroup]")];
    let column = 0;
    const second = [...table.tHead.rows[1].cells];
    for (const cell of table.tHead.rows[0].cells) {
      if (groups.includes(cell)) for (let k = 0; k < cell.colSpan; k++) cellOf.set(second.shift(), column++);
      else cellOf.set(cell, column++);
    }

    const placeIn = new Map(rows.map((row, place) => [row, place]));
    const collator = new Intl.Collator("en", { numeric: true });
    const readers = {
      place: (row) => placeIn.get(row),
      number: (row, k) => readNumber(row.cells[k].textContent),
      text: (row, k) => row.cells[k].textContent.trim(),
    };

    let order = rows, wanted = rows, limit = ROWS;
    let sorted = headings.find((heading) => heading.hasAttribute("aria-sort"));

    /** The first rows of those wanted, in order; what is hidden is not in the page at all. */
    function show() {
      const kept = new Set(wanted);
      const shown = order.filter((row) => kept.has(row)).slice(0, limit);
      const headed = new Set();
      /** A group's heading before its first row, as long as the rows stand in groups. */
      const withHeading = (row) => {
        const group = order === rows ? groupOf.get(row.dataset.group) : null;
        if (!group || headed.has(group)) return [row];
        headed.add(group);
        return [group, row];
      };
      body.replaceChildren(...shown.flatMap(withHeading));
      const left = wanted.length - shown.length;
      more.hidden = !left;
      more.textContent = `Show more: ${left} left`;
      byId("shown").textContent = `${wanted.length} of ${rows.length}`;
    }
    more.addEventListener("click", () => { limit += ROWS; show(); });

    function turn(heading) {
      const current = heading.getAttribute("aria-sort");
      const opposite = current === "ascending" ? "descending" : "ascending";
      sort(heading, current ? opposite : heading.firstElementChild.dataset.first);
      remember();
    }
    function sort(heading, direction) {
      const button = heading.firstElementChild;
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", direction);
      const read = readers[button.dataset.kind];
      const sign = direction === "ascending" ? 1 : -1;
      const unknown = (value) => value === null || value === "\u2013";
      const keyed = rows.map((row) => [read(row, cellOf.get(heading)), row]);
      keyed.sort(([a], [b]) => {
        if (unknown(a) || unknown(b)) return unknown(a) - unknown(b);
        return sign * (typeof a === "string" ? collator.compare(a, b) : a - b);
      });
      sorted = heading;
      byId("order").selectedIndex = headings.indexOf(heading);
      order = heading === headings[0] && direction === "ascending" ? rows : keyed.map(([, row]) => row);
      limit = ROWS;
      show();
    }
    for (const heading of headings) heading.addEventListener("click", () => turn(heading));
    // Where rows stand as cards there are no headings: a list in their place.
    const chooser = byId("order");
    chooser.append(...headings.map(({ firstElementChild: { dataset, textContent } }) =>
      new Option(textContent.replaceAll("\u00ad", ""), dataset.key)));
    chooser.addEventListener("input", () => turn(headings[chooser.selectedIndex]));

    const find = byId("find"), budget = byId("class"), verified = byId("verified");
    const classColumn = 3;
    const texts = rows.map((row) => row.cells[2].textContent.toLowerCase());
    function filter() {
      const text = find.value.trim().toLowerCase();
      wanted = rows.filter((row, place) => texts[place].includes(text)
        && (!budget?.value || row.cells[classColumn].textContent === budget.value)
        && (!verified.checked || row.querySelector(".yes")));
      limit = ROWS;
      show();
    }
    for (const control of [find, budget, verified]) {
      if (control) control.addEventListener("input", () => { filter(); remember(); });
    }

    /** What is shown goes into the address, what the address says is shown. */
    function remember() {
      const direction = sorted.getAttribute("aria-sort");
      const usual = sorted === headings[0] && direction === "ascending";
      const told = {
        find: find.value.trim(), class: budget?.value, verified: verified.checked ? "1" : "",
        sort: usual ? "" : sorted.firstElementChild.dataset.key, order: usual ? "" : direction,
      };
      const address = new URLSearchParams(Object.entries(told).filter(([, value]) => value));
      history.replaceState(null, "", `${address.size ? "#" : location.pathname}${address}`);
    }
    function recall() {
      const told = new URLSearchParams(location.hash.slice(1));
      const heading = headings.find((one) => one.firstElementChild.dataset.key === told.get("sort"));
      const direction = ["ascending", "descending"].find((one) => one === told.get("order"));
      find.value = told.get("find") || "";
      verified.checked = told.get("verified") === "1";
      if (budget) {
        const known = [...budget.options].some((option) => option.value === told.get("class"));
        budget.value = known ? told.get("class") : "";
      }
      filter();
      if (heading) sort(heading, direction || heading.firstElementChild.dataset.first);
      else sort(headings[0], "ascending");
    }
    if (location.hash.includes("=")) recall();
    addEventListener("hashchange", recall);

    const chips = [...document.querySelectorAll(".chosen li")];
    const slots = chips.map(() => null);
    const link = byId("compare");
    const placeOf = (row) => row.querySelector("input")?.value;
    const slugOf = (row) => row.querySelector("a").getAttribute("href").replace(/^methods\/|\.html$/g, "");

    function paint(row, slot) {
      const marks = document.querySelectorAll(`[data-m="${placeOf(row)}"]`);
      for (const mark of [row, ...marks]) {
        if (slot === null) mark.removeAttribute("class");
        else mark.setAttribute("class", `s${slot}`);
      }
      for (const mark of marks) {
        mark.querySelector("text").textContent = slot === null ? "" : LETTERS[slot];
        if (slot !== null) mark.parentElement.append(mark);
      }
      row.querySelector("input").checked = slot !== null;
    }
    /** Letters at the ends of curves keep a line's height apart. */
    function spread() {
      for (const picture of document.querySelectorAll(".curves")) {
        const letters = [...picture.querySelectorAll("[class] > text")].map((text) => {
          const points = text.previousElementSibling.getAttribute("points");
          return [Number(points.slice(points.lastIndexOf(",") + 1)) + 4, text];
        }).sort(([a], [b]) => b - a);
        let last = Infinity;
        for (const letter of letters) last = letter[0] = Math.min(letter[0], last - 12);
        last = 4;
        for (const letter of letters.reverse()) last = letter[0] = Math.max(letter[0], last + 12);
        for (const [y, text] of letters) text.setAttribute("y", y);
      }
    }
    function put(row, slot) {
      slots[slot] = row;
      chips[slot].hidden = !row;
      chips[slot].querySelector(".name").textContent = row ? row.querySelector("a").textContent : "";
      const pair = slots.flatMap((chosen, k) => (chosen ? [[chosen, LETTERS[k]]] : [])).slice(0, 2);
      if (link && pair.length === 2) {
        const [[a, first], [b, second]] = pair;
        link.textContent = `Compare ${first} and ${second}`;
        link.href = `compare.html#a=${slugOf(a)}&b=${slugOf(b)}`;
      }
    }
    function choose(row, wanted) {
      const slot = wanted ? slots.indexOf(null) : slots.indexOf(row);
      if (slot < 0) {
        row.querySelector("input").checked = false;
        byId("told").textContent = `There is room for ${slots.length}: take one out first.`;
        return;
      }
      put(wanted ? row : null, slot);
      paint(row, wanted ? slot : null);
      spread();
      byId("told").textContent = `${slots.filter(Boolean).length} of ${slots.length} methods in these pictures.`;
    }
    for (const row of rows) {
      const slot = chips.findIndex((_, k) => row.classList.contains(`s${k}`));
      if (slot >= 0) { slots[slot] = row; row.querySelector("input").checked = true; }
      else if (placeOf(row)) row.querySelector("input").checked = false;
    }
    spread();
    show();
    table.classList.add("ready");
    body.addEventListener("change", (event) => choose(event.target.closest("tr"), event.target.checked));
    chips.forEach((chip, slot) => {
      chip.querySelector("button").addEventListener("click", () => {
        const row = slots[slot];
        choose(row, false);
        row.querySelector("input").focus({ preventScroll: true });
      });
    });
  }

  // ---- two methods ----

  const methods = new Map();
  const resamples = new Map();
  const waiting = new Map();

  function load(slug) {
    if (!methods.has(slug) && !waiting.has(slug)) {
      waiting.set(slug, true);
      const script = document.createElement("script");
      script.src = `methods/${encodeURIComponent(slug)}.js`;
      document.head.append(script);
    }
  }

  /** Mean and 95% percentile interval of a - b over the streams that both have. */
  function difference(a, b) {
    const both = a.flatMap((value, k) => (value === null || b[k] === null ? [] : [value - b[k]]));
    if (!both.length) return null;
    const mean = both.reduce((sum, value) => sum + value, 0) / both.length;
    const table = resamples.get(both.length) || [];
    if (!table.length) return { streams: both, mean, low: null, high: null };
    const means = table.map(([draws, count]) => {
      let sum = 0;
      for (let k = 0; k < both.length; k++) sum += parseInt(draws[k], 36) * both[k];
      return [sum / both.length, count];
    }).sort((x, y) => x[0] - y[0]);
    const total = means.reduce((sum, [, count]) => sum + count, 0);
    const at = (rank) => {
      let seen = 0;
      for (const [value, count] of means) if ((seen += count) > rank) return value;
      return means.at(-1)[0];
    };
    const end = (q) => {
      const rank = q * (total - 1), below = Math.floor(rank);
      return at(below) + (rank - below) * (at(below + 1) - at(below));
    };
    return { streams: both, mean, low: end(0.025), high: end(0.975) };
  }

  const ROUNDING = 1e-12;
  const side = (d) => (!d || d.low === null ? 0 : d.low > ROUNDING ? 1 : d.high < -ROUNDING ? -1 : 0);

  function draw(svg, d, better) {
    svg.querySelectorAll(":not(.rail)").forEach((node) => node.remove());
    if (!d) return;
    const x = (value) => 100 + 96 * Math.max(-1, Math.min(1, value));
    const add = (name, attributes) => {
      const node = document.createElementNS(svg.namespaceURI, name);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      svg.append(node);
    };
    svg.setAttribute("class", ["behind", "even", "ahead"][better + 1]);
    if (d.low !== null) add("path", { class: "span", d: `M${x(d.low)} 10H${x(d.high)}` });
    for (const value of d.streams) add("circle", { class: "stream", cx: x(value), cy: 16, r: 1.8 });
    add("circle", { class: "mean", cx: x(d.mean), cy: 10, r: 4.5 });
  }

  function startComparison() {
    const pair = byId("pair"), first = byId("a"), second = byId("b");
    second.append(...[...first.options].map((option) => option.cloneNode(true)));
    const fromAddress = () => {
      const wanted = new URLSearchParams(location.hash.slice(1));
      const known = (slug) => [...first.options].some((option) => option.value === slug);
      first.value = known(wanted.get("a")) ? wanted.get("a") : pair.dataset.first;
      second.value = known(wanted.get("b")) ? wanted.get("b")
        : first.value === pair.dataset.first ? pair.dataset.second : pair.dataset.first;
      show();
    };
    function show() {
      for (const select of [first, second]) load(select.value);
      const a = methods.get(first.value), b = methods.get(second.value);
      if (a && b) compare(a, b);
    }
    for (const select of [first, second]) {
      select.addEventListener("change", () => {
        history.replaceState(null, "", `#a=${first.value}&b=${second.value}`);
        show();
      });
    }
    addEventListener("hashchange", fromAddress);
    arrived = show;
    fromAddress();
  }

  /** The links below a table lead to its rows as files. */
  function offer(id, rows) {
    const names = Object.keys(rows[0] || {});
    const cell = (value) => (value === null ? "" : /[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const files = {
      csv: [names, ...rows.map((row) => names.map((name) => cell(row[name])))].map((row) => `${row.join(",")}\n`).join(""),
      json: `${JSON.stringify(rows, null, 1)}\n`,
    };
    for (const [kind, text] of Object.entries(files)) {
      const link = byId(`${id}-${kind}`);
      URL.revokeObjectURL(link.href);
      link.href = URL.createObjectURL(new Blob([text], { type: `text/${kind}` }));
      link.download = `${id}-${byId("a").value}-${byId("b").value}.${kind}`;
    }
  }

  function compare(a, b) {
    const mean = (values) => {
      const known = values.filter((value) => value !== null);
      return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
    };
    const pair = byId("pair").dataset, differences = [];
    for (const row of document.querySelectorAll("#differences [data-metric]")) {
      const metric = row.dataset.metric;
      const text = "amount" in row.dataset ? amount : share;
      const none = a.seeds.map(() => null);
      const left = a.values[metric] || none, right = b.values[metric] || none;
      const d = difference(left, right);
      const cells = row.cells;
      differences.push({
        mark_a: a.mark.name, mark_b: b.mark.name, metric, a: mean(left), b: mean(right),
        difference: d && d.mean, low: d && d.low, high: d && d.high,
      });
      const dash = (value) => (value === null ? "\u2013" : text(value));
      cells[1].textContent = dash(mean(left));
      cells[2].textContent = dash(mean(right));
      const shown = d ? (d.mean > ROUNDING ? "+" : "") + text(d.mean) : "\u2013";
      if (side(d)) {
        const strong = document.createElement("strong");
        strong.textContent = shown;
        cells[3].replaceChildren(strong);
      } else cells[3].textContent = shown;
      cells[4].textContent = d && d.low !== null ? `[${text(d.low)}, ${text(d.high)}]` : "\u2013";
      const svg = row.querySelector("svg");
      const better = "lower" in row.dataset ? -side(d) : side(d);
      if (svg) draw(svg, d, better);
      if (metric === pair.headline) {
        const words = row.cells[0].textContent;
        byId("answer").textContent = better
          ? `${better > 0 ? "A" : "B"} is better: ${words} differs by ${text(Math.abs(d.mean))} on the same ${d.streams.length} streams.`
          : `These streams cannot tell them apart by ${words}.`;
      }
    }
    offer("differences", differences);
    const table = byId("matrix"), mornings = [];
    if (table) {
      [...table.tBodies[0].rows].forEach((row, night) => {
        mornings.push({ mark_a: a.mark.name, mark_b: b.mark.name, morning_after_night: night });
        [...row.cells].slice(1).forEach((cell, day) => {
          const x = a.matrix?.[night]?.[day] ?? null, y = b.matrix?.[night]?.[day] ?? null;
          mornings[night][day ? `day_${day}` : "base"] = x === null || y === null ? null : x - y;
          cell.className = x === null || y === null ? "none" : `d${Math.round(5 + 5 * (x - y))}`;
          cell.textContent = x === null || y === null ? "\u2013" : minus((x - y).toFixed(2).replace(/^(-?)0\./, "$1."));
        });
      });
      offer("matrix", mornings);
    }
  }

  let arrived = () => {};
  document.addEventListener("DOMContentLoaded", () => {
    if (byId("methods")) startBoard();
    if (byId("pair")) startComparison();
  });

  return {
    difference,
    readNumber,
    amount,
    share,
    receiveMethod(slug, content) { methods.set(slug, content); arrived(); },
    receiveResamples(n, table) { resamples.set(n, table); arrived(); },
  };
})();
